"""The summaries of a run, a quote and a status: plain values for the terminal, for JSON and for Prefect."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Literal

from mediamill.tasks.domain import format_decimal

State = Literal["done", "failures", "stopped", "cancelled", "nothing"]


class _JsonSummary:
    """A frozen dataclass that can be written as JSON; money stays exact, as text."""

    __slots__ = ()

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values; decimals as text."""
        values: dict[str, Any] = _to_json(asdict(self))  # type: ignore[call-overload]
        return values


def _to_json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format_decimal(value)
    if isinstance(value, dict):
        return {str(k): _to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(v) for v in value]
    return value


@dataclass(frozen=True, slots=True)
class Progress(_JsonSummary):
    """The progress of a run: ``rate`` in items a second; ``eta_s`` None while unknown; ``running`` remote jobs."""

    phase: str
    total: int
    done: int
    failed: int
    cached: int
    in_flight: int
    spent: Decimal
    unknown_max: Decimal
    budget: Decimal | None
    seconds: float
    rate: float
    eta_s: float | None
    running: int = 0


@dataclass(frozen=True, slots=True)
class FailureGroup(_JsonSummary):
    """The failures of one kind, with one of them as an example.

    ``stands``: these are attempts to replace results, and the results stay as they were.
    """

    kind: str
    count: int
    item_id: str
    message: str
    hint: str | None
    stands: bool = False

    @property
    def example(self) -> str:
        """The message, with the item's id in front where the message does not begin with it."""
        head, colon, _ = self.message.partition(": ")
        named = colon and re.search(rf"(?<!\w){re.escape(self.item_id)}(?!\w)", head)
        return self.message if named else f"{self.item_id}: {self.message}"


@dataclass(frozen=True, slots=True)
class Summary(_JsonSummary):
    """The summary of a run.

    ``total``, ``done`` and ``failed`` count this run's items, ``skipped`` those that needed nothing, and ``left`` those
    it did not reach; ``flags`` counts its results by flag, the most frequent first. ``cost_usd`` is the known cost of
    this run's requests, ``endpoint_usd`` that of a dedicated endpoint's time, ``unknown_max_usd`` the maximum that
    attempts without an answer may add. ``unstated`` requests have no known price, including those that an earlier run
    sent and this run settled. ``out_cost_usd`` is the known cost of OUT's requests in all its runs.
    """

    run_id: str
    out: str
    state: State
    exit_code: int
    capability: str
    provider: str
    model: str
    engine: str | None
    simulated: bool
    total: int
    done: int
    failed: int
    cached: int
    skipped: int
    left: int
    calls: int
    audio_seconds: Decimal
    cost_usd: Decimal
    unknown_max_usd: Decimal
    unstated: int
    out_cost_usd: Decimal
    seconds: float
    stopped_by: str | None = None
    message: str | None = None
    hint: str | None = None
    failures: tuple[FailureGroup, ...] = ()
    report: str | None = None
    endpoint_usd: Decimal = Decimal(0)
    flags: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quote(_JsonSummary):
    """What a job would cost. ``low_usd`` and ``high_usd`` are None when a price or a length is not known."""

    capability: str
    provider: str
    model: str
    out: str
    items: int
    finished: int
    asks: int
    audio_seconds: Decimal
    low_usd: Decimal | None
    high_usd: Decimal | None
    price_source: str | None
    unpriced: int
    bad_items: int
    bad_examples: tuple[str, ...] = ()
    saved_tokens: int = 0
    saved_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Status(_JsonSummary):
    """The status of an OUT.

    ``spent_usd`` is the known cost of its requests. ``unknowns`` are requests whose cost is not settled. Of these,
    ``unstated`` have no known price, so their maximum is unknown too; the others cost at most ``unknown_max_usd``.
    """

    out: str
    capability: str
    provider: str
    model: str
    root: str
    total: int
    done: int
    failed: int
    pending: int
    by_kind: dict[str, int] = field(default_factory=dict)
    spent_usd: Decimal = Decimal(0)
    unknown_max_usd: Decimal = Decimal(0)
    unknowns: int = 0
    unstated: int = 0
    last_run: str | None = None
    last_state: str | None = None
    busy: str | None = None
