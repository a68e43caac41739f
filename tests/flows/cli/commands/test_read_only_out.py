"""OUT on a disk that is mounted read-only: what only reads works, and what writes names the disk."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import bare_environment, make_wavs, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.paths import ROOT

MOUNT = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" || exit 99; shift; exec "$@"'


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


def run_read_only(out: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a mount namespace of its own, in which OUT is read-only."""
    if shutil.which("unshare") is None:
        pytest.skip("this machine has no unshare")
    command = [sys.executable, "-m", "mediamill.flows.cli", *map(str, arguments)]
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", MOUNT, "bash", str(out), *command],
        env=bare_environment(out.parent / "home"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode == 99 or done.stderr.startswith("unshare:"):
        pytest.skip(f"this machine lets no test mount a file system: {done.stderr.strip()[-200:]}")
    return done


@pytest.mark.long
@pytest.mark.parametrize("fault", ["", "publish.record.before:1:kill"], ids=["ended", "killed"])
def test_a_read_only_out_is_read_and_what_writes_names_the_disk(
    fault: str, tmp_path: Path, local_server: RunningServer
) -> None:
    make_wavs(tmp_path / "in", 2)
    out = tmp_path / "out"
    transcribe(tmp_path / "in", out, local_server.origin, env={"MEDIAMILL_FAULTS": fault})
    status = run_read_only(out, "status", out)
    assert status.returncode == 0, status.stderr
    assert "2 done, 0 failed" in status.stdout
    assert run_read_only(out, "explain", out, "0000.wav").returncode == 0
    assert run_read_only(out, "settle", out).returncode == 0
    assert run_read_only(out, "export", out, "--to", tmp_path / "rows.csv").returncode == 0
    commands: list[list[str | Path]] = [["report", out], ["retry", out], ["transcribe", tmp_path / "in", "--out", out]]
    for writing in commands:
        done = run_read_only(out, *writing)
        assert done.returncode in (1, 2), done.stdout
        assert "read-only" in done.stderr or "no failures" in done.stderr or "cannot be written" in done.stderr
        assert "free" not in done.stderr
        assert "internal error" not in done.stderr
