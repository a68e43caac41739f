"""Short clips shaped with pydub: silence trimmed off the ends, loudness evened out.

pydub holds a clip in memory whole and several times over (an hour of stereo is 1.8 GB), so clips over
:data:`MAX_SECONDS` are left as they are, with a warning. PyAV decodes for it: no ffmpeg is installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import av
import numpy as np

from mediamill.tasks.media.encode import RATE

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it looks for an ffmpeg program, which is never run here
    from pydub import AudioSegment
    from pydub.silence import detect_leading_silence

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

MAX_SECONDS = 600
"""Longest clip that is shaped."""

TARGET_LOUDNESS_DB = -20.0
"""Loudness clips are brought to, in dB of RMS below full scale: about that of a close, calm speaker."""

HEADROOM_DB = 1.0
"""dB left between the loudest sample and full scale, so that nothing is clipped."""

MAX_GAIN_DB = 30.0
"""Most a clip is amplified, in dB: beyond it there is noise rather than speech."""

SILENCE_BELOW_DB = 16.0
"""How far below the clip's own loudness silence begins, in dB."""

PADDING_MS = 150
"""Silence kept on each side, so that soft first and last sounds survive."""

FADE_MS = 10
"""Fade at a cut end, against clicks."""


@dataclass(frozen=True, slots=True)
class ProcessedAudio:
    """A clip after shaping.

    Attributes:
        frames: 16 kHz mono 16-bit.
        start: samples cut off its beginning.
        recipe: what was done, as a suffix: ``-trim``, ``-normalize``, both or empty.
    """

    frames: Iterable[AudioFrame]
    start: int = 0
    recipe: str = ""
    warnings: tuple[str, ...] = ()


def apply_effects(frames: Iterable[AudioFrame], *, normalize: bool, trim: bool) -> ProcessedAudio:
    """Trim and normalize a short clip; a long one comes back untouched.

    Args:
        frames: 16 kHz mono 16-bit.
        normalize: bring it to :data:`LOUDNESS`, without clipping.
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
    return ProcessedAudio(_to_frames(clip.raw_data), start, recipe)


def trim_silence(clip: AudioSegment) -> tuple[AudioSegment, int]:
    """Cut silence off both ends; a clip that is silent throughout is left whole.

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
    """Bring a clip to :data:`LOUDNESS`, by one gain over its whole length; silence stays silence."""
    if clip.rms == 0:
        return clip
    gain = min(TARGET_LOUDNESS_DB - clip.dBFS, -HEADROOM_DB - clip.max_dBFS, MAX_GAIN_DB)
    return clip.apply_gain(gain)


def _to_bytes(frame: AudioFrame) -> bytes:
    return bytes(frame.to_ndarray().tobytes())


def _to_frames(data: bytes, size: int = RATE) -> Iterator[AudioFrame]:
    pcm = np.frombuffer(data, dtype=np.int16)
    for at in range(0, len(pcm), size):
        frame = av.AudioFrame.from_ndarray(pcm[at : at + size].reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = RATE
        yield frame
