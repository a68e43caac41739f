"""A job is resolved once, in one place; a job that no run could start with is refused there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.errors import UsageError
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.run.resolved_job import resolve_job
from tests.helpers.cli_runs import bare_environment, mediamill
from tests.helpers.local_server import running_server
from tests.helpers.paths import RECORDINGS

RECORDING = RECORDINGS / "window.flac"

COUNT_PROVIDERS = """
import sys
from mediamill.tasks.providers import registry
made = []
make = registry.make_provider
registry.make_provider = lambda *given, **named: (made.append(given), make(*given, **named))[1]
from mediamill.flows.cli.main import main
try:
    main()
finally:
    sys.stderr.write(f"PROVIDERS {len(made)}")
"""


def test_a_job_is_resolved_to_its_capability_provider_and_model(tmp_path: Path) -> None:
    job = make_job(capability="transcribe", source="in", provider="local", out=str(tmp_path), params={"words": False})
    resolved = resolve_job(job)
    assert (resolved.capability.name, resolved.provider.name, resolved.out) == ("transcribe", "local", tmp_path)
    assert resolved.model == resolved.provider.choose_model("transcription", None)
    assert resolved.params.words is False
    assert "segments" in resolved.schema.names
    assert resolved.is_local
    assert resolve_job(resolved) is resolved
    assert resolve_job(job).capability is not resolved.capability


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"capability": "transcrib"}, "transcrib"),
        ({"provider": "nobody"}, "nobody"),
        ({"provider": "together"}, "TOGETHER_API_KEY"),
        ({"provider": "compatible"}, "--base-url"),
        ({"params": {"langage": "en"}}, "langage"),
        ({"capability": "embed", "subtitles": ["srt"]}, "subtitles"),
        ({"capability": "execute"}, "allow"),
        ({"out": "s3://bucket/out"}, "local folder"),
    ],
)
def test_a_job_that_no_run_could_start_with_is_refused(
    fields: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    defaults: dict[str, Any] = {"capability": "transcribe", "source": "in", "provider": "local"}
    job = make_job(**{**defaults, **fields})
    with pytest.raises(UsageError) as caught:
        resolve_job(job)
    assert message in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.long
@pytest.mark.parametrize("option", ["--yes", "--quote"])
def test_a_command_chooses_its_provider_once(option: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", COUNT_PROVIDERS, "transcribe", str(RECORDING), "--provider", "local", option]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")],
        env=bare_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("PROVIDERS 1")


def test_an_out_keeps_its_provider_and_model_where_the_command_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "none-of-anybody")
    source, out = tmp_path / "texts.csv", tmp_path / "out"
    source.write_text("text\na stone\na garden\n")

    def embed(*options: str, **environment: str) -> int:
        command = ("embed", str(source), *options, "--no-prefect", "--yes", "--out", str(out), "--json")
        done = mediamill(*command, home=tmp_path / "home", env=environment)
        assert done.returncode == 0, done.stderr
        return int(json.loads(done.stdout)["calls"])

    with running_server() as server:
        address = f"{server.origin}/compatible"
        assert embed("--provider", "compatible", "--base-url", address, "--model", "any") == 1
        assert embed(OPENAI_API_KEY="none-of-anybody") == 0
        assert embed("--provider", "compatible", "--base-url", address) == 0
    kept = resolve_job(make_job(capability="embed", source=str(source), out=str(out)))
    assert (kept.provider.name, kept.model, kept.job.base_url) == ("compatible", "any", address)
    other = resolve_job(make_job(capability="embed", source=str(source), out=str(out), provider="together"))
    assert (other.provider.name, other.model != "any") == ("together", True)
