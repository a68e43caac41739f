"""Few open files (ulimit -n): fewer requests at once, and in the end the same results."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.errors import UsageError
from mediamill.tasks.system import open_files
from tests.helpers.cli_runs import bare_environment, make_wavs, read_rows
from tests.helpers.local_server import RunningServer
from tests.helpers.tiers import mark_rest_long


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "latency": "50ms"}


def run_with_open_files(
    soft: int, hard: int, tmp_path: Path, server: RunningServer, *options: str
) -> subprocess.CompletedProcess[str]:
    source, out = str(tmp_path / "in"), str(tmp_path / "out")
    arguments = ["transcribe", source, "--out", out, "--provider", "together", "--base-url", server.origin]
    return subprocess.run(
        [sys.executable, "-m", "mediamill.flows.cli", *arguments, "--yes", "--concurrency", "64", *options],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        env=bare_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.long
@pytest.mark.parametrize("limit", mark_rest_long([42, 64, 128, 256], [64]))
def test_few_open_files_make_a_run_slower_and_lose_nothing(
    limit: int, tmp_path: Path, local_server: RunningServer
) -> None:
    make_wavs(tmp_path / "in", 100)
    done = run_with_open_files(limit, limit, tmp_path, local_server)
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "out")) == 100 == local_server.bill()["requests"]
    assert ("raise ulimit -n" in done.stderr) == (limit < 168)
    assert ("instead of 64" in done.stderr) == (limit < 168)


def test_too_few_open_files_are_refused_before_anything_is_done(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 1)
    done = run_with_open_files(32, 32, tmp_path, local_server)
    assert done.returncode == 2
    assert "this process may have 32 files open" in done.stderr
    assert "ulimit -n" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_a_soft_limit_below_the_hard_one_costs_nothing(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 100)
    done = run_with_open_files(64, 4096, tmp_path, local_server)
    assert done.returncode == 0, done.stderr
    assert "ulimit" not in done.stderr


@pytest.mark.parametrize(("limit", "allowed"), [(42, 1), (64, 12), (256, 64), (None, 64)])
def test_the_number_of_requests_follows_the_limit(
    limit: int | None, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_files, "get_open_file_limit", lambda: limit)
    assert open_files.limit_by_open_files(64) == allowed


def test_no_request_at_all_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "get_open_file_limit", lambda: 41)
    with pytest.raises(UsageError, match="41 files open"):
        open_files.limit_by_open_files(64)
