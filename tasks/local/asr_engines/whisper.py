"""The faster-whisper engine, the best local one: an extra, because its weights are downloaded when first used."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.local.asr_engines.base import Audio, Segment, Transcript, Word
from mediamill.tasks.local.asr_engines.worker_pool import WorkerPool


class WhisperEngine:
    """Recognises any language Whisper knows; each worker loads the weights at its first recording."""

    simulated = False
    languages = None
    targets = frozenset({"en"})
    speakers = False

    def __init__(self, identity: str, workers: int, max_seconds: float | None, weights: str) -> None:
        """Check that the extra is installed.

        Raises:
            UsageError: when it is not, naming the extra.
        """
        if find_spec("faster_whisper") is None:
            raise UsageError(
                "the whisper engine needs the package faster-whisper",
                hint="install the extra: uv sync --extra whisper, or pip install 'mediamill[whisper]'",
            )
        self.identity = identity
        self._max_seconds = max_seconds
        self._weights = weights
        self._pool = WorkerPool(workers)

    async def transcribe(self, audio: Audio, language: str | None, to: str | None = None) -> Transcript:
        """Transcribe a recording; without a language Whisper detects it. It translates to English only."""
        return await self._pool.run(recognise_with_whisper, audio, self._max_seconds, self._weights, language, to)

    def close(self) -> None:
        """End the workers."""
        self._pool.close()


@cache
def _load_model(weights: str) -> Any:
    from faster_whisper import WhisperModel

    return WhisperModel(weights, device="auto", compute_type="int8")


def recognise_with_whisper(
    audio: Audio, max_seconds: float | None, weights: str, language: str | None, to: str | None = None
) -> Transcript:
    """Decode and recognise a recording; runs in a worker.

    The audio is decoded here and not by faster-whisper, which would open playlists.

    Raises:
        BadInput: when it cannot be decoded.
    """
    import numpy as np

    from mediamill.tasks.local.asr_engines.audio_input import decode_samples, open_audio
    from mediamill.tasks.media.audio_info import to_seconds

    with open_audio(audio) as recording:
        blocks = list(decode_samples(recording, max_seconds))
        seconds = to_seconds(recording.length)
    if not seconds:
        raise BadInput("no audio can be decoded from it", kind="undecodable")
    samples = np.concatenate(blocks).astype(np.float32) / 32768
    generated, info = _load_model(weights).transcribe(
        samples, language=language, task="translate" if to else "transcribe", word_timestamps=True
    )
    parts = list(generated)
    segments = tuple(Segment(s.start, s.end, s.text.strip()) for s in parts)
    words = tuple(Word(w.word.strip(), w.start, w.end) for s in parts for w in s.words or ())
    return Transcript(" ".join(s.text for s in segments), to or info.language, seconds, segments, words)
