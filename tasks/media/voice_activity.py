"""Voice activity detection: where the level of a recording rises and falls above its own background.

There is no model: the level of every 20 ms is compared with the background of the four seconds around it. Steady
noise, hum and silence of any loudness are no activity; speech is, and so is music that is not steady. Levels are kept
as one byte for each 20 ms, so an hour takes 180 kB, whatever the size of the blocks it comes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.audio_info import VoiceActivity
from mediamill.tasks.media.decode import open_recording
from mediamill.tasks.media.encode import RATE, Samples, to_blocks, to_mono
from mediamill.tasks.media.recording import Check
from mediamill.tasks.media.source_file import read_head

if TYPE_CHECKING:
    from pathlib import Path

    from mediamill.tasks.media.mixdown import MixdownReport

FRAME_SAMPLES = 320
"""Samples that have one level: 20 ms."""

WINDOW_FRAMES = 200
"""Frames that share a background: 4 s, longer than anybody speaks without a gap between sounds."""

THRESHOLD_DB = 9.0
"""Distance from the background at which activity begins."""

FLOOR_DB = -75.0
"""dB of full scale below which nothing is activity: six steps of 16 bit; some microphones are nearly that quiet."""

_BACKGROUND_PERCENTILE = 10
"""This percentile of a window's levels is its background."""
_MIN_ACTIVE_FRAMES = 3
"""Shorter activity is a click, and does not count."""
_MAX_GAP_FRAMES = 10
"""Shorter gaps between two sounds count as activity too."""
FRAMES_PER_SECOND = RATE // FRAME_SAMPLES
"""Frames that have a level, in a second."""
_BATCH_SAMPLES = 2 * RATE
_MIN_LEVEL_DB = -127.0


class VoiceActivityDetector:
    """Measures 16 kHz mono audio as it streams by."""

    def __init__(self) -> None:
        self._levels = bytearray()
        self._buffer: list[Samples] = []
        self._buffered_samples = 0

    def tap(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """Yield the same blocks, and feed each."""
        for block in blocks:
            self.feed(block)
            yield block

    def feed(self, block: Samples) -> None:
        """Take in the next samples, any number of them."""
        self._buffer.append(block)
        self._buffered_samples += len(block)
        if self._buffered_samples >= _BATCH_SAMPLES:
            self._measure_buffer()

    def measure_levels(self) -> npt.NDArray[np.int8]:
        """The level of each frame so far, in dB of full scale; an incomplete last frame has none."""
        self._measure_buffer()
        return np.frombuffer(bytes(self._levels), np.int8)

    def find_active_frames(self) -> npt.NDArray[np.bool_]:
        """Which frames so far are active: without clicks, and with the short gaps between two sounds."""
        active = _find_active_frames(self.measure_levels().astype(np.float32))
        return ~_remove_short_runs(~_remove_short_runs(active, _MIN_ACTIVE_FRAMES), _MAX_GAP_FRAMES)

    def detect(self) -> VoiceActivity:
        """The activity so far; an incomplete last frame is not counted."""
        return to_voice_activity(self.find_active_frames())

    def _measure_buffer(self) -> None:
        """Measure the buffered samples; many small blocks at once are quicker than each by itself."""
        if self._buffered_samples < FRAME_SAMPLES:
            return
        samples = np.concatenate(self._buffer)
        n_whole = len(samples) // FRAME_SAMPLES * FRAME_SAMPLES
        self._levels += _measure_levels(samples[:n_whole].reshape(-1, FRAME_SAMPLES)).tobytes()
        self._buffer, self._buffered_samples = [samples[n_whole:].copy()], len(samples) - n_whole


def detect_voice_activity(
    path: Path, check: Check | None = None, report: MixdownReport | None = None
) -> VoiceActivity | None:
    """Decode a recording only to detect its voice activity; None when it cannot be decoded.

    ``report`` gets what was taken instead of the mix of its channels.
    """
    detector = VoiceActivityDetector()
    try:
        with open_recording(path, read_head(path)[0], check) as recording:
            for block in to_blocks(to_mono(recording.decode_frames(), report)):
                detector.feed(block)
    except BadInput:
        return None
    return detector.detect()


def to_voice_activity(active: npt.NDArray[np.bool_]) -> VoiceActivity:
    """Voice activity by the second, from the frames that are active."""
    padded = np.zeros(-(-len(active) // FRAMES_PER_SECOND) * FRAMES_PER_SECOND, np.uint8)
    padded[: len(active)] = active
    by_second = padded.reshape(-1, FRAMES_PER_SECOND).sum(axis=1, dtype=np.uint8)
    return VoiceActivity(by_second.tobytes(), FRAMES_PER_SECOND)


def _measure_levels(frames: Samples) -> npt.NDArray[np.int8]:
    """The level of each row in dB of full scale, without its DC offset."""
    samples = frames.astype(np.float32) / 32768
    power = np.square(samples).mean(axis=1) - np.square(samples.mean(axis=1))
    levels = 10 * np.log10(np.maximum(power, 1e-13))
    rounded: npt.NDArray[np.int8] = np.maximum(np.rint(levels), _MIN_LEVEL_DB).astype(np.int8)
    return rounded


def _find_active_frames(levels: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which frames are above their background; the last window reaches back to have its full size."""
    n_whole = len(levels) // WINDOW_FRAMES * WINDOW_FRAMES
    threshold = np.empty(len(levels), np.float32)
    if n_whole:
        floors = np.percentile(levels[:n_whole].reshape(-1, WINDOW_FRAMES), _BACKGROUND_PERCENTILE, axis=1)
        threshold[:n_whole] = np.repeat(floors, WINDOW_FRAMES)
    if n_whole < len(levels):
        threshold[n_whole:] = np.percentile(levels[-WINDOW_FRAMES:], _BACKGROUND_PERCENTILE)
    active: npt.NDArray[np.bool_] = levels >= np.maximum(threshold + THRESHOLD_DB, FLOOR_DB)
    return active


def _remove_short_runs(flags: npt.NDArray[np.bool_], min_frames: int) -> npt.NDArray[np.bool_]:
    """The same flags without runs of fewer than ``min_frames`` frames."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    kept = flags.copy()
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin < min_frames:
            kept[begin:end] = False
    return kept
