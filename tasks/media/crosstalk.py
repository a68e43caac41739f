"""How much of one channel's sound is heard on another: measured leaks, and which moments hold nothing else.

A leak is a copy: the same sound, quieter, at a lag and a level that stay the same for the whole recording. It is looked
for by cross-correlation wherever one channel is much louder than the other. What somebody says again with their own
voice is no copy, however soon and however quietly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from mediamill.tasks.media.channels import to_channels
from mediamill.tasks.media.decode import open_recording
from mediamill.tasks.media.source_file import read_head
from mediamill.tasks.media.voice_activity import FRAME_SAMPLES, FRAMES_PER_SECOND

if TYPE_CHECKING:
    from mediamill.tasks.media.recording import Check

Floats: TypeAlias = npt.NDArray[np.float32]
Pair: TypeAlias = tuple[int, int]
"""Two channels by their numbers from 1: where the sound is from, and where it leaks to."""

LOUDER_DB = 10.0
"""A leak is looked for, and found, only where its source is louder by this much."""
MAX_LAG_SAMPLES = 1024
"""The longest lag, earlier or later: 64 ms, of a loudspeaker across a room. Later echo is not found, so it is kept."""
MIN_CORRELATION = 0.15
"""Mean correlation from which on there is a leak: one as loud as the noise of its channel has 0.7."""
MIN_PEAK_RATIO = 8.0
"""A leak's correlation is this many times the root mean square of those at other lags; of chance it is 5 at most."""
MIN_LEAK_SECONDS = 1.0
"""Less sound of a channel that is louder tells nothing."""
MAX_CHANNELS = 8
"""Of recordings with more channels no leak is measured."""
_MIN_SOURCE_POWER = 1e-5
"""Power below which a frame of the source is passed over: -50 dB of full scale."""
_COPY_CORRELATION = 0.5
"""A frame with at least this correlation has the leak's level."""
_PEAK_WIDTH = 160
_FFT_SIZE = 32_768
_BLOCK_SAMPLES = (_FFT_SIZE - 2 * MAX_LAG_SAMPLES) // FRAME_SAMPLES * FRAME_SAMPLES


@dataclass(frozen=True, slots=True)
class Leak:
    """A channel that is heard on another.

    Attributes:
        lag: how much later the copy is, in samples at 16 kHz; negative where it is earlier.
        correlation: mean over the time in which the source is much louder, from 0 to 1.
        level_db: how far below the source the copy is.
        products: (3, frames of 20 ms) of the target's time: power of the source at that lag, power of the target, and
            their product.
    """

    lag: int
    correlation: float
    level_db: float
    products: Floats = field(repr=False)

    def measure_likeness(self, start: float, end: float) -> float:
        """How much of a copy the target is between two times in decoded seconds: 1 for a copy alone, else near 0."""
        source, target, product = self._sum(start, end)
        return float(abs(product) / np.sqrt(source * target)) if source * target > 0 else 0.0

    def measure_distance(self, start: float, end: float) -> float:
        """How far the target is below the source between two times, in dB."""
        source, target, _ = self._sum(start, end)
        return float(10 * np.log10(source / target)) if source * target > 0 else 0.0

    def _sum(self, start: float, end: float) -> npt.NDArray[np.float64]:
        first = int(start * FRAMES_PER_SECOND)
        last = max(int(np.ceil(end * FRAMES_PER_SECOND)), first + 1)
        return np.asarray(self.products[:, first:last].sum(axis=1, dtype=np.float64))


Leaks: TypeAlias = Mapping[Pair, Leak]
"""The leaks of a recording by source and target; none where nothing was measured."""


def measure_leaks(
    path: Path, channels: Sequence[int], *, track: str | None = None, check: Check | None = None
) -> dict[Pair, Leak]:
    """Decode a recording and measure which of its channels are heard on others; where any is, decode it once more.

    Args:
        path: the file.
        channels: the numbers of the channels to compare, from 1.
        track: which audio track, as in :func:`mediamill.tasks.media.prepare.prepare_audio`.
        check: called often while decoding; what it raises ends the work.

    Raises:
        BadInput: the kinds of :func:`mediamill.tasks.media.prepare.prepare_audio`.
    """
    if not 1 < len(channels) <= MAX_CHANNELS:
        return {}
    searches = {pair: _LagSearch() for pair in permutations(channels, 2)}
    for block in _decode_blocks(path, track, check):
        for (source, target), search in searches.items():
            search.add(block[source - 1], block[target - 1])
    found = {pair: lag_found for pair, search in searches.items() if (lag_found := search.find()) is not None}
    if not found:
        return {}
    parts: dict[Pair, list[Floats]] = {pair: [] for pair in found}
    for block in _decode_blocks(path, track, check):
        for (source, target), (lag, _) in found.items():
            parts[source, target].append(_multiply_frames(block[source - 1], block[target - 1], lag))
    leaks = {}
    for pair, (lag, correlation) in found.items():
        products = np.concatenate(parts[pair], axis=1)
        level_db = _measure_level(products)
        if level_db is not None:
            leaks[pair] = Leak(lag, correlation, level_db, products)
    return leaks


