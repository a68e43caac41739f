"""A model that refuses a recording for its length says how long one may be: it is cut for that, and bought once."""

from __future__ import annotations

import math
import struct
import wave
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.capabilities.speech.length_limits import is_usable_limit, mend_hint
from mediamill.tasks.errors import CallFailed
from mediamill.tasks.wire import AudioLimits
from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.local_server import RunningServer, running_server

_OPTIONS = ("--provider", "compatible", "--model", "a-model", "--no-prefect", "--yes", "--concurrency", "8", "-v")


def _write_tone(path: Path, seconds: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    second = [round(9000 * math.sin(2 * math.pi * n * (200 + seconds) / 8000)) for n in range(8000)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack("<8000h", *second) * seconds)


def _read_calls(server: RunningServer) -> tuple[int, list[float]]:
    """How many calls were refused, and the seconds of those that were answered."""
    calls: list[dict[str, Any]] = server.bill()["calls"]
    answered = [float(call["seconds"]) for call in calls if call["status"] == 200]
    return len(calls) - len(answered), answered


@pytest.mark.long
@pytest.mark.parametrize("options", [(), ("--piece-seconds", "45")])
def test_the_stated_length_is_learned_and_nothing_is_paid_twice(tmp_path: Path, options: tuple[str, ...]) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    _write_tone(source / "long.wav", 95)
    _write_tone(source / "short.wav", 20)
    arguments: tuple[str | Path, ...] = ("transcribe", source, "--out", out, *_OPTIONS, *options)
    with running_server(max_seconds=30) as server:
        first = mediamill(*arguments, "--base-url", server.origin, home=tmp_path / "home")
        assert first.returncode == 0, first.stderr
        refused, answered = _read_calls(server)
        assert refused == 1
        assert sum(answered) == pytest.approx(115, abs=0.01)
        assert "at most 30 s" in first.stderr
        _write_tone(source / "later.wav", 70)
        second = mediamill(*arguments, "--base-url", server.origin, home=tmp_path / "home")
        assert second.returncode == 0, second.stderr
        assert _read_calls(server)[0] == 1
    rows = {Path(row["source"]).name: row for row in read_rows(out)}
    assert rows["short.wav"]["pieces"] == 1
    assert rows["short.wav"]["warnings"] == []
    for name, seconds in (("long.wav", 95), ("later.wav", 70)):
        assert rows[name]["pieces"] > seconds / 30
        assert rows[name]["audio_seconds"] == seconds
        assert any("at most 30 s" in warning for warning in rows[name]["warnings"])


@pytest.mark.parametrize(
    ("stated", "known", "is_usable"),
    [(30.0, None, True), (30.0, 60.0, True), (30.0, 30.0, False), (60.0, 30.0, False), (5.0, None, False)],
)
def test_a_length_is_usable_when_it_is_shorter_than_the_known_one(
    stated: float, known: float | None, *, is_usable: bool
) -> None:
    error = CallFailed("too long", kind="too_long")
    assert not is_usable_limit(error, AudioLimits(frozenset(), 1, known))
    error.max_seconds = stated
    assert is_usable_limit(error, AudioLimits(frozenset(), 1, known)) is is_usable


@pytest.mark.parametrize(
    ("stated", "piece_seconds", "hint"),
    [
        (1400, None, "no piece was longer than 1400 s: try a lower --piece-seconds, e.g. 700"),
        (1400, 600, "no piece was longer than 600 s: try a lower --piece-seconds, e.g. 300"),
        (1000, None, "as it was"),
        (None, 600, "as it was"),
    ],
)
def test_a_length_that_every_piece_had_is_no_advice(
    stated: float | None, piece_seconds: float | None, hint: str
) -> None:
    error = CallFailed("too long", kind="too_long", hint="as it was")
    error.max_seconds = stated
    mend_hint(error, AudioLimits(frozenset(), 1, 1400), piece_seconds)
    assert error.hint == hint
