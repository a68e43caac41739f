"""What a capability may use besides its paid calls, on this process's engine."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import logging
import os
import stat
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from mediamill.tasks.calls.download import Download
from mediamill.tasks.calls.server_deaths import build_output_lost_error
from mediamill.tasks.calls.ssrf_guard import SsrfGuard
from mediamill.tasks.capabilities.base import Media
from mediamill.tasks.domain import Ask, Item, Preparation
from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import BadInput, CallFailed
from mediamill.tasks.job import Job
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.media.endpoint_fit import CutPoints
from mediamill.tasks.run.item_record import ItemRecord
from mediamill.tasks.run_log import RUN_LOGGER, write_record
from mediamill.tasks.sinks.atomic_file import hash_file
from mediamill.tasks.sources.columns import find_text_column, match_name
from mediamill.tasks.sources.extensions import get_extension
from mediamill.tasks.system.os_errors import build_unreadable_error
from mediamill.tasks.wire import Provider

P = ParamSpec("P")
T = TypeVar("T")
OutputFetch = Callable[[Ask, Mapping[str, Any], Path], Awaitable[Download]]

_MIN_HASH_CACHE_BYTES = 16 * 2**20
"""Size from which looking up a file's hash is cheaper than hashing the file again."""
_MAX_INLINE_BYTES = 256 * 1024
"""Size up to which reading and hashing costs less than the switch to another thread."""
_MAX_TEXT_BYTES = 10_000_000
_MAX_DOWNLOAD_BYTES = 4 * 2**30
_MAX_DOWNLOAD_SECONDS = 1800.0
_LENGTH_LIMIT_VALID_SECONDS = 30 * 86_400.0
"""A server may take longer recordings one day: then a limit is learned anew, from a refusal, which costs nothing."""


