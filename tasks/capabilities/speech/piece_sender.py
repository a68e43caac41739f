"""A long recording's pieces: cut in a thread, recorded in the journal, and sent in parallel while others are cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from mediamill.tasks.capabilities.base import CapabilityContext
from mediamill.tasks.capabilities.speech.piece_transcript import SAMPLE_RATE
from mediamill.tasks.domain import Answer
from mediamill.tasks.errors import ItemError
from mediamill.tasks.media.endpoint_fit import CutPoints

if TYPE_CHECKING:
    from mediamill.tasks.media.audio_info import PreparedAudio
    from mediamill.tasks.media.segmenter import Segmenter

SendPiece = Callable[["PreparedAudio"], Awaitable[Answer]]

_BYTES_PER_SECOND = 32_320


class CuttingAbandoned(Exception):
    """The cutting thread should end: nobody waits for its pieces any more."""


class PieceSender:
    """Sends one recording's pieces.

    Args:
        context: threads, memory, and the journal's cut points.
        send: the paid call for one piece.
        sha256: of the recording.
        cut_semaphore: how many recordings may be cut at the same time; each holds some seconds of audio in memory.
    """

    def __init__(
        self, context: CapabilityContext, send: SendPiece, sha256: str, cut_semaphore: asyncio.Semaphore
    ) -> None:
        self._context, self._send, self._sha256, self._cut_semaphore = context, send, sha256, cut_semaphore
        self._abandoned = False
        self._requests: list[asyncio.Task[Answer]] = []
        self._clips: list[PreparedAudio] = []

    @property
    def clips(self) -> list[PreparedAudio]:
        """The pieces that were cut so far, without their audio."""
        return self._clips

    def raise_if_ended(self) -> None:
        """For the thread that cuts: raise once it should end."""
        if self._abandoned:
            raise CuttingAbandoned
        self._context.raise_if_stopped()

    async def send_all(self, segmenter: Segmenter) -> tuple[list[PreparedAudio], list[Answer]]:
        """Cut and send the whole recording.

        The first piece that fails for good ends the cutting. Requests in flight are waited for, so that their answers
        are recorded and never paid for again, whatever happens to the item.

        Returns:
            Every piece, without its audio, and its answer, in order.

        Raises:
            ItemError: naming the piece.
            RunStopped: when the run must end.
        """
        try:
            async with self._cut_semaphore, self._open_segmenter(segmenter):
                while not self._has_failed() and (clip := await self._cut_next_piece(segmenter)) is not None:
                    await self._start_sending(clip)
        except asyncio.CancelledError:
            self._cancel_requests()
            raise
        finally:
            await self._wait_for_requests()
        self._raise_failure()
        return self._clips, [task.result() for task in self._requests]

    @asynccontextmanager
    async def _open_segmenter(self, segmenter: Segmenter) -> AsyncIterator[None]:
        try:
            await self._context.run_in_thread(segmenter.scan)
        except BaseException:
            self._abandoned = True
            raise
        segmenter.known_cuts = await self._context.load_cut_points(self._sha256, segmenter.recipe)
        try:
            yield
        finally:
            self._abandoned = True
            await asyncio.shield(self._context.run_in_thread(segmenter.close))

    async def _cut_next_piece(self, segmenter: Segmenter) -> PreparedAudio | None:
        """Cut the next piece and record its cut point in the journal."""
        async with self._context.reserve_memory(int(segmenter.piece_seconds * _BYTES_PER_SECOND)):
            cutting = asyncio.ensure_future(self._context.run_in_thread(segmenter.take_piece))
            try:
                clip = await asyncio.shield(cutting)
            except asyncio.CancelledError:
                self._abandoned = True
                await asyncio.wait({cutting})
                if cutting.exception() is None:
                    _delete_piece_file(cutting.result())
                raise
        try:
            if clip is not None and _has_new_cuts(segmenter.cuts, segmenter.known_cuts):
                await self._context.save_cut_points(self._sha256, segmenter.recipe, segmenter.cuts)
        except BaseException:
            _delete_piece_file(clip)
            raise
        return clip

    async def _start_sending(self, clip: PreparedAudio) -> None:
        """Begin to send a piece once there is memory for it."""
        started = asyncio.Event()
        self._requests.append(asyncio.get_running_loop().create_task(self._send_piece(clip, started)))
        self._clips.append(replace(clip, input=replace(clip.input, payload=None)))
        await started.wait()

    async def _send_piece(self, clip: PreparedAudio, started: asyncio.Event) -> Answer:
        payload = clip.input.payload
        assert payload is not None
        try:
            async with self._context.reserve_memory(payload.size):
                started.set()
                return await self._send(clip)
        finally:
            started.set()
            _delete_piece_file(clip)

    async def _wait_for_requests(self) -> None:
        """Wait for the requests in flight. When cancelled, cancel them too: the call path ends each in its way."""
        try:
            await asyncio.gather(*(asyncio.shield(task) for task in self._requests), return_exceptions=True)
        except asyncio.CancelledError:
            self._cancel_requests()
            await asyncio.gather(*self._requests, return_exceptions=True)
            raise

    def _cancel_requests(self) -> None:
        for task in self._requests:
            task.cancel()

    def _has_failed(self) -> bool:
        return any(task.done() and (task.cancelled() or task.exception()) for task in self._requests)

    def _raise_failure(self) -> None:
        """Raise why pieces failed: an error that ends the run first, otherwise the first failed piece's error."""
        failures = [(n, task.exception()) for n, task in enumerate(self._requests) if task.exception() is not None]
        for _, error in failures:
            if error is not None and not isinstance(error, ItemError):
                raise error
        for n, error in failures:
            if isinstance(error, ItemError):
                sent = self._clips[n].input
                error.message = f"piece {n + 1}, from {format_position(sent.start / SAMPLE_RATE)} on: {error.message}"
                raise error


def _has_new_cuts(cuts: CutPoints, known: CutPoints) -> bool:
    return cuts.points != known.points[: len(cuts.points)] or (cuts.length is not None and known.length is None)


def format_position(seconds: float) -> str:
    """A position as a media player shows it: ``0:07``, ``1:02:03``."""
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"


def _delete_piece_file(clip: PreparedAudio | None) -> None:
    """Delete the file of a piece, if it has one."""
    payload = clip.input.payload if clip is not None else None
    if payload is not None and payload.path is not None:
        payload.path.unlink(missing_ok=True)
