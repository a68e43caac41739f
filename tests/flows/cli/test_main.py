"""The command line: exit codes, JSON, pipes, the log, and the commands that work on an OUT."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest

from mediamill.flows.cli import main as cli
from mediamill.flows.cli.commands import doctor
from mediamill.flows.cli.console import print_note
from mediamill.flows.cli.progress_text import format_progress
from mediamill.tasks.errors import OutputBusy, ProviderDown, StorageError, UsageError
from mediamill.tasks.formatting import format_dollars, format_duration
from mediamill.tasks.summary import Outage, Progress
from tests.helpers.cli_runs import SENTINEL, bare_environment, make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.paths import RECORDINGS, ROOT
from tests.helpers.tiers import mark_rest_long


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


def run_raising(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, *arguments: str) -> int | str | None:
    """Run a command that raises ``error``; return the exit code."""

    def raise_error() -> None:
        if error is not None:
            raise error

    debug = click.Option(["--debug"], is_flag=True, expose_value=False)
    command = click.Command("models", callback=raise_error, params=[debug])
    monkeypatch.setattr(cli.cli, "get_command", lambda *_: command)
    monkeypatch.setattr(sys, "argv", ["mediamill", "models", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    return exit_info.value.code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (StorageError("disk", hint="free it"), 1),
        (UsageError("wrong", hint="right it"), 2),
        (ProviderDown("down", hint="wait"), 4),
        (OutputBusy("busy", hint="wait"), 5),
        (ZeroDivisionError("a bug"), 1),
        (EOFError("a bug"), 1),
        (click.Abort(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_exit_code_and_no_traceback(
    error: BaseException | None, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, error) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    assert not captured.out
    assert captured.err.count("mediamill: ") == (error is not None)
    if isinstance(error, ZeroDivisionError):
        assert "internal error: ZeroDivisionError: a bug" in captured.err
        assert "--debug" in captured.err


def test_debug_shows_the_traceback_and_keeps_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(monkeypatch, UsageError("wrong"), "--debug") == 2
    assert "Traceback" in capsys.readouterr().err


def test_with_json_a_refusal_is_also_one_json_object(tmp_path: Path) -> None:
    done = mediamill("transcribe", tmp_path / "no", "--provider", "local", "--json", home=tmp_path / "home")
    assert done.returncode == 2
    refusal = json.loads(done.stdout)
    assert refusal["exit_code"] == 2
    assert "no such file" in refusal["error"]
    assert "no such file" in done.stderr
    busy = mediamill("status", tmp_path, "--json", home=tmp_path / "home")
    assert json.loads(busy.stdout)["exit_code"] == 2


@pytest.mark.long
def test_retry_and_report_find_an_out_from_another_folder(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 4)
    (tmp_path / "in" / "text.mp3").write_text("no music")
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "status", "status": 400}, "times": 1})
    arguments = (
        "transcribe",
        "in",
        "--provider",
        "together",
        "--base-url",
        local_server.origin,
        "--out",
        "out",
        "--yes",
        "--json",
    )
    home = bare_environment(tmp_path / "home")
    run = [sys.executable, "-m", "mediamill.flows.cli"]
    first = subprocess.run([*run, *arguments], cwd=tmp_path, env=home, capture_output=True, text=True, check=False)
    assert first.returncode == 3, first.stderr
    kinds = {group["kind"] for group in json.loads(first.stdout)["failures"]}
    refused = next(iter(kinds - {"not_audio"}))
    again = mediamill("retry", tmp_path / "out", "--only", refused, "--json", home=tmp_path / "home")
    assert again.returncode == 3, again.stderr
    summary = json.loads(again.stdout)
    assert (summary["total"], summary["done"]) == (1, 1)
    assert [group["kind"] for group in summary["failures"]] == ["not_audio"]
    assert len(read_rows(tmp_path / "out")) == 4
    assert local_server.bill()["requests"] == 5
    unknown = mediamill("retry", tmp_path / "out", "--only", "not_audoi", home=tmp_path / "home")
    assert unknown.returncode == 0, unknown.stderr
    assert "not_audio" in unknown.stdout + unknown.stderr
    page = mediamill("report", tmp_path / "out", home=tmp_path / "home")
    assert Path(page.stdout.strip()).is_file()


@pytest.mark.long
@pytest.mark.parametrize("redirect", mark_rest_long(["2>&1 |", "|"], ["|"]))
def test_a_run_goes_on_when_its_output_is_closed(redirect: str, tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 12)
    (tmp_path / "in" / "text.mp3").write_text("no music")
    script = f'"$@" {redirect} true; exit "${{PIPESTATUS[0]}}"'
    arguments = ("transcribe", tmp_path / "in", "--provider", "together", "--base-url", local_server.origin)
    command = [
        sys.executable,
        "-m",
        "mediamill.flows.cli",
        *map(str, arguments),
        "--yes",
        "--out",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(
        ["bash", "-c", script, "bash", *command],
        env=bare_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert len(read_rows(tmp_path / "out")) == 12


def test_a_note_to_a_closed_stderr_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asserts nothing: the second note would raise the broken pipe, so the call itself is the test."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        print_note("first")
        print_note("second")


def test_the_debug_log_holds_no_key(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 2)
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "status", "status": 500}, "times": 1})
    done = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin, "--debug")
    assert done.returncode == 0, done.stderr
    assert SENTINEL not in done.stderr + done.stdout


@pytest.mark.long
@pytest.mark.parametrize("kilobytes", [150, 300])
def test_a_full_disk_fails_the_run_in_one_line_and_a_rerun_completes_it(kilobytes: int, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("books.webm", "keys.m4a"):
        shutil.copy(RECORDINGS / name, tmp_path / "in")
    arguments = ("transcribe", tmp_path / "in", "--provider", "local", "--out", tmp_path / "out")
    command = [sys.executable, "-m", "mediamill.flows.cli", *map(str, arguments)]
    done = subprocess.run(
        ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash", *command],
        env=bare_environment(tmp_path / "home", PYTHONDONTWRITEBYTECODE="1"),  # it would cut compiled modules, too
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    error_lines = [line for line in done.stderr.splitlines() if line.startswith("mediamill: ")]
    assert len(error_lines) == 1
    assert str(tmp_path / "out") in error_lines[0]
    assert mediamill(*arguments, home=tmp_path / "home").returncode == 0
    assert len(read_rows(tmp_path / "out")) == 2


def test_serve_prints_its_address_and_ends_on_a_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mediamill.flows.cli", "serve", "--engine", "echo", "--port", "0"]
    with subprocess.Popen(
        command, env=bare_environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("listening on http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in stderr


@pytest.mark.long
def test_doctor_prints_which_keys_are_set_and_no_key(tmp_path: Path) -> None:
    done = mediamill("doctor", "--out", tmp_path, "--json", home=tmp_path / "home")
    assert done.returncode == 0, done.stdout
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert findings["provider together"]["told"] == "TOGETHER_API_KEY is set"
    assert findings["provider groq"]["told"] == "GROQ_API_KEY is not set"
    assert SENTINEL not in done.stdout + done.stderr


def test_doctor_finds_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def report_little_space(_: object) -> SimpleNamespace:
        return SimpleNamespace(free=2**20)

    assert doctor._check_disk(str(tmp_path))[0].well
    monkeypatch.setattr("shutil.disk_usage", report_little_space)
    [finding] = doctor._check_disk(str(tmp_path))
    assert not finding.well
    assert finding.hint


def test_the_ci_script_is_executable_and_parses() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_progress_is_formatted_in_one_line() -> None:
    progress = Progress(
        phase="run",
        total=1200,
        done=40,
        failed=2,
        cached=0,
        in_flight=8,
        spent=Decimal("0.0042"),
        unknown_max=Decimal(0),
        budget=Decimal(5),
        seconds=4.2,
        rate=10.0,
        eta_s=115.8,
    )
    assert (
        format_progress(progress) == "42/1200 items, 2 failed, 8 in flight, 10.0/s, $0.0042 of $5.00, 1 min 56 s left"
    )
    outage = Outage("together", "2026-11-27T14:02:10+01:00", "503:\x1b[2J busy", 7.6, "2026-11-27T14:12:10+01:00")
    line = format_progress(replace(progress, outage=outage))
    assert line.startswith("together does not answer since 14:02:10 (503:")
    assert ": next try in 8 s, gives up at 14:12:10; 42/1200 items, 2 failed" in line
    assert "\x1b" not in line
    assert "trying now" in format_progress(replace(progress, outage=replace(outage, next_try_s=None)))
    outage = replace(outage, cause="x" * 300)
    lines = format_progress(replace(progress, outage=outage), after_cause="\n").splitlines()
    assert lines[0].startswith("together does not answer since 14:02:10 (xxx")
    assert lines[1].startswith("next try in 8 s, gives up at 14:12:10; 42/1200 items, 2 failed")


@pytest.mark.parametrize(
    ("usd", "expected"),
    [
        (None, "unknown"),
        ("0", "$0.00"),
        ("0.000025", "$0.000025"),
        ("0.5", "$0.50"),
        ("0.0123456", "$0.01235"),
        ("0.99999", "$1.00"),
        ("12.345", "$12.34"),
        ("99.996", "$100"),
        ("1234.5", "$1,234"),
        ("123456.7", "$123,500"),
        ("1E-7", "$0.0000001"),
        ("0.00097138888", "$0.0009714"),
    ],
)
def test_dollars_are_formatted(usd: str | None, expected: str) -> None:
    assert format_dollars(None if usd is None else Decimal(usd)) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.44, "0.4 s"), (12, "12 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_are_formatted(seconds: float, expected: str) -> None:
    assert format_duration(seconds) == expected
