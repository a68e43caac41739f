"""The story of one item, as plain values: for the terminal, for JSON and for Python."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from mediamill.tasks.domain import format_decimal

ReuseSource = Literal["other_out", "other_item", "earlier_run"]


@dataclass(frozen=True, slots=True)
class AttemptStory:
    """One request that was sent for the item. Times are microseconds since the epoch.

    Attributes:
        call_id, run_id, number: which attempt, of which run, the how manieth of its request in that run.
        limit_ms: how long it waited for the rate limit or for a free slot.
        pause_ms: time since the attempt before it ended, without ``limit_ms``; None for a first attempt.
        took_ms: from the first byte to the reply; None while there is none.
        outcome: sending, accepted, replied, rejected, unknown, or interrupted: it was on its way when its run ended.
        words: what the provider or the network said.
        reply: the body of a reply that gave no answer though it was paid for, or may have been; without keys, and at
            most 64 KiB of it. None where there is none, or where it is no text.
        reply_bytes: its size; None where there is none.
        reply_file: the file in the journal that has all of a larger one, as it came.
        cost_usd: the item's share; ``cost_max_usd`` is the maximum where the cost is not known.
        shared_by: how many requests for items travelled in it; what it used is that of all of them.
    """

    call_id: str
    run_id: str
    number: int
    started_at: int
    limit_ms: int | None
    pause_ms: int | None
    took_ms: int | None
    outcome: str
    status: int | None
    error_kind: str | None
    words: str | None
    request_id: str | None
    provider: str
    model: str
    operation: str
    usage: dict[str, Any]
    cost_usd: Decimal | None
    cost_max_usd: Decimal | None
    cost_basis: str | None
    price_source: str | None
    shared_by: int
    reply: str | None = None
    reply_bytes: int | None = None
    reply_file: str | None = None


@dataclass(frozen=True, slots=True)
class ReuseStory:
    """Where an answer came from that was not bought by the item in the run that did it."""

    source: ReuseSource
    out: str
    run_id: str
    item_ids: tuple[str, ...]
    call_id: str
    answered_at: int


@dataclass(frozen=True, slots=True)
class RequestStory:
    """One request of the item: what it sends, its attempts, and what it came to.

    Attributes:
        key: the request key; None when there was none.
        sent: recipes, bytes, lengths of texts.
        from_seconds, to_seconds: the range of a piece.
        state: of the request in the journal: claimed, sending, accepted, replied, rejected, unknown; None without one.
        current: the item's last processing made it; else an earlier one did.
        error_kind: why the item got no answer from it.
        job_id: of the job that the provider runs for it.
        held: a run that is alive works on it.
    """

    key: str | None
    sent: dict[str, Any]
    from_seconds: float | None
    to_seconds: float | None
    state: str | None
    current: bool
    error_kind: str | None = None
    job_id: str | None = None
    held: bool = False
    reused: ReuseStory | None = None
    attempts: tuple[AttemptStory, ...] = ()


@dataclass(frozen=True, slots=True)
class RunStory:
    """A run that the item was in: when it began and ended, how, and what it said. ``state`` None while it is alive."""

    run_id: str
    started_at: int | None
    finished_at: int | None
    state: str | None
    message: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class FileStory:
    """A file of the item: its path, how large it should be, and how large it is; ``bytes`` None when it is gone."""

    path: str
    expected_bytes: int | None
    bytes: int | None


@dataclass(frozen=True, slots=True)
class FailureStory:
    """Why the item failed; ``transient`` failures are tried again by the next run. ``stands``: a result stayed."""

    kind: str
    message: str
    hint: str | None
    transient: bool
    stands: bool = False


@dataclass(frozen=True, slots=True)
class ItemStory:
    """One item's whole story.

    Attributes:
        state: done, failed or pending.
        in_last_run: the last run had the item before it; else it was removed from the source, left out by a limit, or
            the last run was a retry of other items.
        source_exists: whether its file is there; None for URLs and rows.
        recorded: whether the journal has what was prepared; ``prepared_at`` and ``prepared_in`` say when and in which
            run.
        part, row_at: the file with the item's row, and the row's position in it.
        owner: the run that works on OUT now, in words.
        why: why the item is as it is; ``next_steps`` what to do, commands as they are typed.
    """

    out: str
    capability: str
    provider: str
    model: str
    item_id: str
    index: int
    source: str
    location: str | None
    row: dict[str, Any]
    params: dict[str, Any]
    state: str
    shard: int
    sample: int
    first_run: RunStory | None
    last_run: RunStory | None
    in_last_run: bool
    source_exists: bool | None
    recorded: bool
    prepared_at: int | None
    prepared_in: str | None
    preparations: tuple[dict[str, Any], ...]
    requests: tuple[RequestStory, ...]
    requests_in_all: int
    result: dict[str, Any] | None
    failure: FailureStory | None
    part: str | None
    row_at: int | None
    files: tuple[FileStory, ...]
    owner: str | None = None
    not_recorded: str | None = None
    why: str = ""
    next_steps: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values: money as text, times in ISO format and UTC."""
        values: dict[str, Any] = _to_json(asdict(self))
        return values


_CONTENT = frozenset({"row", "params", "sent", "usage", "preparations", "result"})
"""Fields whose members are named by others: nothing in them is taken for a time."""


def _to_json(value: Any, name: str = "", *, is_content: bool = False) -> Any:
    if isinstance(value, Decimal):
        return format_decimal(value)
    if not is_content and name.endswith("_at") and name != "row_at" and isinstance(value, int):
        return format_utc(value)
    if isinstance(value, dict):
        is_content = is_content or name in _CONTENT
        return {str(key): _to_json(member, str(key), is_content=is_content) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(member, name, is_content=is_content or name in _CONTENT) for member in value]
    return value


def format_utc(microseconds: int) -> str:
    """A time in ISO format, UTC."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).isoformat().replace("+00:00", "Z")
