"""The summaries of a run, a quote and a status: plain values for the terminal, for JSON and for Prefect."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal

from mediamill.tasks.domain import format_decimal
from mediamill.tasks.not_taken import NotTaken

OutUse = Literal["new", "continued", "replaced", "refused"]
"""What a run would do with OUT."""
State = Literal["done", "failures", "stopped", "cancelled", "nothing"]

_MAX_SHOWN_FOLDERS = 8


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
    ``next_try_s`` is in seconds; None while a try is under way. ``refuses``: it answers, and refuses every request as
    one too many. ``back_at`` is when it is back by its own word; None where it has none.
    """

    provider: str
    since: str
    cause: str
    next_try_s: float | None
    gives_up_at: str
    refuses: bool = False
    back_at: str | None = None


@dataclass(frozen=True, slots=True)
class FailureGroup(JsonSummary):
    """The failures of one kind, with one of them as an example."""

    kind: Annotated[str, "kind of the error in a word"]
    count: Annotated[int, "failures of this kind"]
    item_id: Annotated[str, "one of them"]
    message: Annotated[str, "what is wrong with it"]
    hint: Annotated[str | None, "the next step"]
    stands: Annotated[bool, "true for attempts to replace results; the results stay as they were"] = False
    retry_helps: Annotated[bool, "false where another try of the same input must fail like this one"] = True

    @property
    def example(self) -> str:
        """The message, with the item's id in front where the message does not begin with it."""
        head, colon, _ = self.message.partition(": ")
        named = colon and re.search(rf"(?<!\w){re.escape(self.item_id)}(?!\w)", head)
        return self.message if named else f"{self.item_id}: {self.message}"


@dataclass(frozen=True, slots=True)
class Progress(JsonSummary):
    """The progress of a run: ``rate`` in items a second; ``eta_s`` None while unknown; ``running`` remote jobs.

    ``retried`` requests were sent again, ``rate_limited`` of their replies were a 429. ``max_in_flight`` and
    ``max_requests_per_second`` are what is allowed now; None where nothing limits it. ``projected`` is what OUT will
    have cost at the end when the items that are left cost like those that are done; None while nothing is known.
    ``slowest_item`` is the one that has been open longest. ``silent_seconds`` is how long nothing was answered though
    requests are out; None where that is nothing to tell. ``claimed_by_others`` are requests that another run sends and
    whose answers are waited for.
    """

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
    retried: int = 0
    rate_limited: int = 0
    max_in_flight: int | None = None
    max_requests_per_second: float | None = None
    projected: Decimal | None = None
    slowest_item: str | None = None
    slowest_seconds: float = 0.0
    last_failures: tuple[FailureGroup, ...] = ()
    silent_seconds: float | None = None
    claimed_by_others: int = 0


@dataclass(frozen=True, slots=True)
class SidecarCounts(JsonSummary):
    """What became of the files beside the sources (``--beside``)."""

    written: Annotated[int, "files that were written"] = 0
    unchanged: Annotated[int, "files that were right already"] = 0
    overwritten: Annotated[int, "of those written, files that were not OUT's, or that somebody had changed"] = 0
    in_the_way: Annotated[int, "not written, as another file is there"] = 0
    of_another_item: Annotated[int, "not written, as another item's source has the same name"] = 0
    of_urls: Annotated[int, "items whose source is a URL, which has no folder"] = 0
    of_lost_sources: Annotated[int, "items whose source is gone"] = 0
    not_written: Annotated[int, "files that could not be written"] = 0
    examples: Annotated[dict[str, str], "a path or an item of each kind that was not written"] = field(
        default_factory=dict
    )
    folders: Annotated[tuple[str, ...], "folders in which none could be written, each with its cause"] = ()

    def describe(self) -> list[str]:
        """The counts in words, a line for each kind."""
        over = f", {self.overwritten:,} of them over other files" if self.overwritten else ""
        lines = [f"{self.written:,} written{over}, {self.unchanged:,} unchanged"]
        reasons = {
            "in_the_way": "where another file is, or one was changed (--overwrite writes over it)",
            "of_another_item": "whose name another item's file has",
            "of_urls": "of URLs, which have no folder",
            "of_lost_sources": "whose source is gone",
        }
        for name, words in reasons.items():
            if number := getattr(self, name):
                lines.append(f"not written: {number:,} {words}, e.g. {self.examples.get(name)}")
        lines += [f"not written in {folder}" for folder in self.folders[:_MAX_SHOWN_FOLDERS]]
        if len(self.folders) > _MAX_SHOWN_FOLDERS:
            lines.append(f"nor in {len(self.folders) - _MAX_SHOWN_FOLDERS:,} more folders")
        return lines


