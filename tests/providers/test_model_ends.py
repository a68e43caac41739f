"""Models that providers end: a refusal where they no longer answer, otherwise a note."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from mediamill.tasks.errors import UsageError
from mediamill.tasks.providers.registry import load_config, provider_names
from tests.helpers.cli_runs import mediamill
from tests.providers.builders import build_provider


@pytest.mark.parametrize(("name", "model"), [("openai", "sora-2"), ("together", "openai/sora-2-pro")])
def test_a_model_that_no_longer_answers_is_refused_with_what_takes_its_place(name: str, model: str) -> None:
    with pytest.raises(UsageError, match=f"{name} ended {model} on 2026-09-24") as caught:
        build_provider(name).choose_model("video", model)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("use ")


def test_a_model_that_ends_later_is_announced_and_goes_on() -> None:
    provider = build_provider("openai")
    assert provider.choose_model("transcription", None) == "gpt-transcribe"
    assert provider.choose_model("transcription", "whisper-1") == "whisper-1"
    end = provider.find_model_end("transcription", "whisper-1")
    assert end is not None
    assert (end.date, end.refused) == (dt.date(2027, 2, 26), False)
    assert provider.find_model_end("transcription", "gpt-transcribe") is None


def test_no_default_model_ends() -> None:
    for name in provider_names():
        for operation, config in load_config(name).operations.items():
            ends = {model for model, end in config.ends.items() if end.refused}
            assert not ends & {*config.models, config.default_model}, (name, operation)


def test_the_command_line_says_that_a_model_ends(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("prompt\na cat\n")
    env = {"OPENAI_API_KEY": "k-1234567890abcdef", "TOGETHER_API_KEY": "k-1234567890abcdef"}
    options = ("--out", tmp_path / "out", "--quote")
    refused = mediamill(
        *("generate-video", tmp_path / "p.csv", "--provider", "openai", "--model", "sora-2", *options),
        home=tmp_path / "home", env=env,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "openai ended sora-2 on 2026-09-24" in refused.stderr
    quoted = mediamill(
        *("complete", tmp_path / "p.csv", "--provider", "together"),
        *("--model", "meta-llama/Llama-3.3-70B-Instruct-Turbo", *options),
        home=tmp_path / "home", env=env,
    )  # fmt: skip
    assert quoted.returncode == 0, quoted.stderr
    assert "together announced to end meta-llama/Llama-3.3-70B-Instruct-Turbo on 2026-10-22" in quoted.stderr


def test_a_model_that_a_row_names_is_checked_as_the_jobs_is(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,prompt,model\na,a cat,sora-2\n")
    done = mediamill(
        *("generate-video", tmp_path / "p.csv", "--provider", "openai", "--model", "sora-x", "--json", "--yes"),
        *("--out", tmp_path / "out", "--no-prefect"),
        home=tmp_path / "home", env={"OPENAI_API_KEY": "k-1234567890abcdef"},
    )  # fmt: skip
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["calls"]) == (3, 0), done.stderr
    (failure,) = summary["failures"]
    assert failure["kind"] == "no_model"
    assert "openai ended sora-2 on 2026-09-24" in failure["message"]
    assert failure["hint"].startswith("use ")
