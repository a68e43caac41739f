"""What every capability defines: which items it takes, its parameters and columns, and how one item is done."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from mediamill.tasks.domain import Answer, Ask, Input, Item, Payload, Preparation, Usage
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.endpoint_fit import CutPoints
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa
    from pydantic import BaseModel

    from mediamill.tasks.calls.download import Download

P = ParamSpec("P")
T = TypeVar("T")

Call = Callable[[Ask], Awaitable[Answer]]
"""The only paid effect a capability has."""

FETCHED_BY_PROVIDER = "the provider fetches the URL itself; nothing was downloaded here"
"""What was prepared of an input that is passed on as a URL."""
BYTES_PER_TOKEN = 4
"""Bytes of usual text that make a token (estimate); a token is at least one byte, which bounds what it can cost."""


@dataclass(frozen=True, slots=True)
class Media:
    """An item's bytes on this machine: path, SHA-256, size, and the bytes themselves when they are few."""

    path: Path
    sha256: str
    size: int
    data: bytes | None = field(default=None, repr=False)


class CapabilityContext(Protocol):
    """What a capability may use besides ``call``: bytes, threads, bounded memory and a scratch folder."""

    provider: Provider
    model: str
    scratch: Path
    out: Path
    refresh: bool

    async def read_text(self, item: Item) -> str:
        """The item's text: from its row, or from its file or URL in UTF-8.

        Raises:
            BadInput: when it has none, or it cannot be read.
        """
        ...

    def fetch(self, item: Item) -> AbstractAsyncContextManager[Media]:
        """The item's bytes while the block runs: a file as it is, a URL through the SSRF guard.

        Raises:
            BadInput: when they cannot be read.
        """
        ...

    def download(self, url: str, max_bytes: int) -> AbstractAsyncContextManager[Media]:
        """What a provider's reply links to, while the block runs; fetched through the SSRF guard, without a key.

        Raises:
            BadInput: when it may not be fetched, is larger than ``max_bytes``, or no longer exists.
            CallFailed: when a later run may succeed.
        """
        ...

    def check_url(self, url: str) -> None:
        """Check the text of a URL that a provider is to fetch: a provider may stand in this network, too.

        Raises:
            BadInput: when it names an address that is not public, and ``allow_hosts`` does not.
        """
        ...

    def source_version(self, item: Item) -> str:
        """What changes when a URL's content changes, from the manifest; empty when the manifest has no such column."""
        ...

    def raise_if_stopped(self) -> None:
        """Raise RunStopped once the run should end. Long work calls it now and then, in any thread."""
        ...

    async def load_cut_points(self, sha256: str, recipe: str) -> CutPoints:
        """Where a recording was cut before by the same recipe; no points when it never was cut."""
        ...

    async def save_cut_points(self, sha256: str, recipe: str, cut_points: CutPoints) -> None:
        """Remember where a recording is cut. Durable when this returns, so a later run cuts at the same places."""
        ...

    async def load_max_seconds(self, operation: str) -> float | None:
        """The longest recording that the model takes, as an earlier refusal stated it; None when none did."""
        ...

    async def save_max_seconds(self, operation: str, seconds: float) -> None:
        """Remember the longest recording that the model takes, for this run and later ones."""
        ...

    async def run_in_thread(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking work off the event loop."""
        ...

    async def compute_from_results(self, compute: Callable[[Iterable[bytes]], T]) -> T:
        """What ``compute`` returns for OUT's results, given as JSON rows. It is computed once in a run."""
        ...

    def resolve_path(self, name: str) -> str:
        """The path of a file that a row or job names: beside the manifest, else in the working folder; URLs stay."""
        ...

    async def fetch_output(self, ask: Ask, data: Mapping[str, Any], destination: Path) -> Download:
        """Download the file of an answered job to ``destination``; an expired link is requested anew from the job.

        Raises:
            BadReply: when no link works any more.
            CallFailed: when a later run may succeed.
        """
        ...

    def record_preparation(self, item: Item, preparation: Preparation) -> None:
        """Keep how one of the item's inputs was prepared, for ``mediamill explain``; nothing else depends on it."""
        ...

    def reserve_memory(self, size: int) -> AbstractAsyncContextManager[None]:
        """Wait until ``size`` more bytes may be held, for as long as the block runs."""
        ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one item would need, for a quote.

    Attributes:
        asks: how many Asks.
        usage: what is likely to be billed.
        ceiling: the most that can be billed.
        seconds: length of its audio or video, where it has one.
        saved_tokens, saved_bytes: what preparing the item saves (estimate).
        model: the item's own model, whose prices apply to it; None for the job's.
    """

    asks: int
    usage: Usage
    ceiling: Usage
    seconds: Decimal | None = None
    saved_tokens: int = 0
    saved_bytes: int = 0
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Misreadings:
    """How a capability finds the rows that earlier programs made of replies which are read otherwise now.

    Attributes:
        is_doubtful: whether a row is one of those to be compared with its reply; the others cost no look.
        is_read_otherwise: whether a row differs from what its reply, as the operation parses it now, holds.
        is_no_answer: whether a row, whose reply holds no answer, has the words of a server in place of one.
    """

    is_doubtful: Callable[[Mapping[str, Any]], bool]
    is_read_otherwise: Callable[[Mapping[str, Any], Any], bool]
    is_no_answer: Callable[[Mapping[str, Any]], bool]


EVIDENCE = "_evidence"
"""Key beside the columns that ``run`` returns: a mapping that a :class:`SecondOpinion` reads, and no column."""


@dataclass(frozen=True, slots=True)
class TrySettings:
    """The settings of a second try.

    Attributes:
        params: as the first try's, with the changes.
        words: the changes in words, e.g. ``no prompt, temperature 0.4``.
    """

    params: Any
    words: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """A row judged without a reference.

    Attributes:
        doubts: likely faults that another try may mend; without any there is no other try.
        score: how bad the row is, from 0 on; only those of the same item can be compared.
        certainty: how sure the model is, from 0 to 1; None where nothing states it.
        size: how much the row holds, e.g. words of a text.
    """

    doubts: tuple[str, ...]
    score: float
    certainty: float | None
    size: int


class SecondOpinion(Protocol):
    """How a capability does an item once more (``check``), and which of two rows is better.

    A capability has it as its attribute ``second_opinion``.
    """

    def judge(self, columns: Mapping[str, Any], evidence: Mapping[str, Any]) -> Judgement:
        """Judge what ``run`` returned."""
        ...

    def choose_settings(self, params: Any, doubts: Sequence[str], seconds: float | None) -> TrySettings:
        """The settings of the second try of an item of so many seconds, whose first row has these doubts."""
        ...

    def list_settings(self, params: Any, seconds: float | None) -> list[Any]:
        """The parameters that a second try may have, as far as they differ in what they can cost; for a quote."""
        ...

    def compare(self, first: Judgement, second: Judgement) -> tuple[bool, str]:
        """Whether the second row is clearly better, and why or why not."""
        ...


class Capability(Protocol):
    """WHAT is done to an item. ``run`` does all of it; when a resumed run calls it again, answered Asks are free.

    The docstring of a capability's class is the help of its command. ``params`` declares its parameters: each field's
    description is the help of its option, and an :class:`Option` in its annotation says what else is special.
    """

    name: str
    operation: str
    kinds: frozenset[str]
    params: type[BaseModel]
    request_version: int

    def schema(self, params: Any, provider: Provider, model: str) -> pa.Schema:
        """The capability's own columns for a job's parameters: all nullable, the same names for every provider."""
        ...

    async def run(self, item: Item, params: Any, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """Do one item and return the capability's own columns by name.

        Raises:
            ItemError: when this item cannot be done.
        """
        ...

    async def estimate(self, item: Item, params: Any, context: CapabilityContext) -> Estimate:
        """What the item would need, without any request."""
        ...


def to_url_input(url: str, item: Item, context: CapabilityContext) -> Input:
    """An input that the provider fetches itself; named by its URL and the version of what is behind it.

    Raises:
        BadInput: when the URL may not be fetched.
    """
    context.check_url(url)
    version = context.source_version(item)
    digest = hashlib.sha256(f"url:{url}\n{version}".encode()).hexdigest()
    return Input(digest, "url", payload=Payload(filename="", mime="", size=0, url=url))


@contextmanager
def prefix_bad_input(item: Item) -> Iterator[None]:
    """Put the item's source in front of the message of a BadInput."""
    try:
        yield
    except BadInput as error:
        error.message = f"{item.source}: {error.message}"
        raise
