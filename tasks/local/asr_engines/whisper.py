"""The whisper engine (faster-whisper): the best local one, for a hundred languages.

A recording's chunks are heard by all workers at once, so that one long recording uses every core.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeVar

from mediamill.tasks.local.asr_engines.base import AsrRequest, Audio, Transcript
from mediamill.tasks.local.asr_engines.missed_speech import RehearingBudget
from mediamill.tasks.local.asr_engines.speech_chunks import Span
from mediamill.tasks.local.asr_engines.whisper_worker import (
    ChunkHearing,
    HeardSegment,
    StoredChunk,
    WhisperTask,
    begin_recording,
    hear_chunk,
    hear_stretch,
)
from mediamill.tasks.local.asr_engines.worker_pool import WorkerDied, WorkerPool
from mediamill.tasks.system.whisper_weights import find_weights, name_whisper_engine

T = TypeVar("T")

_MAX_WORKERS = 4
"""Each holds the weights: base takes 450 MB. No more recordings are sent at once."""


class WhisperEngine:
    """Recognises every language that its weights know; each worker loads them at its first chunk."""

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
        self._workers = max(1, min(workers, _MAX_WORKERS))
        self._threads = max(1, count_cores() // self._workers)
        self._pool = WorkerPool(self._workers)

    async def transcribe(self, audio: Audio, request: AsrRequest) -> Transcript:
        """Transcribe a recording; without a language Whisper detects it. It translates to English only.

        A transcript's language is the one that is surely spoken at the start, also where another was requested.
        """
        with tempfile.NamedTemporaryFile(prefix="mediamill-speech-") as file:
            task = WhisperTask(self._folder, self._threads, file.name, request)
            start = await self._pool.run(begin_recording, audio, self._max_seconds, task)
            if start.first is None:
                language, segments = request.language or "", list[HeardSegment]()
            else:
                language = start.other_language or start.first.language
                segments = await self._hear_rest(task, start.chunks, start.first)
        text = " ".join(heard.segment.text for heard in segments)
        return Transcript(
            text,
            language if request.to is None else "en",
            start.seconds,
            tuple(heard.segment for heard in segments),
            tuple(word for heard in segments for word in heard.words),
        )

    def close(self) -> None:
        """End the workers."""
        self._pool.close()

    async def _hear_rest(
        self, task: WhisperTask, chunks: Sequence[StoredChunk], first: ChunkHearing
    ) -> list[HeardSegment]:
        """The segments of all chunks in order, with those of stretches that were passed over at first."""
        semaphore = asyncio.Semaphore(self._workers)  # other recordings' chunks come in between
        language = first.language
        hearings = [first, *await self._gather(semaphore, hear_chunk, [(task, c, language) for c in chunks[1:]])]
        stretches = _choose_stretches(hearings)
        calls = [(task, chunks[number], span, language) for number, span in stretches]
        found = [list(hearing.segments) for hearing in hearings]
        heard_again = await self._gather(semaphore, hear_stretch, calls)
        for (number, _), segments in zip(stretches, heard_again, strict=True):
            found[number] += segments
        return list(chain.from_iterable(sorted(part, key=lambda heard: heard.segment.start) for part in found))

    async def _gather(
        self, semaphore: asyncio.Semaphore, hear: Callable[..., T], calls: Sequence[tuple[object, ...]]
    ) -> list[T]:
        """What ``hear`` returns for each call, in order; one whose worker died is made once more.

        Raises:
            WorkerDied: when both did.
        """

        async def run(arguments: tuple[object, ...]) -> T:
            async with semaphore:
                try:
                    return await self._pool.run(hear, *arguments)
                except WorkerDied:
                    return await self._pool.run(hear, *arguments)

        tasks = [asyncio.ensure_future(run(arguments)) for arguments in calls]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for each in tasks:
                each.cancel()


def _choose_stretches(hearings: Sequence[ChunkHearing]) -> list[tuple[int, Span]]:
    """The stretches that are worth another hearing, with the number of their chunk."""
    budget, chosen = RehearingBudget(), list[tuple[int, Span]]()
    for number, hearing in enumerate(hearings):
        budget.add_chunk()
        for span in hearing.missed:
            if not budget.take():
                break
            chosen.append((number, span))
    return chosen


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
