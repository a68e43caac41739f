"""The summaries of a run, a quote and a status: plain values for the terminal, for JSON and for Prefect."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal

from mediamill.tasks.domain import format_decimal
from mediamill.tasks.not_taken import NotTaken

State = Literal["done", "failures", "stopped", "cancelled", "nothing"]


class JsonSummary:
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
class Outage(JsonSummary):
    """A provider that does not answer now.

    ``since`` and ``gives_up_at`` are local times in ISO 8601. ``cause`` is what the provider or the network last said.
    ``next_try_s`` is in seconds; None while a try is under way.
    """

    provider: str
    since: str
    cause: str
    next_try_s: float | None
    gives_up_at: str


@dataclass(frozen=True, slots=True)
class Progress(JsonSummary):
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
    outage: Outage | None = None


@dataclass(frozen=True, slots=True)
class FailureGroup(JsonSummary):
    """The failures of one kind, with one of them as an example."""

    kind: Annotated[str, "kind of the error in a word"]
    count: Annotated[int, "failures of this kind"]
    item_id: Annotated[str, "one of them"]
    message: Annotated[str, "what is wrong with it"]
    hint: Annotated[str | None, "the next step"]
    stands: Annotated[bool, "true for attempts to replace results; the results stay as they were"] = False

    @property
    def example(self) -> str:
        """The message, with the item's id in front where the message does not begin with it."""
        head, colon, _ = self.message.partition(": ")
        named = colon and re.search(rf"(?<!\w){re.escape(self.item_id)}(?!\w)", head)
        return self.message if named else f"{self.item_id}: {self.message}"


@dataclass(frozen=True, slots=True)
class Summary(JsonSummary):
    """The summary of a run. Money is in US dollars; each field says what it means."""

    run_id: Annotated[str, "the run's id, with its time"]
    out: Annotated[str, "folder of the results"]
    state: Annotated[State, "how it ended: done, failures, stopped, cancelled, or nothing to do"]
    exit_code: Annotated[int, "the command's exit code"]
    capability: Annotated[str, "what was done"]
    provider: Annotated[str, "the provider"]
    model: Annotated[str, "the model"]
    engine: Annotated[str | None, "what did the work, where the provider says so"]
    simulated: Annotated[bool, "true when the built-in provider stood in for a real model"]
    total: Annotated[int, "items of this run"]
    done: Annotated[int, "of these, items that succeeded"]
    failed: Annotated[int, "of these, items that failed"]
    cached: Annotated[int, "of these, items whose answers were all in the journal already"]
    skipped: Annotated[int, "items that needed nothing"]
    left: Annotated[int, "items that the run did not reach"]
    calls: Annotated[int, "requests that were sent"]
    audio_seconds: Annotated[Decimal, "seconds of audio in the results of this run"]
    cost_usd: Annotated[Decimal, "known cost of this run's requests"]
    unknown_max_usd: Annotated[Decimal, "the most that requests without an answer may add"]
    unstated: Annotated[int, "requests without a known price, with those that an earlier run sent and this run settled"]
    out_cost_usd: Annotated[Decimal, "known cost of OUT's requests in all its runs"]
    seconds: Annotated[float, "seconds that the run took"]
    stopped_by: Annotated[
        str | None, "what stopped it: budget, account, provider_gone, run_deadline or cancelled; null when nothing did"
    ] = None
    message: Annotated[str | None, "why it stopped, in a sentence"] = None
    hint: Annotated[str | None, "the next step"] = None
    failures: Annotated[tuple[FailureGroup, ...], "OUT's failures by kind, each with an example"] = ()
    report: Annotated[str | None, "path of the report page"] = None
    endpoint_usd: Annotated[Decimal, "cost of a dedicated endpoint's time"] = Decimal(0)
    lost_requests: Annotated[int, "OUT's requests, of all its runs, whose answer was lost and that are not settled"] = 0
    lost_max_usd: Annotated[Decimal, "the most that these can have cost: what they hold of the budget"] = Decimal(0)
    lost_unpriced: Annotated[int, "of these, requests of which the most they can have cost is not known"] = 0
    lost: Annotated[str | None, "the same in words, with the run"] = None
    budget: Annotated[Decimal | None, "the budget of OUT's runs"] = None
    flags: Annotated[dict[str, int], "how many results have each flag, the most frequent first"] = field(
        default_factory=dict
    )
    not_taken: Annotated[
        NotTaken | None, "what the source holds and the run did not take, see below; null in a retry"
    ] = None
    outages: Annotated[int, "how many times the provider stopped answering"] = 0
    outage_seconds: Annotated[float, "seconds for which it did not answer"] = 0.0


@dataclass(frozen=True, slots=True)
class Quote(JsonSummary):
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
    not_taken: NotTaken | None = None


@dataclass(frozen=True, slots=True)
class Status(JsonSummary):
    """The status of an OUT.

    ``spent_usd`` is the known cost of its requests. ``unknowns`` are requests whose cost is not settled. Of these,
    ``unstated`` have no known price, so their maximum is unknown too; the others cost at most ``unknown_max_usd``.
    ``lost_requests`` are those whose answer was lost: they hold ``lost_max_usd`` of ``budget`` until settled.
    ``copy_of`` is the folder of which OUT is a copy: what it spent is counted there, too.
    ``not_taken`` is what the latest run that read its source passed over.
    ``stopped_by``, ``message`` and ``hint`` are those of the last run's summary, where something stopped it.
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
    lost_requests: int = 0
    lost_max_usd: Decimal = Decimal(0)
    lost_unpriced: int = 0
    lost: str | None = None
    budget: Decimal | None = None
    last_run: str | None = None
    last_state: str | None = None
    stopped_by: str | None = None
    message: str | None = None
    hint: str | None = None
    busy: str | None = None
    copy_of: str | None = None
    not_taken: NotTaken | None = None


FileProblem = Literal["missing", "damaged", "outdated", "not OUT's"]


@dataclass(frozen=True, slots=True)
class Finding(JsonSummary):
    """A file of OUT that was not as the journal says."""

    path: Annotated[str, "path below OUT"]
    problem: Annotated[FileProblem, "what was wrong with it"]
    mended: Annotated[bool, "whether it is right now"]
    hint: Annotated[str | None, "the next step, where it is not"] = None


@dataclass(frozen=True, slots=True)
class Verification(JsonSummary):
    """What a check of every file of an OUT found."""

    out: Annotated[str, "folder of the results"]
    checked: Annotated[int, "files whose SHA-256 was compared"]
    findings: Annotated[tuple[Finding, ...], "the files that were not as the journal says"]

    @property
    def exit_code(self) -> int:
        """0 when every file is right now, 1 when one is not."""
        return 0 if all(finding.mended for finding in self.findings) else 1
