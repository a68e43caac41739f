"""An engine that checks cuts: words are numbers in bursts of tones, recognised with the exact sample they begin at.

A word is six tones of 40 ms, each of one of eight pitches: five octal digits and a check digit. Every burst appears in
the transcript: a complete one as ``w`` and its number, a cut or damaged one as :data:`TORN`. So a recording of numbered
words shows which of them a cut, a codec or the merging has lost, doubled or moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from mediamill.tasks.errors import BadInput
from mediamill.tasks.local.asr_engines.base import AsrRequest, Audio, Segment, Transcript, Word
from mediamill.tasks.local.asr_engines.worker_pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mediamill.tasks.local.asr_engines.audio_input import Samples

TORN = "torn"
WORDS = 8**5
"""How many different words there are."""

_RATE = 16_000
_TONE_SAMPLES = 640
_DIGITS = 6
_WORD_SAMPLES = _TONE_SAMPLES * _DIGITS
_PITCHES = (600, 900, 1200, 1500, 1800, 2100, 2400, 2700)
_LEVEL = 12_000
_LOUDNESS = 2_500
_MIN_SILENCE_SAMPLES = 800
"""Samples below :data:`_LOUDNESS` that end a burst: 50 ms."""
_MIN_PAUSE_SECONDS = 0.6


class ToneWordsEngine:
    """Recognises numbered words in tone bursts; knows no language."""

    simulated = True
    languages = None
    targets = None
    speakers = True

    identity = "tone-words-1"

    def __init__(self, workers: int, max_seconds: float | None) -> None:
        self._max_seconds = max_seconds
        self._pool = WorkerPool(workers)

    async def transcribe(self, audio: Audio, request: AsrRequest) -> Transcript:
        """Recognise the words."""
        return await self._pool.run(recognise_words, audio, self._max_seconds, request.to or request.language or "en")

    def close(self) -> None:
        """End the workers."""
        self._pool.close()


def burst(number: int) -> Samples:
    """The audio of a word: 3,840 samples at 16 kHz, loud from the first one on.

    Args:
        number: from 0 to :data:`WORDS` - 1.
    """
    import numpy as np

    at = np.arange(_TONE_SAMPLES) / _RATE
    tones = [np.cos(2 * np.pi * _PITCHES[digit] * at) for digit in _to_digits(number)]
    return (np.concatenate(tones) * _LEVEL).astype(np.int16)


def recognise_words(audio: Audio, max_seconds: float | None, language: str) -> Transcript:
    """Decode and read a recording; runs in a worker.

    Raises:
        BadInput: when it cannot be decoded.
    """
    from mediamill.tasks.local.asr_engines.audio_input import decode_samples, open_audio
    from mediamill.tasks.media.audio_info import to_seconds

    with open_audio(audio) as recording:
        words = tuple(find_words(decode_samples(recording, max_seconds)))
        if not recording.length:
            raise BadInput("no audio can be decoded from it", kind="undecodable")
        seconds: Decimal = to_seconds(recording.length)
    segments = tuple(_group_segments(words))
    return Transcript(" ".join(w.word for w in words), language, seconds, segments, words)


def find_words(blocks: Iterable[Samples]) -> Iterator[Word]:
    """The words in a stream of 16 kHz mono audio; times are exact to the sample."""
    for start, samples in _find_bursts(blocks):
        yield Word(_decode_word(samples), start / _RATE, (start + len(samples)) / _RATE)


def _find_bursts(blocks: Iterable[Samples]) -> Iterator[tuple[int, Samples]]:
    """Stretches of audio between silences, with their first sample's position."""
    import numpy as np

    held, origin = np.zeros(0, np.int16), 0
    for block in blocks:
        held = np.concatenate([held, block])
        if len(held) < 10 * _RATE:
            continue
        upto = 0
        for first, last in _find_loud_stretches(held):
            if last + _MIN_SILENCE_SAMPLES > len(held):
                upto = first
                break
            yield origin + first, held[first:last]
            upto = last
        else:
            upto = max(upto, len(held) - _MIN_SILENCE_SAMPLES)
        held, origin = held[upto:], origin + upto
    for first, last in _find_loud_stretches(held):
        yield origin + first, held[first:last]


def _find_loud_stretches(samples: Samples) -> list[tuple[int, int]]:
    import numpy as np

    at = np.flatnonzero(np.abs(samples.astype(np.int32)) >= _LOUDNESS)
    if not len(at):
        return []
    gaps = np.flatnonzero(np.diff(at) > _MIN_SILENCE_SAMPLES)
    firsts, lasts = at[np.concatenate([[0], gaps + 1])], at[np.concatenate([gaps, [len(at) - 1]])]
    return [(int(first), int(last) + 1) for first, last in zip(firsts, lasts, strict=True)]


def _decode_word(samples: Samples) -> str:
    """``w`` and the number, or :data:`TORN`."""
    import numpy as np

    if abs(len(samples) - _WORD_SAMPLES) > _TONE_SAMPLES // 4:
        return TORN
    digits = []
    at = np.arange(_TONE_SAMPLES // 2) / _RATE
    waves = np.exp(-2j * np.pi * np.outer(_PITCHES, at))
    for n in range(_DIGITS):
        begin = n * _TONE_SAMPLES + _TONE_SAMPLES // 4
        energies = np.abs(waves @ samples[begin : begin + _TONE_SAMPLES // 2].astype(np.float64))
        digits.append(int(energies.argmax()))
    number = sum(digit * 8**n for n, digit in enumerate(digits[:-1]))
    return f"w{number}" if _to_digits(number) == digits else TORN


def _to_digits(number: int) -> list[int]:
    octal = [number // 8**n % 8 for n in range(_DIGITS - 1)]
    return [*octal, (sum(weight * digit for weight, digit in zip((1, 3, 5, 7, 1), octal, strict=True)) + 3) % 8]


def _group_segments(words: tuple[Word, ...]) -> Iterator[Segment]:
    """Segments: words without a pause between them."""
    start = 0
    for n in range(1, len(words) + 1):
        if n == len(words) or words[n].start - words[n - 1].end >= _MIN_PAUSE_SECONDS:
            run = words[start:n]
            yield Segment(run[0].start, run[-1].end, " ".join(w.word for w in run))
            start = n
