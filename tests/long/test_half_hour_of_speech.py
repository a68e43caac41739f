"""Half an hour of read speech with pauses, through a crash: transcribed in pieces no worse than clip by clip."""

from __future__ import annotations

import csv
import random
import re
import signal
import wave
from collections import Counter
from pathlib import Path

import jiwer
import numpy as np
import pytest

from mediamill.tasks.media.decode import open_recording
from mediamill.tasks.media.encode import RATE, Samples, to_blocks, to_mono
from tests.helpers.cli_runs import read_rows, transcribe
from tests.helpers.local_server import running_server
from tests.helpers.paths import OUTSIDE_SAMPLES, needs_outside_samples

SECONDS = 30 * 60
IN_FLIGHT = 4
TIMEOUT_SECONDS = 1500
"""For the recogniser, which is slow when it shares its cores."""


def list_clips() -> dict[str, str]:
    """Every English clip of read speech and what is said in it."""
    with (OUTSIDE_SAMPLES / "transcripts.csv").open(encoding="utf-8") as file:
        texts = {r["file"]: r["text"] for r in csv.DictReader(file) if r["lang"] == "en"}
    return {name: text for name, text in texts.items() if name.startswith(("speech/lj/", "speech/fleurs/"))}


def read_samples(path: Path) -> Samples:
    with path.open("rb") as file:
        head = file.read(4096)
    with open_recording(path, head) as recording:
        return np.concatenate(list(to_blocks(to_mono(recording.decode_frames()))))


def normalize_text(text: str) -> str:
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())


def write_wav(path: Path, parts: list[Samples]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for part in parts:
            file.writeframes(part.tobytes())


@pytest.mark.proof
@needs_outside_samples
def test_half_an_hour_through_a_crash_is_transcribed_as_well_as_its_clips(tmp_path: Path) -> None:
    known = list_clips()
    clip_samples = {name: read_samples(OUTSIDE_SAMPLES / name) for name in known}
    for n, name in enumerate(known):
        write_wav(tmp_path / "clips" / f"{n:02d}.wav", [clip_samples[name]])
    rng = random.Random(4)
    parts: list[Samples] = []
    order: list[str] = []
    while sum(len(part) for part in parts) < SECONDS * RATE:
        name = rng.choice(list(known))
        parts += [np.zeros(int(rng.uniform(0.5, 2.5) * RATE), np.int16), clip_samples[name]]
        order.append(name)
    recording, out = tmp_path / "in" / "talk.wav", tmp_path / "out"
    write_wav(recording, parts)
    options = ("--concurrency", str(IN_FLIGHT), "--set", "piece_seconds=60")
    with running_server(engine="local", dialect="together") as server:
        clips_out = tmp_path / "alone"
        assert transcribe(tmp_path / "clips", clips_out, server.origin, timeout=TIMEOUT_SECONDS).returncode == 0
        by_clip = {name: normalize_text(row["text"]) for name, row in zip(known, sorted_rows(clips_out), strict=True)}
        server.reset()
        killed = transcribe(
            recording, out, server.origin, *options, env={"MEDIAMILL_FAULTS": "call.replied.after:11:kill"}
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        resumed = transcribe(recording, out, server.origin, *options, timeout=TIMEOUT_SECONDS)
        assert resumed.returncode == 0, resumed.stderr
        bill = server.bill()
    (row,) = read_rows(out)
    purchases = Counter(call["file_sha256"] for call in bill["calls"] if call["billed"])
    assert len(purchases) == row["pieces"] > 30
    assert sum(n - 1 for n in purchases.values()) <= IN_FLIGHT
    references = [normalize_text(known[name]) for name in order]
    clips_error = jiwer.wer(references, [by_clip[name] for name in order])
    merged_error = jiwer.wer(" ".join(references), normalize_text(row["text"]))
    assert merged_error <= 1.02 * clips_error, f"stitched {merged_error:.4f}, clips alone {clips_error:.4f}"


def sorted_rows(out: Path) -> list[dict[str, str]]:
    return sorted(read_rows(out), key=lambda row: str(row["item_id"]))
