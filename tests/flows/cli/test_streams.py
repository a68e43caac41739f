"""Streams that are closed, unread, full or of another encoding change nothing in a run: work, files and exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import bare_environment, make_wavs, read_rows
from tests.helpers.local_server import RunningServer
from tests.helpers.tiers import mark_tiers

MEDIAMILL = [sys.executable, "-m", "mediamill.flows.cli"]


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


def make_command(tmp_path: Path, server: RunningServer, *options: str) -> list[str]:
    make_wavs(tmp_path / "in", 3)
    (tmp_path / "in" / "bad.wav").write_text("not audio")
    source, out = str(tmp_path / "in"), str(tmp_path / "out")
    arguments = ["transcribe", source, "--out", out, "--provider", "together", "--base-url", server.origin]
    return [*MEDIAMILL, *arguments, "--yes", *options]


def run_in_shell(
    tmp_path: Path, redirection: str, command: Sequence[str], **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command with the shell's redirections; its exit code is that of the command."""
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirection}; exit ${{PIPESTATUS[0]}}', "bash", *command],
        env=bare_environment(tmp_path / "home", **environment),
        cwd=tmp_path,
        capture_output=True,
        timeout=120,
        check=False,
    )


def assert_all_is_written(out: Path) -> None:
    assert len(read_rows(out)) == 3
    assert [row["error_kind"] for row in read_rows(out, "failures")] == ["not_audio"]
    assert {path.name for path in out.iterdir()} >= {"results", "failures", "calls", "runs", "report.html", "costs.csv"}


@pytest.mark.parametrize(
    ("redirection", "options"),
    mark_tiers(
        [
            (">&-", ()),
            ("2>&-", ()),
            (">&- 2>&- <&-", ("-vv",)),
            ("2>&-", ("--json",)),
            (">&- 2>&-", ("--log-json",)),
            ("| true", ()),
            ("2>&1 >/dev/null | true", ("-vv",)),
            (">/dev/full", ()),
            (">/dev/full", ("--json",)),
            ("2>/dev/full", ("-vv",)),
        ],
        quick=[],
        long=[(">&- 2>&- <&-", ("-vv",)), ("| true", ()), (">/dev/full", ("--json",)), ("2>/dev/full", ("-vv",))],
    ),
)
def test_lost_streams_change_neither_the_files_nor_the_exit_code(
    redirection: str, options: tuple[str, ...], tmp_path: Path, local_server: RunningServer
) -> None:
    done = run_in_shell(tmp_path, redirection, make_command(tmp_path, local_server, *options))
    assert done.returncode == 3, done.stderr
    assert_all_is_written(tmp_path / "out")
    assert local_server.bill()["requests"] == 3


@pytest.mark.long
def test_what_stdout_cannot_take_is_told_on_stderr(tmp_path: Path, local_server: RunningServer) -> None:
    done = run_in_shell(tmp_path, ">/dev/full", make_command(tmp_path, local_server))
    assert b"stdout: the disk is full" in done.stderr
    listing = run_in_shell(tmp_path, ">/dev/full", [*MEDIAMILL, "models", "--json"])
    assert listing.returncode == 1
    assert b"stdout: the disk is full" in listing.stderr


@pytest.mark.long
@pytest.mark.parametrize("arguments", [["--help"], ["models", "--help"], ["models"], ["models", "--json"]])
def test_output_that_nobody_reads_is_no_error(arguments: list[str], tmp_path: Path) -> None:
    done = run_in_shell(tmp_path, "| true", [*MEDIAMILL, *arguments])
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "environment",
    mark_tiers(
        [
            {"LC_ALL": "C"},
            {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            {"LC_ALL": "ja_JP.SJIS"},
            {"PYTHONIOENCODING": "ascii"},
            {"PYTHONIOENCODING": "shift_jis"},
            {"TERM": "unknown-terminal"},
            {"HOME": ""},
        ],
        quick=[],
        long=[
            {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            {"PYTHONIOENCODING": "shift_jis"},
            {"HOME": ""},
        ],
    ),
    ids=lambda environment: " ".join(f"{name}={value}" for name, value in environment.items()),
)
def test_any_locale_and_any_name_of_a_file_give_the_same_rows(
    environment: dict[str, str], tmp_path: Path, local_server: RunningServer
) -> None:
    command = make_command(tmp_path, local_server)
    (tmp_path / "in" / "0001.wav").rename(tmp_path / "in" / "ünïcode 日本.wav")
    os.rename(os.fsencode(tmp_path / "in" / "0002.wav"), os.fsencode(tmp_path / "in") + b"/b\xff\xe9.wav")  # noqa: PTH104
    done = run_in_shell(tmp_path, "", command, **environment)
    assert done.returncode == 3, done.stderr
    assert b"internal error" not in done.stderr
    assert b"not valid UTF-8; rename it" in done.stdout
    assert {row["item_id"] for row in read_rows(tmp_path / "out")} == {"0000.wav", "ünïcode 日本.wav"}
    for verb in (["status"], ["report"], ["explain"]):
        item = ["ünïcode 日本.wav"] if verb == ["explain"] else []
        told = run_in_shell(tmp_path, "", [*MEDIAMILL, *verb, str(tmp_path / "out"), *item], **environment)
        assert told.returncode == 0, told.stderr