class _LagSearch:
    """Adds up the cross-correlation of two channels where the first is much louder.

    Each frame is scaled to the same power first, so that few loud words of the target's own do not hide a leak.
    """

    def __init__(self) -> None:
        self._spectrum = np.zeros(_FFT_SIZE // 2 + 1, np.complex128)
        self._frames = 0

    def add(self, source: Floats, target: Floats) -> None:
        """Take in a block and what is around it: ``MAX_LAG_SAMPLES`` before and after."""
        inner = slice(MAX_LAG_SAMPLES, MAX_LAG_SAMPLES + _BLOCK_SAMPLES)
        source_power, target_power = _measure_power(source[inner]), _measure_power(target[inner])
        chosen = (source_power > _MIN_SOURCE_POWER) & (source_power > target_power * 10 ** (LOUDER_DB / 10))
        if not chosen.any():
            return
        self._frames += int(chosen.sum())
        weights = np.where(chosen, 1 / np.sqrt(np.maximum(source_power, _MIN_SOURCE_POWER)), 0)
        scaled_source = source[inner] * np.repeat(weights, FRAME_SAMPLES).astype(np.float32)
        levels = np.sqrt(np.convolve(np.pad(target_power, 1, mode="edge"), np.ones(3) / 3, mode="valid"))
        levels = np.repeat(np.where(levels > 0, levels, np.inf), FRAME_SAMPLES)
        scaled_target = target / np.pad(levels, MAX_LAG_SAMPLES, mode="edge").astype(np.float32)
        spectrum = np.conj(np.fft.rfft(scaled_source, _FFT_SIZE)) * np.fft.rfft(scaled_target, _FFT_SIZE)
        self._spectrum += spectrum

    def find(self) -> tuple[int, float] | None:
        """The lag of a leak in samples and its correlation; None where there is none."""
        if self._frames < MIN_LEAK_SECONDS * FRAMES_PER_SECOND:
            return None
        sums = np.fft.irfft(self._spectrum, _FFT_SIZE)[: 2 * MAX_LAG_SAMPLES + 1]
        correlations = np.abs(sums) / (self._frames * FRAME_SAMPLES)
        peak = int(correlations.argmax())
        others = np.delete(correlations, slice(max(peak - _PEAK_WIDTH, 0), peak + _PEAK_WIDTH + 1))
        floor = float(np.sqrt(np.mean(others**2)))
        correlation = float(correlations[peak])
        if correlation < max(MIN_CORRELATION, MIN_PEAK_RATIO * floor):
            return None
        return peak - MAX_LAG_SAMPLES, min(correlation, 1.0)


def _measure_power(samples: Floats) -> Floats:
    return np.asarray(np.square(samples.reshape(-1, FRAME_SAMPLES)).mean(axis=1))


def _multiply_frames(source: Floats, target: Floats, lag: int) -> Floats:
    at = MAX_LAG_SAMPLES
    early = source[at - lag : at - lag + _BLOCK_SAMPLES].reshape(-1, FRAME_SAMPLES)
    late = target[at : at + _BLOCK_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return np.stack([(early * early).sum(axis=1), (late * late).sum(axis=1), (early * late).sum(axis=1)])


def _measure_level(products: Floats) -> float | None:
    """How far below the source the frames are that are copies (median, in dB); None where too few are."""
    source, target, product = products.astype(np.float64)
    loud = (source > _MIN_SOURCE_POWER * FRAME_SAMPLES) & (target > 0) & (source > target * 10 ** (LOUDER_DB / 10))
    copies = loud & (np.abs(product) >= _COPY_CORRELATION * np.sqrt(source * target))
    if copies.sum() < MIN_LEAK_SECONDS * FRAMES_PER_SECOND / 2:
        return None
    return float(np.median(10 * np.log10(source[copies] / target[copies])))


def _decode_blocks(path: Path, track: str | None, check: Check | None) -> Iterator[Floats]:
    with open_recording(path, read_head(path)[0], check, track=track) as recording:
        yield from _to_blocks(to_channels(recording.decode_frames()))


def _to_blocks(parts: Iterable[npt.NDArray[np.int16]]) -> Iterator[Floats]:
    """Blocks of one length with ``MAX_LAG_SAMPLES`` more on both sides; beyond the recording they are silent."""
    pending: list[npt.NDArray[np.int16]] = []
    length, size = 0, _BLOCK_SAMPLES + 2 * MAX_LAG_SAMPLES
    for part in parts:
        if not pending:
            pending, length = [np.zeros((len(part), MAX_LAG_SAMPLES), np.int16)], MAX_LAG_SAMPLES
        pending.append(part)
        length += part.shape[1]
        if length < size:
            continue
        samples = np.concatenate(pending, axis=1)
        at = 0
        while samples.shape[1] - at >= size:
            yield _scale(samples[:, at : at + size])
            at += _BLOCK_SAMPLES
        pending, length = [samples[:, at:]], samples.shape[1] - at
    if length > MAX_LAG_SAMPLES:
        rest = np.concatenate(pending, axis=1)
        for at in range(0, rest.shape[1] - MAX_LAG_SAMPLES, _BLOCK_SAMPLES):
            part = rest[:, at : at + size]
            yield _scale(np.pad(part, ((0, 0), (0, size - part.shape[1]))))


def _scale(samples: npt.NDArray[np.int16]) -> Floats:
    return samples.astype(np.float32) / np.float32(32768)
