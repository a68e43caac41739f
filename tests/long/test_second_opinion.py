"""How many spoiled recordings a second opinion mends, with real Whisper: by word error rates that it does not know."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.out.text_errors import count_text_errors
from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.local_server import running_server
from tests.helpers.spoiled_recordings import SpoiledRecording, write_spoiled_recordings

pytest.importorskip("faster_whisper")
pytest.importorskip("whisper_normalizer")

pytestmark = pytest.mark.proof

MENDED_SHARE = 0.5
"""A transcript is mended when its word error rate falls to half of it and less."""


def compute_rate(said: str, text: str | None) -> float:
    rate = count_text_errors(said, text or "", "en").wer
    assert rate is not None
    return rate


def judge(recording: SpoiledRecording, row: dict[str, Any]) -> tuple[str, float, float]:
    """What the second opinion did, and the word error rates of the first transcript and of the one that was taken."""
    first, taken = (compute_rate(recording.text, text) for text in (row["tries"][0]["text"], row["text"]))
    if not row["tries"][0]["doubts"]:
        return "no doubts", first, taken
    if taken > first:
        return "worse", first, taken
    return (
        ("mended" if taken <= MENDED_SHARE * first and first else "better" if taken < first else "same"),
        first,
        taken,
    )


@pytest.mark.parametrize("seed", [1, 2], ids=["set the score was made with", "another set"])
def test_of_forty_spoiled_recordings_most_with_doubts_are_mended_and_at_most_one_gets_worse(
    seed: int, tmp_path: Path
) -> None:
    recordings = {each.name: each for each in write_spoiled_recordings(tmp_path / "in", seed)}
    assert len(recordings) == 40
    with running_server(engine="whisper", dialect="compatible") as server:
        server.faults(*(rule for each in recordings.values() for rule in each.list_fault_rules()))
        done = mediamill(
            *("transcribe", tmp_path / "in", "--provider", "compatible", "--base-url", server.origin),
            *("--model", "whisper-1", "--out", tmp_path / "out", "--check", "--concurrency", "2", "--yes"),
            home=tmp_path / "home",
            timeout=3600,
        )
    assert done.returncode == 0, done.stderr
    ends, by_kind = Counter[str](), Counter[str]()
    for row in read_rows(tmp_path / "out"):
        recording = recordings[row["item_id"]]
        end, first, taken = judge(recording, row)
        ends[end] += 1
        by_kind[f"{recording.kind} {end}"] += 1
        line = f"{row['item_id']:15} {end:10} WER {first:.2f} -> {taken:.2f}; {row['taken_because']}"
        sys.stdout.write(f"{line}\n")  # with -s; the figures of docs/promises.md
        assert len(row["tries"]) <= 2
    sys.stdout.write(f"{dict(ends)} {dict(sorted(by_kind.items()))}\n")
    assert sum(ends.values()) == 40
    assert ends["worse"] <= 1
    with_doubts = 40 - ends["no doubts"]
    assert ends["mended"] + ends["better"] >= with_doubts / 2
