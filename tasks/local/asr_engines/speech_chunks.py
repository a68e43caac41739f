"""Speech, found by Silero's model (MIT, in faster-whisper's wheel), in chunks of at most 30 s, as Whisper takes it.

Whisper invents text in long silence and noise, and needs memory for a recording as a whole: each chunk goes to it by
itself, from its first sound of speech to its last. WhisperX does the same (Bain et al. 2023, arXiv:2303.00747).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from mediamill.tasks.local.asr_engines.pocketsphinx import find_quietest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mediamill.tasks.local.asr_engines.audio_input import Samples

    FloatSamples: TypeAlias = npt.NDArray[np.float32]

RATE = 16_000
WINDOW_SAMPLES = 30 * RATE
_MIN_CUT_SAMPLES = 12 * RATE
"""A window is cut after at least so much, so that chunks do not become short."""
_PADDING_SAMPLES = RATE * 3 // 10
"""What stays on each side of the speech."""
_MIN_PAUSE_MILLISECONDS = 200
_THRESHOLD = 0.35
"""Speech probability from which a chunk begins: lower than Silero's 0.5, because a lost word is worse than noise."""
_PEAK, _MAX_GAIN = 0.5, 100.0
"""Quiet recordings are amplified for Silero, which finds no speech 40 dB below the usual level; Whisper does."""

Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Part of a recording: the position of its first sample, its samples, and where in them there is speech."""

    position: int
    samples: Samples
    speech: tuple[Span, ...]


def split_speech(blocks: Iterable[Samples]) -> Iterator[Chunk]:
    """Yield the chunks that hold speech.

    Args:
        blocks: the recording, 16 kHz mono; not more than a window of it is held.
    """
    import numpy as np

    buffered: list[Samples] = []
    size = position = 0
    for block in blocks:
        buffered.append(block)
        size += len(block)
        while size >= WINDOW_SAMPLES:
            joined = np.concatenate(buffered)
            window = joined[:WINDOW_SAMPLES]
            spans = _find_speech(window)
            cut = _choose_cut(window, spans)
            yield from _take(window[:cut], spans, position)
            buffered, size, position = [joined[cut:]], size - cut, position + cut
    if size:
        rest = np.concatenate(buffered)
        yield from _take(rest, _find_speech(rest), position)


def _find_speech(samples: Samples) -> list[Span]:
    """Where there is speech, as first and last sample; pauses shorter than 0.2 s belong to it."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(threshold=_THRESHOLD, min_silence_duration_ms=_MIN_PAUSE_MILLISECONDS, speech_pad_ms=0)
    floats = to_float(samples)
    amplified = floats * min(_MAX_GAIN, _PEAK / max(float(abs(floats).max()), 1e-9))
    return [(int(span["start"]), int(span["end"])) for span in get_speech_timestamps(amplified, options)]


def _choose_cut(window: Samples, spans: list[Span]) -> int:
    """Where a full window ends: in its longest late pause; without a pause at its quietest moment."""
    starts = [start for start, _ in spans[1:]] + [len(window)]
    pauses = [(end, start) for (_, end), start in zip(spans, starts, strict=False) if start > end >= _MIN_CUT_SAMPLES]
    if not spans:
        return len(window)
    if not pauses:
        return find_quietest(window, _MIN_CUT_SAMPLES)
    end, start = max(pauses, key=lambda pause: pause[1] - pause[0])
    return (end + start) // 2


def _take(samples: Samples, spans: list[Span], position: int) -> Iterator[Chunk]:
    inside = [(start, min(end, len(samples))) for start, end in spans if start < len(samples)]
    if inside:
        first = max(0, inside[0][0] - _PADDING_SAMPLES)
        last = min(len(samples), inside[-1][1] + _PADDING_SAMPLES)
        speech = tuple((start - first, end - first) for start, end in inside)
        yield Chunk(position + first, samples[first:last], speech)


def to_float(samples: Samples) -> FloatSamples:
    """Samples from -1 to 1."""
    import numpy as np

    return samples.astype(np.float32) / np.float32(32768)
