"""Has the runs of one user on this machine share a limit: every two seconds each shows its pace and reads the others'.

They are told apart by what a limit belongs to: the provider's address, model, operation and key. Where the folder
cannot be written nothing is shared, and each run finds its own part.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from pathlib import Path

import orjson

from mediamill.tasks.calls.call_log import log_sharing
from mediamill.tasks.calls.pace_sharing import SHARE_SECONDS, PaceSharing, RunPace
from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.system.live_files import LiveFile

_KEY_DIGITS = 4
"""Digits of a hash that depend on the key: too few to find it by, because one of 65,536 keys has the same."""


def get_pace_folder() -> Path:
    """Where paces are shown: ``paces`` in ``$XDG_STATE_HOME/mediamill``, or ``~/.local/state/mediamill``.

    Raises:
        RuntimeError: when this user has no home.
    """
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "mediamill" / "paces"


def name_limit(origin: str, model: str, operation: str, key: str | None) -> str:
    """A name that is the same for all requests under one limit, and that tells nobody the key."""
    public = f"{origin} {model} {operation}"
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in (public, f"{public} {key or ''}")]
    return f"{hashes[0][:16]}-{hashes[1][:_KEY_DIGITS]}"


class PaceExchange:
    """Shares the limit of one limiter while runs of this process use it. Used on the limiter's event loop.

    Args:
        limiter: of which the pace is shared.
        limit: from :func:`name_limit`.
    """

    def __init__(self, limiter: Limiter, limit: str) -> None:
        self._limiter, self._limit = limiter, limit
        self._users = 0
        self._file: LiveFile | None = None
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Count a run that uses the limiter; the first one begins to share, before it sends anything."""
        self._users += 1
        if self._users > 1:
            return
        sharing = PaceSharing(self._limiter)
        try:
            self._file = await asyncio.to_thread(self._open)
            own = sharing.join(_parse(await asyncio.to_thread(self._file.read_others)))
            await asyncio.to_thread(self._show, own)
        except (OSError, RuntimeError):
            self._give_up()
        else:
            self._task = asyncio.create_task(self._exchange_regularly(sharing))

    async def end(self) -> None:
        """Count a run that ended; after the last one others take what it leaves."""
        self._users -= 1
        if self._users:
            return
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._close()

    async def _exchange_regularly(self, sharing: PaceSharing) -> None:
        loop, count = asyncio.get_running_loop(), 0
        exchanged_at = loop.time()
        while self._file is not None:
            await asyncio.sleep(SHARE_SECONDS)
            try:
                others = _parse(await asyncio.to_thread(self._file.read_others))
                now = loop.time()
                own = sharing.exchange(others, now - exchanged_at)
                exchanged_at = now
                await asyncio.to_thread(self._show, own)
            except (OSError, RuntimeError):  # no file or no thread: never a reason to end a run
                self._give_up()
                return
            if len(others) != count:
                count = len(others)
                log_sharing(self._limiter.name, count)

    def _open(self) -> LiveFile:
        return LiveFile(get_pace_folder(), self._limit)

    def _show(self, own: RunPace) -> None:
        assert self._file is not None
        self._file.show(orjson.dumps(own.to_json()).decode())

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _give_up(self) -> None:
        self._close()
        self._limiter.share_pace(None, 1.0, 0.0)


def _parse(texts: dict[str, str]) -> dict[str, RunPace]:
    """What others show, without what is no such thing, as of another version."""
    paces = {}
    for name, text in texts.items():
        with contextlib.suppress(ValueError):
            if (pace := RunPace.from_json(orjson.loads(text))) is not None:
                paces[name] = pace
    return paces
