"""The record of one attempt: in the journal each step before the next one, in the budget what it may cost."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import TypedDict

from mediamill.tasks import fault_injection
from mediamill.tasks.calls import call_log
from mediamill.tasks.calls.batching import PendingAsk
from mediamill.tasks.calls.call_context import CallContext, now_us, parse_request_id, sum_usages
from mediamill.tasks.calls.provider_words import describe_failed_attempt
from mediamill.tasks.calls.settlement import parse_reply, settle_cost
from mediamill.tasks.domain import Ask, Cost
from mediamill.tasks.errors import BadReply
from mediamill.tasks.journal.transitions import NewAttempt
from mediamill.tasks.money.budget import Reservation
from mediamill.tasks.wire import Parsed, Problem, Reply


class _FailureFields(TypedDict):
    kind: str
    message: str
    status: int | None
    latency_ms: int
    request_id: str | None


class AttemptRecord:
    """One attempt in the journal and in the budget.

    Args:
        context: what the call needs of its run.
        batch: the Asks of the request, in order.
        max_usd: the maximum the request can cost; None when that cannot be stated.
        reservation: that amount, reserved in the budget.
        call_id: of an attempt that an earlier process began; None for a new one.

    Attributes:
        asks, keys: the Asks and their request keys.
        run_id: the run that sends it.
        number: of the attempt, from 1.
        started_at: microseconds since the epoch.
        latency_ms: from the first byte to the reply, once that is on record.
    """

    def __init__(
        self,
        context: CallContext,
        batch: Sequence[PendingAsk],
        max_usd: Decimal | None,
        reservation: Reservation,
        call_id: str | None = None,
    ) -> None:
        self.asks: list[Ask] = [pending.ask for pending in batch]
        self.keys = [pending.key for pending in batch]
        self.call_id = call_id or uuid.uuid4().hex
        self.reservation = reservation
        self.run_id = context.run_id
        self.number = 1
        self.started_at = now_us()
        self.latency_ms = 0
        self._context = context
        self._journal = context.journal.asks
        self._max_usd = max_usd
        self._began_at = time.monotonic()

    def start_clock(self) -> None:
        """Measure latency from now on."""
        self._began_at = time.monotonic()

    async def mark_sending(self, number: int, wait_seconds: float) -> None:
        """Make the attempt durable, before its first byte leaves.

        Args:
            number: of the attempt, from 1.
            wait_seconds: how long it waited for its permit.
        """
        ask = self.asks[0]
        self.number = number
        fault_injection.failpoint("call.sending.before")
        attempt = NewAttempt(
            call_id=self.call_id,
            out_id=self._context.out_id,
            run_id=self._context.run_id,
            capability=ask.capability,
            provider=self._context.provider.name,
            model=ask.model,
            operation=ask.operation,
            item_ids=tuple(a.item_id for a in self.asks),
            attempt=number,
            started_at=self.started_at,
            wait_ms=round(wait_seconds * 1000),
            cost_max=self._max_usd,
        )
        with self.reservation.release_on_error():
            await self._journal.record_sending(attempt, self.keys)
        call_log.log_sending(self, wait_seconds)
        self.start_clock()
        fault_injection.failpoint("call.sending.after")

    async def mark_accepted(self, remote_id: str) -> None:
        """Record that the provider runs a job of that id."""
        await self._journal.record_accepted(self.call_id, self.keys, remote_id)
        call_log.log_accepted(self, remote_id)
        fault_injection.failpoint("call.accepted.after")

    async def mark_replied(self, reply: Reply) -> None:
        """Make the raw reply durable, before anyone parses it; until then the attempt counts as in flight."""
        self.latency_ms = self._measure_elapsed_ms()
        await self._journal.record_reply(
            self.call_id,
            self.keys,
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            latency_ms=self.latency_ms,
            request_id=parse_request_id(reply.headers),
        )
        call_log.log_reply(self, reply.status)

    async def mark_rejected(self, problem: Problem, reply: Reply | None = None) -> None:
        """Record that the request was refused or never arrived: nothing was billed."""
        self.reservation.release()
        await self._journal.record_rejection(self.call_id, self.keys, **self._to_failure_fields(problem, reply))

    async def mark_unknown(self, problem: Problem, reply: Reply | None = None) -> None:
        """Record that the request may have been carried out and billed; a success that no one could read is kept.

        Where it states its usage all the same, as a generation that ended in an error does, that is its cost.
        """
        unread = reply if reply is not None and reply.status < HTTPStatus.MULTIPLE_CHOICES else None
        parsed = self._parse_stated_usage(unread)
        if not parsed:
            self.reservation.charge_unknown()
        fields = self._to_failure_fields(problem, reply)
        await self._journal.record_unknown(self.call_id, self.keys, **fields, reply=unread)
        if parsed:
            await self.settle(parsed)

    async def settle(self, parsed: Sequence[Parsed]) -> Cost:
        """Turn the usage of a parsed reply into cost, and charge it to the budget."""
        cost = await settle_cost(self._context, self.call_id, parsed, self.asks[0], self._max_usd)
        self.reservation.settle(cost)
        return cost

    def _parse_stated_usage(self, reply: Reply | None) -> Sequence[Parsed]:
        """What a reply without an answer says that it used, where that has a cost; else nothing."""
        if reply is None:
            return ()
        try:
            parsed = parse_reply(self._context, reply, self.asks)
        except BadReply:
            return ()
        usage, ask = sum_usages(each.usage for each in parsed), self.asks[0]
        if usage.billed_usd is None and usage.input_tokens is None and usage.output_tokens is None:
            return ()  # what else it counts may be that of a part
        cost = self._context.pricing.cost(ask.model, ask.operation, usage, self._max_usd)
        return () if cost.usd is None or cost.basis == "estimated" else parsed

    def _to_failure_fields(self, problem: Problem, reply: Reply | None) -> _FailureFields:
        """The journal's fields for an attempt without an answer, whether or not it was billed."""
        return {
            "kind": problem.kind,
            "message": describe_failed_attempt(problem, reply),
            "status": reply.status if reply else None,
            "latency_ms": self._measure_elapsed_ms(),
            "request_id": parse_request_id(reply.headers) if reply else None,
        }

    def _measure_elapsed_ms(self) -> int:
        return round((time.monotonic() - self._began_at) * 1000)
