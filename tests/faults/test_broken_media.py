"""Every file of a folder becomes a result or a failure, and broken media is never sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.cli_runs import read_rows, transcribe
from tests.helpers.local_server import running_server
from tests.helpers.paths import OUTSIDE_SAMPLES, SAMPLES, needs_outside_samples


@pytest.mark.long
@needs_outside_samples
@pytest.mark.parametrize("name", ["audio_weird", "audio_formats", "tiny"])
def test_every_unusual_file_becomes_a_result_or_a_failure(name: str, tmp_path: Path) -> None:
    check_every_file_ends(OUTSIDE_SAMPLES / name / "**" / "*.*", tmp_path)


def test_every_broken_sample_becomes_a_result_or_a_failure(tmp_path: Path) -> None:
    check_every_file_ends(SAMPLES / "broken" / "*", tmp_path)


def check_every_file_ends(pattern: Path, tmp_path: Path) -> None:
    """Each file the pattern finds is a result or a failure with a message, and only results were sent."""
    out = tmp_path / "out"
    with running_server(engine="echo", dialect="together") as server:
        done = transcribe(pattern, out, server.origin, "--json")
        assert done.returncode in (0, 3), done.stderr
        summary = json.loads(done.stdout)
        assert "Traceback" not in done.stderr
        results, failures = read_rows(out), read_rows(out, "failures")
        assert results or failures
        assert len(results) + len(failures) == int(summary["total"])
        assert server.bill()["requests"] == len({row["request_key"] for row in results})
        for row in failures:
            assert row["error_message"], row
            assert row["error_kind"] != "internal", row
            assert row["attempts"] == 0, row
