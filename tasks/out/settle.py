"""Settle the requests whose answer was lost: book what the provider's own usage page says, and free the budget."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from mediamill.tasks.domain import format_decimal
from mediamill.tasks.errors import OutputBusy, UsageError
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.lost_requests import LostRequests
from mediamill.tasks.journal.output_lock import OutputLock, describe_owner
from mediamill.tasks.money.apportion import apportion
from mediamill.tasks.out.status import open_existing, open_to_write
from mediamill.tasks.report.build import build_report
from mediamill.tasks.sinks.calls import CALLS_SCHEMA, to_call_row
from mediamill.tasks.sinks.parts import write_part
from mediamill.tasks.summary import JsonSummary


@dataclass(frozen=True, slots=True)
class Settlement(JsonSummary):
    """What was settled, or is to be."""

    out: Annotated[str, "folder of the results"]
    provider: Annotated[str, "the provider"]
    model: Annotated[str, "the model"]
    requests: Annotated[int, "requests whose answer was lost"]
    runs: Annotated[tuple[str, ...], "the runs that sent them"]
    first_sent: Annotated[str | None, "when the first was sent, ISO 8601 in UTC"]
    last_sent: Annotated[str | None, "when the last was sent"]
    held_usd: Annotated[Decimal, "the most they can have cost, as far as that is known"]
    without_maximum: Annotated[int, "of these, requests whose maximum is not known"]
    words: Annotated[str, "the same in words"]
    billed_usd: Annotated[Decimal | None, "what was booked for them; null when nothing was"] = None


def find_lost_requests(out: Path, run_ids: Collection[str] = ()) -> Settlement:
    """What there is to settle in OUT, in all its runs or in those named.

    Raises:
        UsageError: when no run has written there, or a run named has not.
    """
    out = out.expanduser().absolute()
    journal = open_existing(out)
    try:
        return _describe(out, journal, _load(out, journal, run_ids))
    finally:
        journal.close()


def settle(out: Path, billed: Decimal, run_ids: Collection[str] = (), *, above_maximum: bool = False) -> Settlement:
    """Book ``billed`` US dollars for the lost requests of OUT, in proportion to what each can have cost.

    What is settled once stays as it is. The calls parts, costs.csv and the report are written again.

    Args:
        out: the folder of results.
        billed: what the provider billed for them in all; zero when it billed nothing.
        run_ids: only those that these runs sent.
        above_maximum: book more than they can have cost, too.

    Raises:
        UsageError: when it is negative, or more than they can have cost, no run has written there, or OUT is a copy.
        OutputBusy: while a run works on OUT.
        StorageError: when OUT or its journal cannot be written.
    """
    out = out.expanduser().absolute()
    journal = open_to_write(out)
    try:
        lock = OutputLock.acquire(out, journal, f"settle-{uuid.uuid4().hex[:8]}")
        try:
            return _settle_held(out, journal, lock.token, _Bill(billed, above_maximum), run_ids)
        finally:
            lock.release()
    finally:
        journal.close()


@dataclass(frozen=True, slots=True)
class _Bill:
    usd: Decimal
    above_maximum: bool


def _settle_held(out: Path, journal: Journal, token: int, bill: _Bill, run_ids: Collection[str]) -> Settlement:
    journal.run_id = f"settle-{token}"
    lost = journal.lost_requests.load(run_ids=_check_run_ids(journal, run_ids))
    found = _describe(out, journal, lost)
    _check_bill(bill, lost)
    if not lost.requests:
        return found
    shares = apportion(bill.usd, [request.max_usd for request in lost.requests])
    source = (
        f"stated by a person on {datetime.now(UTC):%Y-%m-%d}: ${format_decimal(bill.usd)} for {found.requests} lost"
    )
    costs = {request.call_id: share for request, share in zip(lost.requests, shares, strict=True)}
    journal.lost_requests.settle(costs, source)
    for run_id in lost.run_ids:
        rows = map(to_call_row, journal.attempts.stream_run(run_id))
        asyncio.run(journal.parts.commit([write_part(out, "calls", run_id, rows, CALLS_SCHEMA)], token))
    journal.documents.record_report_blocking(build_report(out, journal))
    return _describe(out, journal, lost, bill.usd)


def _check_bill(bill: _Bill, lost: LostRequests) -> None:
    if not bill.usd.is_finite() or bill.usd < 0:
        raise UsageError("what was billed is zero or more US dollars", hint="write it like 0.0123")
    if bill.above_maximum or not lost.requests or lost.unpriced:
        return
    if bill.usd > lost.max_usd:
        raise UsageError(
            f"${format_decimal(bill.usd)} is more than ${format_decimal(lost.max_usd)}, the most for {lost.describe()}",
            hint="the usage page may count other requests, too; --above-maximum books it all the same",
        )


def _load(out: Path, journal: Journal, run_ids: Collection[str]) -> LostRequests:
    is_running = describe_owner(out) is not None
    return journal.lost_requests.load(is_running=is_running, run_ids=_check_run_ids(journal, run_ids))


def _check_run_ids(journal: Journal, run_ids: Collection[str]) -> Collection[str]:
    known = (journal.lost_requests.load().runs or {}).keys() if run_ids else ()
    for run_id in run_ids:
        if run_id not in known:
            raise UsageError(f"no run {run_id!r} has written here", hint="mediamill settle OUT lists those with losses")
    return run_ids


def _describe(out: Path, journal: Journal, lost: LostRequests, billed: Decimal | None = None) -> Settlement:
    binding = journal.output.load_binding()
    assert binding is not None
    times = [request.started_at for request in lost.requests]
    return Settlement(
        out=str(out),
        provider=binding.provider,
        model=binding.model,
        requests=len(lost.requests),
        runs=tuple(lost.run_ids),
        first_sent=_format_time(min(times)) if times else None,
        last_sent=_format_time(max(times)) if times else None,
        held_usd=lost.max_usd,
        without_maximum=lost.unpriced,
        words=lost.describe() if lost.requests else "no request whose answer was lost",
        billed_usd=billed,
    )


def _format_time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).isoformat(timespec="seconds")


def refuse_while_busy(out: Path) -> None:
    """Refuse to ask about an OUT that a run works on.

    Raises:
        OutputBusy: naming the run.
    """
    if owner := describe_owner(out.expanduser().absolute()):
        raise OutputBusy(f"{out} is in use: {owner}", hint="wait for it or stop it, then settle")
