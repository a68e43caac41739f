"""Short clips processed with pydub: silence at both ends is trimmed, loudness is normalized.

pydub holds several copies of a clip in memory (an hour of stereo is 1.8 GB), so clips longer than
:data:`MAX_SECONDS` are left unchanged, with a warning. PyAV decodes for it: no ffmpeg is installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from mediamill.tasks.media.encode import RATE, Samples, to_frames

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it looks for an ffmpeg program, which is never run here
    from pydub import AudioSegment
    from pydub.silence import detect_leading_silence

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

MAX_SECONDS = 600
"""Maximum length of a clip that is processed."""

TARGET_LOUDNESS_DB = -20.0
"""RMS loudness that clips are brought to, in dB of full scale: about that of a close, calm speaker."""

HEADROOM_DB = 1.0
"""Distance kept between the loudest sample and full scale, so that nothing is clipped."""

MAX_GAIN_DB = 30.0
"""Maximum amplification: a clip that needs more holds noise rather than speech."""

SILENCE_BELOW_DB = 16.0
"""How far below the clip's own loudness silence begins."""

PADDING_MS = 150
"""Silence kept on each side, so that soft first and last sounds survive."""

FADE_MS = 10
"""Fade at a cut end, against clicks."""


@dataclass(frozen=True, slots=True)
class ProcessedAudio:
    """A processed clip.

    Attributes:
        frames: 16 kHz mono 16-bit.
        start: samples cut off its beginning.
        recipe: what was done, as a suffix of the recipe: ``-trim``, ``-normalize``, both or empty.
        warnings: why it was left unchanged.
    """

    frames: Iterable[AudioFrame]
    start: int = 0
    recipe: str = ""
    warnings: tuple[str, ...] = ()


def apply_effects(frames: Iterable[AudioFrame], *, normalize: bool, trim: bool) -> ProcessedAudio:
    """Trim and normalize a short clip; a long one is returned unchanged, with a warning.

    Args:
        frames: 16 kHz mono 16-bit.
        normalize: bring it to :data:`TARGET_LOUDNESS_DB`, without clipping.
        trim: cut silence off both ends.
    """
    buffered: list[AudioFrame] = []
    samples = 0
    rest = iter(frames)
    for frame in rest:
        buffered.append(frame)
        samples += frame.samples
        if samples > MAX_SECONDS * RATE:
            warning = f"not shaped: longer than the {MAX_SECONDS // 60} min that trim and normalize work on"
            return ProcessedAudio(chain(buffered, rest), warnings=(warning,))
    clip = AudioSegment(b"".join(_to_bytes(f) for f in buffered), sample_width=2, frame_rate=RATE, channels=1)
    start, recipe = 0, ""
    if trim:
        clip, start = trim_silence(clip)
        recipe += "-trim"
    if normalize:
        clip = normalize_loudness(clip)
        recipe += "-normalize"
    return ProcessedAudio(to_frames(_split_seconds(clip.raw_data)), start, recipe)


def trim_silence(clip: AudioSegment) -> tuple[AudioSegment, int]:
    """Cut silence off both ends; a clip that is silent throughout is returned unchanged.

    Returns:
        The clip, and the samples cut off its beginning.
    """
    floor = clip.dBFS - SILENCE_BELOW_DB
    lead = detect_leading_silence(clip, floor)
    tail = detect_leading_silence(clip.reverse(), floor)
    if lead + tail >= len(clip):
        return clip, 0
    begin = max(lead - PADDING_MS, 0)
    end = min(len(clip) - tail + PADDING_MS, len(clip))
    cut = clip[begin:] if end == len(clip) else clip[begin:end]
    if begin:
        cut = cut.fade_in(FADE_MS)
    if end < len(clip):
        cut = cut.fade_out(FADE_MS)
    return cut, begin * RATE // 1000


def normalize_loudness(clip: AudioSegment) -> AudioSegment:
    """Bring a clip to :data:`TARGET_LOUDNESS_DB`, by one gain over its whole length; silence stays silence."""
    if clip.rms == 0:
        return clip
    gain = min(TARGET_LOUDNESS_DB - clip.dBFS, -HEADROOM_DB - clip.max_dBFS, MAX_GAIN_DB)
    return clip.apply_gain(gain)


def _to_bytes(frame: AudioFrame) -> bytes:
    return bytes(frame.to_ndarray().tobytes())


def _split_seconds(data: bytes) -> Iterator[Samples]:
    """Yield 16-bit samples, a second at a time."""
    samples = np.frombuffer(data, dtype=np.int16)
    return (samples[start : start + RATE] for start in range(0, len(samples), RATE))
