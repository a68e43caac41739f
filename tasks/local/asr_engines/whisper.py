"""The whisper engine (faster-whisper): the best local one, for a hundred languages."""

from __future__ import annotations

import os

from mediamill.tasks.local.asr_engines.base import Audio, Transcript
from mediamill.tasks.local.asr_engines.whisper_worker import WhisperRequest, recognise_with_whisper
from mediamill.tasks.local.asr_engines.worker_pool import WorkerPool
from mediamill.tasks.system.whisper_weights import find_weights, name_whisper_engine

_MAX_WORKERS = 4
"""Each holds the weights: base takes 450 MB. No more recordings are sent at once."""


class WhisperEngine:
    """Recognises every language that its weights know; each worker loads them at its first recording."""

    simulated = False
    languages = None
    targets = frozenset({"en"})
    speakers = False

    def __init__(self, model: str, workers: int, max_seconds: float | None) -> None:
        """Find the weights.

        Args:
            model: ``whisper``, or ``whisper:`` with a folder, or a name of the hub.
            workers: processes it may use.
            max_seconds: longest recording it decodes.

        Raises:
            UsageError: when the extra is not installed, or the weights are not there.
        """
        self._folder = str(find_weights(model).folder)
        self.identity = name_whisper_engine(model)
        self._max_seconds = max_seconds
        used = max(1, min(workers, _MAX_WORKERS))
        self._threads = max(1, count_cores() // used)
        self._pool = WorkerPool(used)

    async def transcribe(
        self,
        audio: Audio,
        language: str | None,
        to: str | None = None,
        *,
        prompt: str | None = None,
        temperature: float | None = None,
    ) -> Transcript:
        """Transcribe a recording; without a language Whisper detects it. It translates to English only."""
        request = WhisperRequest(language, to is not None, prompt, temperature)
        return await self._pool.run(
            recognise_with_whisper, audio, self._max_seconds, self._folder, self._threads, request
        )

    def close(self) -> None:
        """End the workers."""
        self._pool.close()


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
