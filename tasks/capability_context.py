"""The workbench: what a capability may use besides its paid calls."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from mediamill.tasks.calls.download import Download
from mediamill.tasks.capabilities.base import Media
from mediamill.tasks.domain import Ask, Item
from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import BadInput
from mediamill.tasks.job import Job
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.media.endpoint_fit import CutPoints
from mediamill.tasks.sources.columns import text_column
from mediamill.tasks.wire import Provider

P = ParamSpec("P")
T = TypeVar("T")
Collect = Callable[[Ask, Mapping[str, Any], Path], Awaitable[Download]]

_REMEMBER = 16 * 2**20
"""Bytes from which looking a file's hash up is cheaper than hashing it again."""
_INLINE = 256 * 1024
"""Bytes up to which reading and hashing costs less than the way to another thread."""
_TEXT_MOST = 10_000_000
_DOWNLOAD_MOST = 4 * 2**30
_DOWNLOAD_SECONDS = 1800.0


class Bytes:
    """A bound on bytes held at once. A request larger than the bound waits until it is alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._waiters: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Hold ``size`` bytes for as long as the block runs."""
        size = min(size, self._most)
        while self._held + size > self._most:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        self._held += size
        try:
            yield
        finally:
            self._held -= size
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)


class Workbench:
    """Implements :class:`mediamill.tasks.capabilities.base.Kit` on the engine."""

    def __init__(
        self,
        job: Job,
        engine: Engine,
        journal: Journal | None,
        provider: Provider,
        model: str,
        scratch: Path,
        check: Callable[[], None] = lambda: None,
        collect: Collect | None = None,
    ) -> None:
        self.provider = provider
        self.model = model
        self.scratch = scratch
        self.out = Path(job.out_path).expanduser().absolute()
        self.refresh = job.refresh
        self._text = job.columns.text
        self._engine = engine
        self._journal = journal
        self._allow = tuple(job.allow_hosts)
        self._version = job.columns.version or "version"
        self._bytes = Bytes(job.memory)
        self._check = check
        self._collect = collect
        self._beside = Path(job.source).expanduser().absolute().parent if "://" not in job.source else None
        self._remembering = asyncio.Lock()
        self._remembered: dict[Any, Any] = {}

    def check(self) -> None:
        """Raise Stop once the run is to end."""
        self._check()

    async def known_cuts(self, sha256: str, recipe: str) -> CutPoints:
        """Where a recording was cut before by the same recipe."""
        return CutPoints(*await self._journal.cut_points.load(sha256, recipe)) if self._journal else CutPoints()

    async def keep_cuts(self, sha256: str, recipe: str, cuts: CutPoints) -> None:
        """Remember where a recording is cut."""
        if self._journal is not None:
            await self._journal.cut_points.store(sha256, recipe, cuts.points, cuts.length)

    async def thread(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work off the event loop."""
        return await self._engine.thread(fn, *args, **kwargs)

    async def text(self, item: Item) -> str:
        """The item's text: from its row, or from its file or URL in UTF-8.

        Raises:
            BadInput: when it has none, or it cannot be read.
        """
        if item.location is None:
            value = item.row.get(text_column(item.row, self._text) or "")
            return "" if value is None else str(value)
        async with self.fetch(item) as media:
            if media.size > _TEXT_MOST:
                raise BadInput(f"{item.source}: more than {_TEXT_MOST // 10**6} MB of text", kind="too_long")
            data = media.data if media.data is not None else await self.thread(media.path.read_bytes)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise BadInput(f"{item.source}: is not text in UTF-8", kind="not_text", hint="save it as UTF-8") from None

    def version(self, item: Item) -> str:
        """What changes when a URL's content does, as the manifest tells it; empty when it does not."""
        return str(item.row.get(self._version) or "")

    async def remembered(self, make: Callable[[Iterable[bytes]], T]) -> T:
        """What ``make`` makes of the results that OUT has; made once a run."""
        async with self._remembering:
            if make not in self._remembered:
                results = self._journal.outcomes.stream_done_results() if self._journal is not None else iter(())
                self._remembered[make] = await self.thread(make, results)
            made: T = self._remembered[make]
            return made

    def place(self, given: str) -> str:
        """Where a file is that a row or the job names: beside the manifest, else in the working folder."""
        if given.startswith(("http://", "https://")):
            return given
        path = Path(given).expanduser()
        beside = self._beside / path if self._beside is not None else path
        return str(beside if beside.exists() else path.absolute())

    async def collect(self, ask: Ask, data: Mapping[str, Any], to: Path) -> Download:
        """The file that an answered job links to."""
        assert self._collect is not None
        return await self._collect(ask, data, to)

    def hold(self, size: int) -> AbstractAsyncContextManager[None]:
        """Wait until ``size`` more bytes may be held."""
        return self._bytes.hold(size)

    @asynccontextmanager
    async def fetch(self, item: Item) -> AsyncIterator[Media]:
        """The item's bytes on this machine for as long as the block runs, with their SHA-256.

        Raises:
            BadInput: when they cannot be read.
        """
        if item.location is None:
            raise BadInput(f"{item.source}: has no path or URL", kind="no_path")
        if not item.is_url:
            yield await self._local(item)
            return
        path = self.scratch / f"{uuid.uuid4().hex}.download"
        try:
            yield await self._download(item, path)
        finally:
            path.unlink(missing_ok=True)

    @asynccontextmanager
    async def download(self, url: str, most: int) -> AsyncIterator[Media]:
        """What a provider's reply links to, for as long as the block runs. A link to the provider itself is followed.

        Raises:
            BadInput: when it may not be fetched, is larger than ``most`` bytes, or is not there any more.
            CallFailed: when a later run may succeed.
        """
        path = self.scratch / f"{uuid.uuid4().hex}.download"
        own = urlsplit(self.provider.endpoint.origin).netloc
        allow = (*self._allow, own or "127.0.0.1") if own or self.provider.name == "local" else self._allow
        try:
            got = await self._engine.client.download(
                url, path, max_bytes=most, deadline=_DOWNLOAD_SECONDS, allow_hosts=allow
            )
            yield Media(path, got.sha256, got.size)
        finally:
            path.unlink(missing_ok=True)

    async def _local(self, item: Item) -> Media:
        try:
            return await self._hashed(Path(item.location or ""))
        except OSError as error:
            raise BadInput(f"{item.source}: cannot be read: {error.strerror or error}", kind="unreadable") from None

    async def _hashed(self, path: Path) -> Media:
        about, data = _read_small(path)
        if data is not None:
            return Media(path, hashlib.sha256(data).hexdigest(), len(data), data)
        if self._journal is None or about.st_size < _REMEMBER:
            return Media(path, await self.thread(_sha256, path), about.st_size)
        identity = (str(path), about.st_size, about.st_mtime_ns, about.st_ino)
        digest = await self._journal.file_hashes.find_hash(*identity)
        if digest is None:
            digest = await self.thread(_sha256, path)
            await self._journal.file_hashes.store_hash(*identity, digest)
        return Media(path, digest, about.st_size)

    async def _download(self, item: Item, to: Path) -> Media:
        got = await self._engine.client.download(
            item.location or "", to, max_bytes=_DOWNLOAD_MOST, deadline=_DOWNLOAD_SECONDS, allow_hosts=self._allow
        )
        return Media(to, got.sha256, got.size)


def _read_small(path: Path) -> tuple[os.stat_result, bytes | None]:
    """A file's state, and its bytes when they are few.

    Plain system calls: each call that a buffered reader adds hands the interpreter to another thread.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise BadInput(f"{path}: is not a file but a folder, pipe or device", kind="not_a_file")
        return about, os.read(descriptor, _INLINE + 1) if about.st_size <= _INLINE else None
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
