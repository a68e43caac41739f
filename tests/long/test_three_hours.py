"""Three hours of numbered words: none lost, doubled or moved, in memory that does not grow with the length."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.cli_runs import bare_environment, read_rows
from tests.helpers.local_server import RunningServer, running_server
from tests.long.numbered_recordings import NumberedWords, write_wav
from tests.long.transcribe_runs import ENGINE, get_word_positions

HOURS_3 = 3 * 3600
MEASURED = """
import sys
from mediamill.flows.cli.main import main
try:
    code = main()
except SystemExit as ended:
    code = ended.code
status = open("/proc/self/status").read()
sys.stderr.write("VmHWM " + status.split("VmHWM:")[1].split()[0] + "\\n")
sys.exit(code)
"""


def measure_max_memory(source: Path, out: Path, server: RunningServer, *options: str) -> float:
    """Peak memory of the command in MB; the run must succeed."""
    arguments = ["transcribe", str(source), "--provider", "together", "--base-url", server.origin, "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments, "--yes", *options],
        env=bare_environment(out.parent / "home"),
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    match = re.search(r"VmHWM (\d+)", done.stderr)
    assert match, done.stderr
    return int(match[1]) / 1024


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize(
    "options", [(), pytest.param(("--set", "piece_seconds=61", "--overlap", "3"), marks=pytest.mark.proof)]
)
def test_three_hours_are_transcribed_in_bounded_memory(options: tuple[str, ...], tmp_path: Path) -> None:
    short, numbered = NumberedWords(30), NumberedWords(HOURS_3)
    few = write_wav(tmp_path / "short" / "x.wav", short)
    path = write_wav(tmp_path / "in" / "x.wav", numbered)
    with running_server(engine=ENGINE, dialect="together", workers=1) as server:
        base = measure_max_memory(few, tmp_path / "base", server, "--set", "piece_seconds=7")
        peak = measure_max_memory(path, tmp_path / "out", server, *options)
        (row,) = read_rows(tmp_path / "out")
        assert get_word_positions(row) == numbered.words()
        assert row["pieces"] > (15 if not options else 170)
        assert peak - base <= 200
        bill = server.bill()
        assert len({c["file_sha256"] for c in bill["calls"]}) == bill["requests"]
