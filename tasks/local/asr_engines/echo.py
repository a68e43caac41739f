"""The engine of rehearsals: an instant text made from the recording's bytes and length, not from what is said."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from mediamill.tasks.errors import BadInput
from mediamill.tasks.local.asr_engines.audio_input import measure_seconds, read_wav_seconds
from mediamill.tasks.local.asr_engines.base import AsrRequest, Audio, Segment, Transcript, Word
from mediamill.tasks.local.asr_engines.worker_pool import WorkerPool

_WORDS = [
    onset + ending
    for onset in ("b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z")
    for ending in [
        "ala",
        "ane",
        "aro",
        "avi",
        "ela",
        "eno",
        "eri",
        "esa",
        "ila",
        "ino",
        "ira",
        "ise",
        "ola",
        "one",
        "oru",
        "uma",
    ]
]
_WORDS_PER_SECOND = Decimal("2.5")
_MIN_WORDS = 4
_LONG_SECONDS = 1800
_SEGMENT_WORDS = 12


class EchoEngine:
    """Invented words, 2.5 per second, the same for the same bytes."""

    simulated = True
    languages = None
    targets = None
    speakers = True

    def __init__(self, identity: str, workers: int, max_seconds: float | None) -> None:
        self.identity = identity
        self._workers = workers
        self._max_seconds = max_seconds
        self._pool: WorkerPool | None = None

    async def transcribe(self, audio: Audio, request: AsrRequest) -> Transcript:
        """Answer plain WAV at once; decode other audio in a worker to measure its length."""
        seconds = read_wav_seconds(audio)
        if not seconds:
            self._pool = self._pool or WorkerPool(self._workers)
            seconds = await self._pool.run(measure_seconds, audio, self._max_seconds)
        if self._max_seconds is not None and seconds > self._max_seconds:
            raise BadInput(f"it is longer than {self._max_seconds:g} s", kind="too_long")
        arguments = audio.sha256, seconds, request.to or request.language or "en"
        if seconds > _LONG_SECONDS:
            return await asyncio.to_thread(simulate_transcript, *arguments)
        return simulate_transcript(*arguments)

    def close(self) -> None:
        """End the workers, if there are any."""
        if self._pool is not None:
            self._pool.close()


def simulate_transcript(sha256: str, seconds: Decimal, language: str) -> Transcript:
    """The transcript of a recording, from its SHA-256 (hex) and its length.

    It has at least four words out of 256, 2.5 per second, evenly spread, and a segment for every twelve.
    """
    digest = bytes.fromhex(sha256)
    count = max(_MIN_WORDS, int(seconds * _WORDS_PER_SECOND))
    step = float(seconds) / count
    texts = [_WORDS[digest[n % 32] ^ (n // 32 * 29 & 0xFF)] for n in range(count)]
    times = [round(n * step, 3) for n in range(count)] + [float(seconds)]
    words = tuple(Word(word, times[n], times[n + 1]) for n, word in enumerate(texts))
    segments = tuple(
        Segment(words[n].start, words[min(n + _SEGMENT_WORDS, count) - 1].end, " ".join(texts[n : n + _SEGMENT_WORDS]))
        for n in range(0, count, _SEGMENT_WORDS)
    )
    return Transcript(" ".join(texts), language, seconds, segments, words)
