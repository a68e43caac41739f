"""How much of a recording sounds as if somebody spoke: sound that comes and goes above its own background.

No model: the level of every 20 ms is held against the background of the four seconds around it. Steady noise, hum
and silence of any loudness are no activity; speech is, and so is music that is not steady. Levels are kept as one
byte for each 20 ms, so an hour takes 180 kB, whatever the size of the blocks it comes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.audio_info import VoiceActivity
from mediamill.tasks.media.decode import Check, open_recording
from mediamill.tasks.media.encode import RATE, Samples, blocks, mono
from mediamill.tasks.media.source_file import read_head

if TYPE_CHECKING:
    from pathlib import Path

FRAME = 320
"""Samples whose level is taken at once: 20 ms."""

WINDOW = 200
"""Frames that share a background: 4 s, longer than anybody speaks without the gaps between sounds."""

ABOVE = 9.0
"""dB above the background where activity begins."""

FLOOR = -75.0
"""dB of full scale under which nothing is activity: six steps of 16 bit; some microphones are nearly that quiet."""

_BACKGROUND = 10
"""Percentile of a window's levels that is its background."""
_SHORTEST = 3
"""Frames; what is shorter is a click."""
_BRIDGED = 10
"""Frames between two sounds that belong to speech as well."""
_A_SECOND = RATE // FRAME
_AT_ONCE = 2 * RATE
_QUIETEST = -127.0


class VoiceActivityDetector:
    """Listens to 16 kHz mono as it streams by."""

    def __init__(self) -> None:
        self._levels = bytearray()
        self._held: list[Samples] = []
        self._size = 0

    def tap(self, sound: Iterable[Samples]) -> Iterator[Samples]:
        """The same blocks, listened to."""
        for block in sound:
            self.feed(block)
            yield block

    def feed(self, block: Samples) -> None:
        """The next samples, any number of them."""
        self._held.append(block)
        self._size += len(block)
        if self._size >= _AT_ONCE:
            self._take()

    def found(self) -> VoiceActivity:
        """What was active so far; what is left over of a frame is not counted."""
        self._take()
        levels = np.frombuffer(bytes(self._levels), np.int8).astype(np.float32)
        active = ~_without_short(~_without_short(_active(levels), _SHORTEST), _BRIDGED)
        padded = np.zeros(-(-len(levels) // _A_SECOND) * _A_SECOND, np.uint8)
        padded[: len(levels)] = active
        by_second = padded.reshape(-1, _A_SECOND).sum(axis=1, dtype=np.uint8)
        return VoiceActivity(by_second.tobytes(), _A_SECOND)

    def _take(self) -> None:
        """Keep the levels of what is held; many small blocks at once are quicker than each by itself."""
        if self._size < FRAME:
            return
        sound = np.concatenate(self._held)
        whole = len(sound) // FRAME * FRAME
        self._levels += _levels(sound[:whole].reshape(-1, FRAME)).tobytes()
        self._held, self._size = [sound[whole:].copy()], len(sound) - whole


def detect_voice_activity(path: Path, check: Check | None = None) -> VoiceActivity | None:
    """The activity of a recording that is otherwise not decoded; None when it cannot be."""
    activity = VoiceActivityDetector()
    try:
        with open_recording(path, read_head(path)[0], check) as recording:
            for block in blocks(mono(recording.frames())):
                activity.feed(block)
    except BadInput:
        return None
    return activity.found()


def _levels(frames: Samples) -> npt.NDArray[np.int8]:
    """Each row's level in dB of full scale, without its constant part."""
    sound = frames.astype(np.float32) / 32768
    power = np.square(sound).mean(axis=1) - np.square(sound.mean(axis=1))
    level = 10 * np.log10(np.maximum(power, 1e-13))
    rounded: npt.NDArray[np.int8] = np.maximum(np.rint(level), _QUIETEST).astype(np.int8)
    return rounded


def _active(levels: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which frames stand out of their surroundings; the last window reaches back to be a whole one."""
    whole = len(levels) // WINDOW * WINDOW
    threshold = np.empty(len(levels), np.float32)
    if whole:
        floors = np.percentile(levels[:whole].reshape(-1, WINDOW), _BACKGROUND, axis=1)
        threshold[:whole] = np.repeat(floors, WINDOW)
    if whole < len(levels):
        threshold[whole:] = np.percentile(levels[-WINDOW:], _BACKGROUND)
    active: npt.NDArray[np.bool_] = levels >= np.maximum(threshold + ABOVE, FLOOR)
    return active


def _without_short(found: npt.NDArray[np.bool_], least: int) -> npt.NDArray[np.bool_]:
    """The same without runs of fewer than ``least`` frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], found, [False]]).astype(np.int8)))
    kept = found.copy()
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin < least:
            kept[begin:end] = False
    return kept