@dataclass(frozen=True, slots=True)
class Summary(JsonSummary):
    """The summary of a run. Money is in US dollars; each field says what it means."""

    run_id: Annotated[str, "the run's id, with its time"]
    out: Annotated[str, "folder of the results"]
    state: Annotated[
        State, "how it ended: done, failures (OUT has some, of this run or an earlier one), stopped, cancelled, nothing"
    ]
    exit_code: Annotated[int, "the command's exit code"]
    capability: Annotated[str, "what was done"]
    provider: Annotated[str, "the provider"]
    model: Annotated[str, "the model"]
    engine: Annotated[str | None, "what did the work, where the provider says so"]
    simulated: Annotated[bool, "true when the built-in provider stood in for a real model"]
    total: Annotated[int, "items that this run had to do: the sum of done, failed and left"]
    done: Annotated[int, "of these, items that succeeded"]
    failed: Annotated[int, "of these, items that failed"]
    cached: Annotated[int, "of those done, items whose answers were all reused"]
    skipped: Annotated[int, "items of the source that are unchanged, and were passed over"]
    left: Annotated[int, "of the total, items that the run did not reach"]
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
    out_total: Annotated[int, "OUT's items of all its runs: the sum of the next three"] = 0
    out_done: Annotated[int, "OUT's items that have a result"] = 0
    out_failed: Annotated[int, "OUT's items that are failed now, in this run or an earlier one"] = 0
    out_left: Annotated[int, "OUT's items that are not done yet"] = 0
    sidecars: Annotated[SidecarCounts | None, "the files beside the sources, see below; null without --beside"] = None
    outages: Annotated[int, "how many times the provider stopped answering"] = 0
    outage_seconds: Annotated[float, "seconds for which it did not answer"] = 0.0
    tried_again: Annotated[int, "results of this run that had more than one try"] = 0
    taken_later: Annotated[int, "of these, results that are of a later try than the first"] = 0
    tries_failed: Annotated[tuple[FailureGroup, ...], "later tries that failed, by kind, each with an example"] = ()
    tries_missing: Annotated[
        int, "results of this run of which a later try failed in passing: the same command makes it, and it alone"
    ] = 0
    undecided: Annotated[int, "results of this run for which `until` could not be evaluated: nobody else was tried"] = 0
    undecided_example: Annotated[str | None, "why, for one of them"] = None

    @property
    def is_free(self) -> bool:
        """Whether nobody was paid: the built-in provider began, and no later try cost anything, known or not."""
        return self.provider == "local" and not (self.cost_usd or self.unknown_max_usd or self.unstated)


@dataclass(frozen=True, slots=True)
class Quote(JsonSummary):
    """What a job would cost. ``low_usd`` and ``high_usd`` are None when a price or a length is not known.

    ``out_use`` is what a run would do with ``out``: begin it (``new``), go on with it (``continued``), do all of it
    again (``replaced``), or refuse it (``refused``); ``out_note`` says why it is this one, or why it is refused.
    ``finished`` items stay as they are; ``failed_before`` of them have failed.
    ``wait_seconds`` is how long a run waits for files that may still be written, which are quoted as they are now.
    ``missing_key`` is the name of the environment variable that a run needs and that is not set.
    ``more_tries`` are those that an item may get after the first one, in words, and ``more_asks`` their requests if
    every item gets all of them: ``low_usd`` is without any, ``high_usd`` with all.
    """

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
    failed_before: int = 0
    out_use: OutUse = "new"
    out_note: str | None = None
    wait_seconds: float | None = None
    missing_key: str | None = None
    more_tries: tuple[str, ...] = ()
    more_asks: int = 0


@dataclass(frozen=True, slots=True)
class Status(JsonSummary):
    """The status of an OUT.

    ``spent_usd`` is the known cost of its requests. ``unknowns`` are requests whose cost is not settled. Of these,
    ``unstated`` have no known price, so their maximum is unknown too; the others cost at most ``unknown_max_usd``.
    ``lost_requests`` are those whose answer was lost: they hold ``lost_max_usd`` of ``budget`` until settled.
    ``copy_of`` is the folder of which OUT is a copy: what it spent is counted there, too.
    ``not_taken`` is what the latest run that read its source passed over.
    ``stopped_by``, ``message`` and ``hint`` are those of the last run's summary, where something stopped it.
    ``last_started`` is when the last run began, in UTC.
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
    last_started: str | None = None
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
