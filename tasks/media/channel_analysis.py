"""What the channels of a recording hold: which are silent, which are alone when they sound, and how much is the same.

Channels of a call have one voice each: where one speaks the other is silent, or has it far quieter (crosstalk). Those
of music, of a room and of most stereo sound at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations, permutations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mediamill.tasks.media.channels import to_channels
from mediamill.tasks.media.decode import open_recording
from mediamill.tasks.media.mixdown import UNNAMED
from mediamill.tasks.media.source_file import read_head
from mediamill.tasks.media.voice_activity import (
    FRAME_SAMPLES,
    FRAMES_PER_SECOND,
    VoiceActivityDetector,
    to_voice_activity,
)

if TYPE_CHECKING:
    from mediamill.tasks.media.audio_info import VoiceActivity
    from mediamill.tasks.media.recording import Check

APART_DB = 12.0
"""A channel is alone where the others have no activity, or are quieter by this much."""

_SILENT_SECONDS, _SILENT_DB = 0.2, -50.0
"""A channel with less activity is silent, unless its loud moments are louder: in loud noise no speech is detected."""
_LOUD_PERCENTILE = 99


@dataclass(frozen=True, slots=True)
class ChannelAnalysis:
    """The channels of a recording, beside each other.

    Attributes:
        names: of the channels, such as ``FL``; empty ones where the file names none.
        levels: (channels, frames) of 20 ms, in dB of full scale.
        active: (channels, frames): where each sounds like speech.
        correlations: of each pair of channels that are not silent, from 0 to 1; 1 is the same sound, also in opposite
            phase.
    """

    names: tuple[str, ...]
    levels: npt.NDArray[np.int8] = field(repr=False)
    active: npt.NDArray[np.bool_] = field(repr=False)
    correlations: tuple[float, ...] = ()

    @property
    def silent(self) -> tuple[bool, ...]:
        """For each channel, whether nothing is heard on it."""
        seconds = self.active.sum(axis=1) / FRAMES_PER_SECOND
        loud = np.percentile(self.levels, _LOUD_PERCENTILE, axis=1) if self.levels.size else np.zeros(len(self.names))
        return tuple(bool(s < _SILENT_SECONDS and db < _SILENT_DB) for s, db in zip(seconds, loud, strict=True))

    @property
    def alone(self) -> npt.NDArray[np.bool_]:
        """(channels, frames): where each channel is active, and the others are not or far quieter."""
        alone = self.active.copy()
        for one, other in combinations(range(len(self.names)), 2):
            louder = self.levels[one].astype(np.int16) - self.levels[other]
            alone[one] &= ~self.active[other] | (louder >= APART_DB)
            alone[other] &= ~self.active[one] | (-louder >= APART_DB)
        return alone

    @property
    def own(self) -> npt.NDArray[np.bool_]:
        """(channels, frames): where each channel is active, and that is no quiet copy of another's voice."""
        own = self.active.copy()
        for one, other in permutations(range(len(self.names)), 2):
            louder = self.levels[other].astype(np.int16) - self.levels[one]
            own[one] &= ~(self.active[other] & (louder >= APART_DB))
        return own

    @property
    def voice_activity(self) -> VoiceActivity:
        """When somebody speaks on any channel."""
        return to_voice_activity(np.logical_or.reduce(self.active, axis=0))

    @staticmethod
    def measure_frames(chosen: npt.NDArray[np.bool_]) -> float:
        """Seconds of the frames that are chosen."""
        return round(float(chosen.sum()) / FRAMES_PER_SECOND, 2)

    def measure_distance(self) -> float | None:
        """How far below a channel that is alone the loudest of the others is, in dB (median); None where none is."""
        distances = []
        for channel, alone in enumerate(self.alone):
            others = np.delete(self.levels, channel, axis=0)[:, alone]
            if others.size:
                distances.append(self.levels[channel, alone].astype(np.int16) - others.max(axis=0))
        return float(np.median(np.concatenate(distances))) if distances else None


def analyze_channels(
    path: Path, *, track: str | None = None, check: Check | None = None, max_seconds: float | None = None
) -> ChannelAnalysis:
    """Decode a recording and compare its channels.

    Args:
        path: the file.
        track: which audio track, as in :func:`mediamill.tasks.media.prepare.prepare_audio`.
        check: called often while decoding; what it raises ends the work.
        max_seconds: how much of its beginning is compared; None for all of it.

    Raises:
        BadInput: the kinds of :func:`mediamill.tasks.media.prepare.prepare_audio`.
    """
    detectors: list[VoiceActivityDetector] = []
    products = np.zeros((0, 0))
    samples = 0
    with open_recording(path, read_head(path)[0], check, track=track) as recording:
        context = recording.stream.codec_context
        names = tuple("" if channel.name in UNNAMED else channel.name for channel in context.layout.channels)
        if context.channels == 1:
            return ChannelAnalysis(names[:1], np.zeros((1, 0), np.int8), np.zeros((1, 0), np.bool_))
        for block in to_channels(recording.decode_frames()):
            if not detectors:
                detectors = [VoiceActivityDetector() for _ in block]
                products = np.zeros((len(block), len(block)))
            for detector, channel in zip(detectors, block, strict=True):
                detector.feed(channel)
            scaled = block.astype(np.float32) / np.float32(32768)
            products += scaled @ scaled.T
            samples += block.shape[1]
            if max_seconds is not None and samples >= max_seconds * FRAMES_PER_SECOND * FRAME_SAMPLES:
                break
    frames = samples // FRAME_SAMPLES
    levels = np.array([detector.measure_levels()[:frames] for detector in detectors], np.int8)
    active = np.array([detector.find_active_frames()[:frames] for detector in detectors], np.bool_)
    names = names if len(names) == len(detectors) else ("",) * len(detectors)
    found = ChannelAnalysis(names, levels.reshape(len(detectors), frames), active.reshape(len(detectors), frames))
    live = [channel for channel, silent in enumerate(found.silent) if not silent]
    pairs = [_correlate(products, one, other) for one, other in combinations(live, 2)]
    return ChannelAnalysis(found.names, found.levels, found.active, tuple(pairs))


def _correlate(products: npt.NDArray[np.float64], one: int, other: int) -> float:
    power = products[one, one] * products[other, other]
    return float(abs(products[one, other]) / np.sqrt(power)) if power > 0 else 0.0
