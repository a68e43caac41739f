"""The channels of a recording by themselves: one of them as audio to send, or all of them to be compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import av
import numpy as np
import numpy.typing as npt

from mediamill.tasks.media.audio_info import RATE
from mediamill.tasks.media.encode import to_frame, to_mono
from mediamill.tasks.media.mixdown import UnmixableChannels

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

    from mediamill.tasks.media.mixdown import MixdownReport

ChannelBlock = npt.NDArray[np.int16]
"""Samples at 16 kHz: (channels, samples)."""


def to_channels(frames: Iterable[AudioFrame]) -> Iterator[ChannelBlock]:
    """Resample to 16 kHz, each channel by itself. The first frame says how many there are.

    Where a later frame has one channel, all have its sound; channels that it lacks are silent then.

    Raises:
        UnmixableChannels: when FFmpeg cannot convert them.
    """
    resampler, form, count = None, None, 0
    for frame in frames:
        frame.pts = None
        frame_form = (frame.sample_rate, frame.layout.name, frame.format.name)
        if resampler is None or frame_form != form:
            if resampler is not None:
                yield from _convert(resampler, None, count)
            resampler, form = av.AudioResampler("s16p", frame.layout.name, RATE), frame_form
            count = count or frame.layout.nb_channels
        yield from _convert(resampler, frame, count)
    if resampler is not None:
        yield from _convert(resampler, None, count)


def to_heard(
    frames: Iterable[AudioFrame], channel: int | None, report: MixdownReport | None = None
) -> Iterator[AudioFrame]:
    """What is heard of a recording, as 16 kHz mono: one channel by its number from 1, or without one the mix.

    Args:
        frames: decoded audio.
        channel: its number; a recording with fewer channels is silent.
        report: gets what was taken instead of the mix.
    """
    if channel is None:
        yield from to_mono(frames, report)
        return
    for block in to_channels(frames):
        silence = np.zeros(block.shape[1], np.int16)
        yield to_frame(np.ascontiguousarray(block[channel - 1]) if channel <= len(block) else silence)


def name_channel(channel: int | None) -> str:
    """The part of a recipe that names the channel; empty for the mix."""
    return "" if channel is None else f"-channel{channel}"


def _convert(resampler: av.AudioResampler, frame: AudioFrame | None, count: int) -> Iterator[ChannelBlock]:
    try:
        converted = resampler.resample(frame)
    except (av.FFmpegError, ValueError):
        raise UnmixableChannels(f"its {count} channels cannot be taken apart", kind="undecodable") from None
    for part in converted:
        samples: ChannelBlock = part.to_ndarray().astype(np.int16, copy=False)
        if len(samples) != count:
            fitted = np.zeros((count, samples.shape[1]), np.int16)
            fitted[: len(samples)] = samples[:count] if len(samples) > 1 else 0
            samples = np.repeat(samples, count, axis=0) if len(samples) == 1 else fitted
        if samples.shape[1]:
            yield samples
