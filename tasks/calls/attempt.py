"""One attempt on the wire. Every way it can end is durable before anything else happens."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from mediamill.tasks import fault_injection
from mediamill.tasks.calls.batching import Pending
from mediamill.tasks.calls.call_context import Line, now_us, request_id
from mediamill.tasks.calls.rate_limiter import Limiter, Permit
from mediamill.tasks.calls.remote_jobs import JobFailed, RunningJob
from mediamill.tasks.calls.retry import TryAgain
from mediamill.tasks.calls.settlement import answer, parse, settle, share_of
from mediamill.tasks.calls.transport_errors import Broken, NotSent
from mediamill.tasks.domain import Answer, Ask
from mediamill.tasks.errors import AccountStopped, CallFailed, MediamillError, UnknownOutcome
from mediamill.tasks.journal.transitions import NewAttempt
from mediamill.tasks.money.budget import Reservation
from mediamill.tasks.wire import Problem, RateLimits, Reply, Request

_LOST = "the request may have been carried out and billed; its answer was lost"
LOOK = (
    "look for it at the provider, then: mediamill retry OUT --only unknown (of a promotion: --promote --only unknown)"
)
_PASSING = frozenset({408, 425, 429})
_SERVER_ERRORS = 500


class WireAttempt:
    """One request for one or more Asks, from the reserved budget to the settled cost.

    Args:
        line: what the run offers.
        batch: the Asks of this request, in order.
        most: the most the request can cost; None when that cannot be stated.
        reservation: that much of the budget, held.
        call_id: of an attempt that an earlier process began; a new one otherwise.
    """

    def __init__(
        self,
        line: Line,
        batch: Sequence[Pending],
        most: Decimal | None,
        reservation: Reservation,
        call_id: str | None = None,
    ) -> None:
        self._line = line
        self._asks: list[Ask] = [p.ask for p in batch]
        self._keys = [p.key for p in batch]
        self._wire = batch[0].wire
        self._most = most
        self._reservation = reservation
        self._call_id = call_id or uuid.uuid4().hex
        self._started_at = now_us()
        self._began = time.monotonic()
        self._latency_ms = 0
        self._remote: tuple[str, str] | None = None

    async def run(self, number: int, limiter: Limiter, permit: Permit) -> Sequence[Answer] | None:
        """Send once, as attempt ``number`` (from 1).

        Returns:
            The answers; None where a job was created, which :meth:`created` then follows.

        Raises:
            TryAgain: when the policy may send again.
            ItemError, Stop: when it may not.
        """
        outcome = "error"
        limits: RateLimits | None = None
        problem: Problem | None = None
        self._line.tally.in_flight += 1
        try:
            origin, request = await self._ready()
            await self._sending(number, permit)
            reply = await self._send(origin, request)
            limits = self._line.provider.limits(reply)
            problem = self._without_key(self._line.provider.classify(reply, self._asks[0].operation))
            outcome = problem.kind if problem else "ok"
            self._line.tally.answered += 1
            if problem is not None:
                raise await self._refused(reply, problem)
            if self._wire.job:
                self._remote = await self._accepted(reply), origin
            else:
                await self._keep(reply)
        finally:
            self._line.tally.in_flight -= 1
            limiter.release(permit, outcome, limits, problem.wait if problem else None)
        return None if self._remote else await self._answered(reply, number)

    async def created(self, number: int) -> Sequence[Answer]:
        """The answers of the job that :meth:`run` created."""
        assert self._remote is not None
        return await self.follow(*self._remote, number)

    async def follow(self, remote_id: str, origin: str, number: int = 1) -> Sequence[Answer]:
        """Poll a created job to its end. Its id is durable, so a later run can follow it too.

        Raises:
            CallFailed: when the job failed, or is still running at its deadline (then it stays accepted).
            Stop: when the run is to end; the job stays accepted.
        """
        job = RunningJob(self._line, self._wire, self._asks[0], remote_id, origin)
        tally, began = self._line.tally, time.monotonic()
        tally.running += 1
        try:
            reply = await self._line.poller.watch(job.look, job.first)
        except JobFailed as error:
            raise await self._refused(error.reply, self._without_key(error.problem) or error.problem) from None
        except BaseException:
            self._line.budget.keep(self._reservation)
            raise
        finally:
            tally.running -= 1
        tally.jobs_ended += 1
        tally.job_seconds += time.monotonic() - began
        await self._keep(reply)
        return await self._answered(reply, number)

    @property
    def _deadline(self) -> float:
        return self._line.deadline or self._wire.deadline

    async def _ready(self) -> tuple[str, Request]:
        """Where the request goes, and the request; nothing is on record or on the wire yet."""
        try:
            return await self._line.origin(self._wire), self._line.provider.request(self._wire, self._asks)
        except BaseException:
            self._line.budget.release(self._reservation)
            raise

    async def _sending(self, number: int, permit: Permit) -> None:
        """Make the attempt durable before its first byte leaves."""
        ask = self._asks[0]
        fault_injection.point("call.sending.before")
        attempt = NewAttempt(
            call_id=self._call_id,
            out_id=self._line.out_id,
            run_id=self._line.run_id,
            capability=ask.capability,
            provider=self._line.provider.name,
            model=ask.model,
            operation=ask.operation,
            item_ids=tuple(a.item_id for a in self._asks),
            attempt=number,
            started_at=self._started_at,
            wait_ms=round(permit.wait * 1000),
            cost_max=self._most,
        )
        try:
            await self._line.journal.asks.sending(attempt, self._keys)
        except BaseException:
            self._line.budget.release(self._reservation)
            raise
        self._began = time.monotonic()
        fault_injection.point("call.sending.after")

    async def _send(self, origin: str, request: Request) -> Reply:
        line = self._line
        try:
            async with line.slots:
                line.tally.sent += 1
                self._began = time.monotonic()
                reply = await line.client.send(origin, request, key=line.key, deadline=self._deadline)
        except NotSent as error:
            problem = Problem("retry", error.kind, error.message)
            await self._reject(problem, None)
            raise TryAgain(problem) from None
        except Broken as error:
            raise await self._lost(Problem("unknown", error.kind, error.message, billed=True)) from None
        except MediamillError as error:  # found out just before the first byte: a file that is gone, an impossible key
            await self._reject(Problem("fail", "not_sent", error.message), None)
            raise
        except asyncio.CancelledError:
            await asyncio.shield(self._unknown(Problem("unknown", "cancelled", "cut off while the run was stopping")))
            raise
        except BaseException:
            line.budget.keep(self._reservation)
            raise
        fault_injection.point("call.wire.after")
        return reply

    async def _accepted(self, reply: Reply) -> str:
        remote_id = self._line.provider.accepted(reply, self._asks[0].operation)
        await self._line.journal.asks.accepted(self._call_id, self._keys, remote_id)
        fault_injection.point("call.accepted.after")
        return remote_id

    async def _keep(self, reply: Reply) -> None:
        """The raw reply is durable before anyone parses it, and until then the attempt counts as in flight."""
        self._latency_ms = round((time.monotonic() - self._began) * 1000)
        try:
            await self._line.journal.asks.replied(
                self._call_id,
                self._keys,
                status=reply.status,
                headers=reply.headers,
                body=reply.body,
                latency_ms=self._latency_ms,
                request_id=request_id(reply.headers),
            )
        except BaseException:
            self._line.budget.keep(self._reservation)
            raise

    async def _answered(self, reply: Reply, number: int) -> Sequence[Answer]:
        """The reply is parsed and its usage becomes cost."""
        line = self._line
        try:
            fault_injection.point("call.replied.after")
            parsed = parse(line, reply, self._asks)
            cost = await settle(line, self._call_id, parsed, self._asks[0], self._most)
        except BaseException:
            line.budget.keep(self._reservation)
            raise
        line.budget.settle(self._reservation, cost)
        share = share_of(cost, len(self._asks))
        return [
            answer(
                line,
                part,
                key,
                share,
                attempts=number,
                cached=False,
                request_id=request_id(reply.headers) or self._call_id,
                started_at=self._started_at,
                latency_ms=self._latency_ms,
            )
            for part, key in zip(parsed, self._keys, strict=True)
        ]

    async def _refused(self, reply: Reply, problem: Problem) -> Exception:
        """What an error reply becomes, once it is on record."""
        if problem.billed or problem.verdict == "unknown":
            return await self._lost(problem, reply)
        await self._reject(problem, reply)
        if problem.verdict == "retry":
            return TryAgain(problem, reply.status)
        return self._verdict(problem, reply.status)

    async def _lost(self, problem: Problem, reply: Reply | None = None) -> Exception:
        """What an attempt becomes that may have been billed without an answer."""
        await self._unknown(problem, reply)
        status = reply.status if reply else None
        if self._wire.repeatable:
            return TryAgain(problem, status)
        return UnknownOutcome(f"{_LOST}: {problem.message}", status=status, hint=LOOK)

    def _verdict(self, problem: Problem, status: int) -> Exception:
        if problem.verdict != "stop":
            passing = status in _PASSING or status >= _SERVER_ERRORS
            return CallFailed(problem.message, kind=problem.kind, status=status, hint=problem.hint, transient=passing)
        stop = AccountStopped(problem.message, hint=problem.hint)
        stop.kind = problem.kind
        self._line.halt(stop)  # before the permit is given back, so that nobody else is sent into the same wall
        return stop

    def _without_key(self, problem: Problem | None) -> Problem | None:
        """A server may repeat the key it was sent; nobody else does."""
        key = self._line.key
        if problem is None or not key or key not in problem.message:
            return problem
        return replace(problem, message=problem.message.replace(key, "***"))

    async def _unknown(self, problem: Problem, reply: Reply | None = None) -> None:
        self._line.budget.keep(self._reservation)
        await self._line.journal.asks.unknown(
            self._call_id,
            self._keys,
            kind=problem.kind,
            message=problem.message,
            status=reply.status if reply else None,
            latency_ms=round((time.monotonic() - self._began) * 1000),
        )

    async def _reject(self, problem: Problem, reply: Reply | None) -> None:
        self._line.budget.release(self._reservation)
        await self._line.journal.asks.rejected(
            self._call_id,
            self._keys,
            kind=problem.kind,
            message=problem.message,
            status=reply.status if reply else None,
            latency_ms=round((time.monotonic() - self._began) * 1000),
            request_id=request_id(reply.headers) if reply else None,
        )
