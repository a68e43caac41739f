"""Windows is refused in one line, before anything is imported that Windows lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LINE = "mediamill runs on Linux and macOS; on Windows run it in WSL, the Windows Subsystem for Linux"
WINDOWS = """
import sys
sys.platform = "win32"
sys.modules.update(dict.fromkeys(("fcntl", "grp", "pwd", "resource", "termios")))  # importing one raises ImportError
"""


def run_on_windows(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WINDOWS + code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_line_prints_one_line_and_exits_with_2(tmp_path: Path) -> None:
    done = run_on_windows("from mediamill.flows.cli.main import main; main()", tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"mediamill: {LINE}\n")


@pytest.mark.parametrize("code", ["import mediamill; mediamill.transcribe", "from mediamill import Capability"])
def test_python_raises_an_import_error_of_the_same_words(tmp_path: Path, code: str) -> None:
    done = run_on_windows(code, tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ImportError: {LINE}"
