"""Tab in a shell: commands, options and values are completed, and nothing is said where there is nothing to offer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from mediamill.flows.cli.main import cli
from tests.helpers.cli_runs import bare_environment, make_wavs, mediamill

_IN_BASH = """\
eval "$(mediamill completion bash)"
COMP_WORDS=(mediamill transcribe --provider gr) COMP_CWORD=3
_mediamill_completion mediamill 2>/dev/null
echo "${COMPREPLY[@]}"
"""


def complete(*words: str, incomplete: str = "") -> list[str]:
    found = BashComplete(cli, {}, "mediamill", "_MEDIAMILL_COMPLETE").get_completions([*words], incomplete)
    return [f"<{each.type}>" if each.type != "plain" else each.value for each in found]


def test_commands_are_completed() -> None:
    assert complete(incomplete="tr") == ["transcribe", "translate"]
    assert complete("no-such-command", incomplete="x") == []


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        (("transcribe", "--provider"), "gr", ["groq"]),
        (("transcribe", "--provider", "groq", "--model"), "whisper-large-v3-", ["whisper-large-v3-turbo"]),
        (("caption", "--detail"), "f", ["full"]),
        (("transcribe", "--subtitles"), "srt,v", ["srt,vtt"]),
        (("transcribe",), "", ["<file>"]),
        (("transcribe",), "--diar", ["--diarize"]),
        (("completion",), "f", ["fish"]),
        (("quote",), "emb", ["<file>", "embed"]),
        (("quote",), "caption", ["<file>", "caption"]),
    ],
)
def test_values_are_completed(words: tuple[str, ...], incomplete: str, expected: list[str]) -> None:
    assert complete(*words, incomplete=incomplete) == expected


def test_models_are_those_of_the_command() -> None:
    models = complete("embed", "--model")
    assert models
    assert not set(models) & set(complete("transcribe", "--model"))
    assert complete("embed", "--provider", "no-such", "--model") == []


def test_outs_and_the_kinds_of_their_failures_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_wavs(tmp_path / "in", 1)
    (tmp_path / "in" / "broken.wav").write_bytes(b"no sound")
    out = tmp_path / "data/results/calls"
    run = mediamill("transcribe", tmp_path / "in", "--provider", "local", "--out", out, home=tmp_path / "home")
    assert run.returncode == 3, run.stderr
    assert complete("status", incomplete="data/") == ["<dir>", "data/results/calls"]
    assert complete("retry", "data/results/calls", "--only", incomplete="n") == ["not_audio"]
    assert complete("retry", "nowhere", "--only") == ["flagged", "lost", "outdated"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("shell", "script"),
    [
        ("bash", _IN_BASH),
        ("fish", 'mediamill completion fish | source; complete -C "mediamill transcribe --provider gr"'),
    ],
)
def test_a_real_shell_completes(shell: str, script: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    environment = bare_environment(tmp_path / "home")
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    run = subprocess.run(
        [shell, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.stdout.strip() == "groq", run.stderr