class ByteSemaphore:
    """A semaphore of bytes. A request for more than the maximum waits until nothing else is held."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = 0
        self._waiters: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def acquire(self, size: int) -> AsyncIterator[None]:
        """Hold ``size`` bytes for as long as the block runs."""
        size = min(size, self._max_bytes)
        while self._held + size > self._max_bytes:
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


class EngineCapabilityContext:
    """Implements :class:`mediamill.tasks.capabilities.base.CapabilityContext` on the engine."""

    def __init__(
        self,
        job: Job,
        engine: Engine,
        journal: Journal | None,
        provider: Provider,
        model: str,
        scratch: Path,
        raise_if_stopped: Callable[[], None] = lambda: None,
        fetch_output: OutputFetch | None = None,
    ) -> None:
        self.provider = provider
        self.model = model
        self.scratch = scratch
        self.out = Path(job.out_path).expanduser().absolute()
        self.refresh = job.no_cache
        self._text_column = job.columns.text
        self._engine = engine
        self._journal = journal
        self._allowed_hosts = tuple(job.allow_hosts)
        self._version_column = job.columns.version or "version"
        self._memory = ByteSemaphore(job.max_memory)
        self._raise_if_stopped = raise_if_stopped
        self._fetch_output = fetch_output
        self._source_folder = Path(job.source).expanduser().absolute().parent if "://" not in job.source else None
        self._records: dict[str, ItemRecord] = {}
        self._max_seconds: dict[str, float | None] = {}
        self._computing = asyncio.Lock()
        self._computed: dict[Any, Any] = {}

    def with_provider(
        self, provider: Provider, model: str, fetch_output: OutputFetch | None = None
    ) -> EngineCapabilityContext:
        """The same for another provider or model; memory, records of items and what was computed are shared."""
        other = copy.copy(self)
        other.provider, other.model = provider, model
        other._fetch_output = fetch_output  # noqa: SLF001 (its own class)
        return other

    @contextmanager
    def open_record(self, item: Item) -> Iterator[ItemRecord]:
        """Collect what is prepared and requested for an item for as long as the block runs."""
        record = self._records[item.item_id] = ItemRecord()
        try:
            yield record
        finally:
            del self._records[item.item_id]

    def record_preparation(self, item: Item, preparation: Preparation) -> None:
        """Keep how an input was prepared, with the item's outcome. A quote prepares, too, and keeps nothing."""
        if (record := self._records.get(item.item_id)) is not None:
            record.preparations.append(preparation)

    def raise_if_stopped(self) -> None:
        """Raise RunStopped once the run is to end."""
        self._raise_if_stopped()

    async def load_cut_points(self, sha256: str, recipe: str) -> CutPoints:
        """The points where a recording was cut before by the same recipe; none when it never was."""
        return CutPoints(*await self._journal.cut_points.load(sha256, recipe)) if self._journal else CutPoints()

    async def save_cut_points(self, sha256: str, recipe: str, cut_points: CutPoints) -> None:
        """Record the points where a recording is cut."""
        if self._journal is not None:
            await self._journal.cut_points.store(sha256, recipe, cut_points.points, cut_points.length)

    async def load_max_seconds(self, operation: str) -> float | None:
        """The longest recording that the model takes, as a refusal of the last month stated it; None when none did."""
        if self._journal is None:
            return None
        name = self._to_length_name(operation)
        if name not in self._max_seconds:
            learned = await self.run_in_thread(self._journal.learned_limits.load, name)
            is_valid = learned is not None and learned[1] < _LENGTH_LIMIT_VALID_SECONDS
            self._max_seconds.setdefault(name, float(learned[0]["max_seconds"]) if learned and is_valid else None)
        return self._max_seconds[name]

    async def save_max_seconds(self, operation: str, seconds: float) -> None:
        """Remember the longest recording that the model takes: the shortest that was stated."""
        name, known = self._to_length_name(operation), await self.load_max_seconds(operation)
        if known is not None and known <= seconds:
            return
        self._max_seconds[name] = seconds
        message = f"{self.provider.name} takes at most {seconds:g} s of audio at once with {self.model}: longer is cut"
        write_record(RUN_LOGGER, logging.WARNING, "length_learned", message, model=self.model, max_seconds=seconds)
        if self._journal is not None:
            await self._journal.learned_limits.store(name, {"max_seconds": seconds})

    def _to_length_name(self, operation: str) -> str:
        return f"{self.provider.name} {self.provider.endpoint.origin} {self.model} {operation} max_seconds"

    async def run_in_thread(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work off the event loop."""
        return await self._engine.run_in_thread(fn, *args, **kwargs)

    async def read_text(self, item: Item) -> str:
        """The item's text: from its row, or from its file or URL in UTF-8.

        Raises:
            BadInput: when it has none, or it cannot be read.
        """
        if item.location is None:
            value = item.row.get(find_text_column(item.row, self._text_column) or "")
            return "" if value is None else str(value)
        async with self.fetch(item) as media:
            if media.size > _MAX_TEXT_BYTES:
                raise BadInput(f"{item.source}: more than {_MAX_TEXT_BYTES // 10**6} MB of text", kind="too_long")
            data = media.data if media.data is not None else await self.run_in_thread(media.path.read_bytes)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise BadInput(f"{item.source}: is not text in UTF-8", kind="not_text", hint="save it as UTF-8") from None

    def check_url(self, url: str) -> None:
        """Check the text of a URL that a provider is to fetch, with the hosts that the job allows.

        Raises:
            BadInput: when it names an address that is not public.
        """
        SsrfGuard(self._allowed_hosts).check_url(url)

    def source_version(self, item: Item) -> str:
        """The value of the manifest's version column, which changes with a URL's content; empty without one."""
        return str(item.row.get(match_name(self._version_column, item.row)) or "")

    async def compute_from_results(self, compute: Callable[[Iterable[bytes]], T]) -> T:
        """The value that ``compute`` returns for the results that OUT has, as JSON rows; computed once a run."""
        async with self._computing:
            if compute not in self._computed:
                results = self._journal.outcomes.stream_done_results() if self._journal is not None else iter(())
                self._computed[compute] = await self.run_in_thread(compute, results)
            value: T = self._computed[compute]
            return value

    def resolve_path(self, name: str) -> str:
        """The path of a file that a row or the job names: beside the manifest, else in the working folder."""
        if name.startswith(("http://", "https://")):
            return name
        path = Path(name).expanduser()
        beside_source = self._source_folder / path if self._source_folder is not None else path
        return str(beside_source if beside_source.exists() else path.absolute())

    async def fetch_output(self, ask: Ask, data: Mapping[str, Any], destination: Path) -> Download:
        """Download the file that an ended job links to."""
        assert self._fetch_output is not None
        return await self._fetch_output(ask, data, destination)

    def reserve_memory(self, size: int) -> AbstractAsyncContextManager[None]:
        """Wait until ``size`` more bytes of memory may be held."""
        return self._memory.acquire(size)

    @asynccontextmanager
    async def fetch(self, item: Item) -> AsyncIterator[Media]:
        """The item's bytes on this machine for as long as the block runs, with their SHA-256.

        Raises:
            BadInput: when they cannot be read.
        """
        if item.location is None:
            raise BadInput(f"{item.source}: has no path or URL", kind="no_path")
        if not item.is_url:
            yield await self._read_local(item)
            return
        extension = get_extension(urlsplit(item.location).path)
        path = self.scratch / f"{uuid.uuid4().hex}{extension if extension[1:].isalnum() else '.download'}"
        try:
            yield await self._download_item(item, path)
        finally:
            path.unlink(missing_ok=True)

    @asynccontextmanager
    async def download(self, url: str, max_bytes: int) -> AsyncIterator[Media]:
        """The file that a provider's reply links to, for as long as the block runs; the provider's own host is allowed.

        Raises:
            BadInput: when it may not be fetched, is larger than ``max_bytes``, or is not there any more.
            CallFailed: when a later run may succeed.
            BadReply: ``output_lost`` when the built-in server that had it has ended.
        """
        path = self.scratch / f"{uuid.uuid4().hex}.download"
        provider_host = urlsplit(self.provider.endpoint.origin).netloc
        allowed_hosts = (
            (*self._allowed_hosts, provider_host or "127.0.0.1")
            if provider_host or self.provider.name == "local"
            else self._allowed_hosts
        )
        try:
            with self._engine.watch_local(url):
                download = await self._engine.client.download(
                    url, path, max_bytes=max_bytes, timeout_seconds=_MAX_DOWNLOAD_SECONDS, allow_hosts=allowed_hosts
                )
            yield Media(path, download.sha256, download.size)
        except CallFailed:
            if not self.provider.endpoint.origin and not self._engine.has_local(url):
                raise build_output_lost_error() from None
            raise
        finally:
            path.unlink(missing_ok=True)

    async def _read_local(self, item: Item) -> Media:
        try:
            return await self._hash_file(Path(item.location or ""))
        except OSError as error:
            raise build_unreadable_error(error, f"{item.source}: cannot be read: ") from None

    async def _hash_file(self, path: Path) -> Media:
        file_stat, data = _read_if_small(path)
        if data is not None:
            return Media(path, hashlib.sha256(data).hexdigest(), len(data), data)
        if self._journal is None or file_stat.st_size < _MIN_HASH_CACHE_BYTES:
            return Media(path, await self.run_in_thread(hash_file, path), file_stat.st_size)
        identity = (str(path), file_stat.st_size, file_stat.st_mtime_ns, file_stat.st_ino)
        digest = await self._journal.file_hashes.find_hash(*identity)
        if digest is None:
            digest = await self.run_in_thread(hash_file, path)
            await self._journal.file_hashes.store_hash(*identity, digest)
        return Media(path, digest, file_stat.st_size)

    async def _download_item(self, item: Item, destination: Path) -> Media:
        download = await self._engine.client.download(
            item.location or "",
            destination,
            max_bytes=_MAX_DOWNLOAD_BYTES,
            timeout_seconds=_MAX_DOWNLOAD_SECONDS,
            allow_hosts=self._allowed_hosts,
        )
        return Media(destination, download.sha256, download.size)


def _read_if_small(path: Path) -> tuple[os.stat_result, bytes | None]:
    """A file's status, and its bytes when it is small.

    Plain system calls: each call that a buffered reader adds lets another thread take the interpreter.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        file_stat = os.fstat(descriptor)
        if not stat.S_ISREG(file_stat.st_mode):
            raise BadInput(f"{path}: is not a file but a folder, pipe or device", kind="not_a_file")
        return file_stat, os.read(descriptor, _MAX_INLINE_BYTES + 1) if file_stat.st_size <= _MAX_INLINE_BYTES else None
    finally:
        os.close(descriptor)
