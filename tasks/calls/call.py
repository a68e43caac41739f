"""A paid call from start to end: journal, budget, limits, wire, journal, parse, cost.

claim --- hit ------------------------------------> parse (free)
  | this process has it
gate > reserve > limit > sending (durable) > wire > replied (durable) > parse > settle
                                        |
                   rejected (unbilled) or unknown (may be billed: stays charged)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mediamill.tasks import fault_injection
from mediamill.tasks.calls import call_log
from mediamill.tasks.calls.admission import Admission
from mediamill.tasks.calls.attempt import LOOK_UP_HINT, WireAttempt
from mediamill.tasks.calls.attempt_record import AttemptRecord
from mediamill.tasks.calls.batching import PendingAsk, RequestBatcher
from mediamill.tasks.calls.call_context import CallContext, now_us, parse_request_id, sum_usages
from mediamill.tasks.calls.rate_limiter import Limiter, Permit
from mediamill.tasks.calls.request_key import request_key
from mediamill.tasks.calls.retry import RetryableError, send_with_retries
from mediamill.tasks.calls.settlement import build_answer, parse_reply, settle_cost, split_cost
from mediamill.tasks.domain import FREE, Answer, Ask, Cost, Usage
from mediamill.tasks.errors import BadInput, BadReply, CallFailed, ItemError, MediamillError, UnknownOutcome
from mediamill.tasks.journal.asks import Attempt, ClaimResult
from mediamill.tasks.journal.transitions import ClaimLost
from mediamill.tasks.wire import Parsed, Problem, Reply

_BUSY_POLL_SECONDS = 0.5
_DRAIN_POLL_SECONDS = 0.25
_MAX_SIBLINGS = 16_384
"""Parsed answers that are kept from replies to several Asks: such a reply is read once, not once for each Ask."""


class Caller:
    """Makes the paid calls of one run. Equal Asks are sent once, and all get that answer."""

    def __init__(self, context: CallContext) -> None:
        self._context = context
        self._running: dict[str, asyncio.Task[Answer]] = {}
        self._on_wire: dict[asyncio.Task[Any] | None, bool] = {}  # whether its request may be sent again
        self._batcher = RequestBatcher(self._send_with_policy)
        self._siblings: dict[str, tuple[Attempt, Parsed, Cost]] = {}

    async def __call__(self, ask: Ask, *, journal_only: bool = False) -> Answer:
        """The Ask's answer, paid for at most once; with ``journal_only`` it is never sent.

        Raises:
            BadInput: with ``journal_only``, when the journal does not have it.
            ItemError: when this Ask cannot be answered.
            RunStopped: when the whole run must end.
        """
        wire = self._context.provider.to_wire(ask)
        key = request_key(self._context.provider.name, ask, wire)
        running = self._running.get(key)
        if running is not None:
            self._context.stats.cache_hits += 1
            call_log.log_reuse(ask, self._context.run_id, None)
            return replace(await asyncio.shield(running), cached=True, cost=FREE, attempts=0)
        task = asyncio.get_running_loop().create_task(
            self._recall_or_send(PendingAsk(ask, wire, key), journal_only=journal_only)
        )
        self._running[key] = task
        task.add_done_callback(lambda finished: self._remove_task(key, finished))
        return await asyncio.shield(task)

    def find_key(self, ask: Ask) -> str | None:
        """The Ask's request key; None where the provider does not take its parameters."""
        try:
            return request_key(self._context.provider.name, ask, self._context.provider.to_wire(ask))
        except MediamillError:
            return None

    async def drain(self, seconds: float, repeatable_seconds: float | None = None) -> None:
        """Cancel what waits at once. What is on the wire gets ``seconds``, then it is cut off and becomes unknown.

        ``repeatable_seconds``: the same for requests that may be sent again; None for the same time.
        """
        began_at, repeatable_seconds = time.monotonic(), seconds if repeatable_seconds is None else repeatable_seconds
        self._context.gate.wake_all()
        self._context.lookup_gate.wake_all()
        while self._running:
            waited = time.monotonic() - began_at
            for task in list(self._running.values()):
                is_repeatable = self._on_wire.get(task)
                if is_repeatable is None or waited >= (repeatable_seconds if is_repeatable else seconds):
                    task.cancel()
            await asyncio.wait(self._running.values(), timeout=_DRAIN_POLL_SECONDS)

    def _remove_task(self, key: str, task: asyncio.Task[Answer]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # retrieved here, because every waiter may be gone

    async def _recall_or_send(self, pending: PendingAsk, *, journal_only: bool) -> Answer:
        """The Ask's answer, also where another run takes the claim over: that run's answer is waited for."""
        while True:
            try:
                return await self._claim_and_send(pending, journal_only=journal_only)
            except ClaimLost:
                call_log.log_claim_lost(pending.ask, self._context.run_id)

    async def _claim_and_send(self, pending: PendingAsk, *, journal_only: bool) -> Answer:
        """The Ask's answer, from the journal or sent under a claim.

        Raises:
            ClaimLost: when another run has taken the claim over before anything was sent.
        """
        sibling = self._siblings.pop(pending.key, None)
        if sibling is not None:
            return self._to_recalled_answer(pending, *sibling)
        claim = await self._claim(pending)
        if claim.state == "hit" and claim.attempt is not None:
            return await self._recall_answer(pending, claim.attempt)
        fault_injection.failpoint("call.claimed.after")
        is_answered = False
        try:
            if claim.state == "unknown" and (kept := await self._take_kept_reply(pending, claim.attempt)) is not None:
                answer = await self._recall_answer(pending, kept)
                is_answered = True
                return answer
            if claim.state == "unknown" and not pending.wire.repeatable:
                billed = "" if self._context.pricing.billing.free else " and billed"
                raise UnknownOutcome(
                    f"an earlier request may have been carried out{billed}; its answer was lost",
                    hint=LOOK_UP_HINT,
                )
            if journal_only and claim.state != "accepted":
                raise BadInput("its answer is not in the journal", kind="lost")
            if claim.state == "accepted" and claim.attempt is not None:
                answer = await self._resume_job(pending, claim.attempt, claim.remote_id or "")
            elif pending.wire.batching is not None:
                answer = await self._batcher.submit(pending)
            else:
                answer = (await self._send_with_policy([pending]))[0]
            is_answered = True
        finally:
            if not is_answered:
                await asyncio.shield(self._context.journal.asks.release([pending.key]))
        return answer

    async def _claim(self, pending: PendingAsk) -> ClaimResult:
        with self._batcher.announce(pending.wire):
            claim = await self._claim_once(pending)
        if claim.state != "busy":
            return claim
        self._context.stats.claimed_by_others += 1
        try:
            while claim.state == "busy":
                await self._context.sleep(_BUSY_POLL_SECONDS)
                claim = await self._claim_once(pending)
        finally:
            self._context.stats.claimed_by_others -= 1
        return claim

    async def _claim_once(self, pending: PendingAsk) -> ClaimResult:
        context = self._context
        context.check_stop()
        return await context.journal.asks.claim(pending.key, owner=context.run_id, now=now_us())

    async def _recall_answer(self, pending: PendingAsk, attempt: Attempt) -> Answer:
        """An answer from the journal. The item that paid for it keeps its cost; others pay nothing."""
        context = self._context
        reply = Reply(attempt.reply_status or 200, attempt.reply_headers, attempt.reply_body or b"")
        parsed = parse_reply(context, reply, [pending.ask] * len(attempt.request_keys))
        cost = attempt.cost
        if cost is None:
            cost = await settle_cost(context, attempt.call_id, parsed, pending.ask, attempt.cost_max)
            if self._is_paid_by(pending, attempt):  # its ceiling was charged until now
                context.budget.resume(attempt.cost_max).settle(cost)
        without_body = replace(attempt, reply_body=None)
        siblings = {
            key: (without_body, part, split_cost(cost, len(parsed)))
            for key, part in zip(attempt.request_keys, parsed, strict=True)
        }
        own = siblings.pop(pending.key)
        if len(self._siblings) < _MAX_SIBLINGS:
            self._siblings.update(siblings)
        return self._to_recalled_answer(pending, *own)

    async def _take_kept_reply(self, pending: PendingAsk, attempt: Attempt | None) -> Attempt | None:
        """The attempt whose reply an earlier program could not read and this one can; it is a reply from now on."""
        provider, ask = self._context.provider, pending.ask
        if attempt is None or not attempt.reply_body or attempt.request_keys != (pending.key,) or pending.wire.job:
            return None
        status, headers, body = attempt.reply_status or 200, attempt.reply_headers, attempt.reply_body
        reply = Reply(status, headers, body)
        if provider.classify(reply, ask.operation) is not None:
            return None
        try:
            provider.parse(reply, [ask])
        except BadReply:
            return None
        await self._context.journal.asks.record_reply(
            attempt.call_id,
            attempt.request_keys,
            status=status,
            headers=headers,
            body=body,
            latency_ms=attempt.latency_ms or 0,
            request_id=parse_request_id(headers),
        )
        return replace(attempt, cost=None)

    def _is_paid_by(self, pending: PendingAsk, attempt: Attempt) -> bool:
        return attempt.out_id == self._context.out_id and pending.ask.item_id in attempt.item_ids

    def _to_recalled_answer(self, pending: PendingAsk, attempt: Attempt, parsed: Parsed, share: Cost) -> Answer:
        context, is_own = self._context, self._is_paid_by(pending, attempt)
        context.stats.cache_hits += 1
        call_log.log_reuse(pending.ask, context.run_id, attempt.call_id)
        return build_answer(
            context,
            parsed,
            pending.key,
            share if is_own else FREE,
            attempts=attempt.attempt if is_own else 0,
            cached=not is_own,
            request_id=parse_request_id(attempt.reply_headers) or attempt.call_id,
            started_at=attempt.started_at,
            latency_ms=attempt.latency_ms,
        )

    async def _send_with_policy(self, batch: Sequence[PendingAsk]) -> Sequence[Answer]:
        """Send one request for the whole batch, with retries as the policy allows; one Answer per Ask."""
        count = 0
        record: AttemptRecord | None = None

        def keep_record(begun: AttemptRecord) -> None:
            nonlocal record, count
            record, count = begun, count + 1

        async def send_once() -> Sequence[Answer]:
            while True:
                with await self._context.gate.admit(batch[0].key) as admission:
                    answers = await self._send_attempt(batch, count + 1, admission, keep_record)
                if answers is not None:
                    return answers

        def log_retry(error: RetryableError, wait_seconds: float) -> None:
            assert record is not None
            self._context.stats.retried += 1
            is_out = self._context.gate.is_out
            call_log.log_retry(record, error.problem, error.status, None if is_out else wait_seconds)

        try:
            return await send_with_retries(send_once, self._context.policy, log_retry)
        except RetryableError as last:
            assert record is not None
            call_log.log_gave_up(record, last.problem, last.status)
            raise self._to_final_error(last.problem, last.status, count) from None
        except ItemError as error:
            error.attempts, error.request = count, batch[0].key
            raise

    async def _send_attempt(
        self, batch: Sequence[PendingAsk], number: int, admission: Admission, on_record: Callable[[AttemptRecord], None]
    ) -> Sequence[Answer] | None:
        """Reserve the maximum it can cost, wait for a permit, then send once, under the record ``on_record`` gets.

        None where an outage began before it could go: nothing was sent, and it waits at the gate again.
        """
        context, ask = self._context, batch[0].ask
        ceiling = sum_usages(p.ask.ceiling for p in batch)
        max_usd = context.pricing.ceiling(ask.model, ask.operation, ceiling)
        limiter = context.limiter_for(ask)
        with await context.budget.reserve(max_usd) as reservation:
            with reservation.release_on_error():
                permit = await self._acquire_permit(limiter, ceiling, is_retry=number > 1)
            if not admission.may_go():
                limiter.release(permit, "unused")
                reservation.release()
                return None
            task = asyncio.current_task()
            self._on_wire[task] = batch[0].wire.repeatable
            record = AttemptRecord(context, batch, max_usd, reservation)
            on_record(record)
            attempt = WireAttempt(context, batch[0].wire, record)
            try:
                answers = await attempt.send(number, limiter, permit, admission)
            finally:
                del self._on_wire[task]
            return await attempt.await_created_job(number) if answers is None else answers

    async def _acquire_permit(self, limiter: Limiter, ceiling: Usage, *, is_retry: bool) -> Permit:
        """Wait for a permit; raises where the run is to end by then."""
        permit = await limiter.acquire(ceiling, is_retry=is_retry)
        try:
            self._context.check_stop()
        except BaseException:
            limiter.release(permit, "unused")
            raise
        return permit

    async def _resume_job(self, pending: PendingAsk, attempt: Attempt, remote_id: str) -> Answer:
        """Look up a job that an earlier process created; it is never created again."""
        context, max_usd = self._context, attempt.cost_max
        with context.budget.resume(max_usd) as reservation:
            record = AttemptRecord(context, [pending], max_usd, reservation, attempt.call_id)
            resumed = WireAttempt(context, pending.wire, record)
            return (await resumed.follow_job(remote_id, await context.resolve_origin(pending.wire)))[0]

    @staticmethod
    def _to_final_error(problem: Problem, status: int | None, attempts: int) -> CallFailed:
        error = CallFailed(
            problem.message, kind=problem.kind, transient=True, status=status, hint=problem.hint or "run again later"
        )
        error.attempts = attempts
        return error
