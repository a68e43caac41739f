"""One attempt on the wire. Every way it can end is on record before anything else happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from mediamill.tasks import fault_injection
from mediamill.tasks.calls.attempt_record import AttemptRecord
from mediamill.tasks.calls.call_context import CallContext, parse_request_id
from mediamill.tasks.calls.rate_limiter import Limiter, Permit
from mediamill.tasks.calls.remote_jobs import JobFailed, RunningJob
from mediamill.tasks.calls.retry import RetryableError
from mediamill.tasks.calls.settlement import build_answer, parse_reply, split_cost
from mediamill.tasks.calls.transport_errors import NotSent, ReplyLost
from mediamill.tasks.domain import Answer
from mediamill.tasks.errors import AccountStopped, CallFailed, MediamillError, UnknownOutcome
from mediamill.tasks.wire import Problem, RateLimits, Reply, Request, Wire

_LOST = "the request may have been carried out and billed; its answer was lost"
LOOK = (
    "look for it at the provider, then: mediamill retry OUT --only unknown (of a promotion: --promote --only unknown)"
)
_PASSING = frozenset({408, 425, 429})
_SERVER_ERRORS = 500


class WireAttempt:
    """One request for one or more Asks, sent once, and what its reply means.

    Args:
        line: what the run offers.
        wire: how the Asks are sent.
        record: the attempt in the journal and in the budget.
    """

    def __init__(self, line: CallContext, wire: Wire, record: AttemptRecord) -> None:
        self._line = line
        self._wire = wire
        self._record = record
        self._asks = record.asks
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
        self._line.stats.in_flight += 1
        try:
            origin, request = await self._ready()
            await self._record.sending(number, permit.wait)
            reply = await self._send(origin, request)
            limits = self._line.provider.parse_rate_limits(reply)
            problem = self._without_key(self._line.provider.classify(reply, self._asks[0].operation))
            outcome = problem.kind if problem else "ok"
            self._line.stats.answered += 1
            if problem is not None:
                raise await self._refused(reply, problem)
            if self._wire.job:
                remote_id = self._line.provider.parse_job_id(reply, self._asks[0].operation)
                await self._record.accepted(remote_id)
                self._remote = remote_id, origin
            else:
                await self._record.replied(reply)
        finally:
            self._line.stats.in_flight -= 1
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
        tally, began = self._line.stats, time.monotonic()
        tally.running_jobs += 1
        try:
            reply = await self._line.poller.watch(job.look, job.first)
        except JobFailed as error:
            raise await self._refused(error.reply, self._without_key(error.problem) or error.problem) from None
        finally:
            tally.running_jobs -= 1
        tally.jobs_ended += 1
        tally.job_seconds += time.monotonic() - began
        await self._record.replied(reply)
        return await self._answered(reply, number)

    async def _ready(self) -> tuple[str, Request]:
        """Where the request goes, and the request; nothing is on record or on the wire yet."""
        with self._record.reservation.unsent():
            return await self._line.resolve_origin(self._wire), self._line.provider.build_request(
                self._wire, self._asks
            )

    async def _send(self, origin: str, request: Request) -> Reply:
        line, record = self._line, self._record
        try:
            async with line.slots:
                line.stats.sent += 1
                record.start_clock()
                deadline = line.deadline or self._wire.timeout
                reply = await line.client.send(origin, request, key=line.key, deadline=deadline)
        except NotSent as error:
            problem = Problem("retry", error.kind, error.message)
            await record.rejected(problem)
            raise RetryableError(problem) from None
        except ReplyLost as error:
            raise await self._lost(Problem("unknown", error.kind, error.message, billed=True)) from None
        except MediamillError as error:  # found out just before the first byte: a file that is gone, an impossible key
            await record.rejected(Problem("fail", "not_sent", error.message))
            raise
        except asyncio.CancelledError:
            await asyncio.shield(record.unknown(Problem("unknown", "cancelled", "cut off while the run was stopping")))
            raise
        fault_injection.point("call.wire.after")
        return reply

    async def _answered(self, reply: Reply, number: int) -> Sequence[Answer]:
        """The reply is parsed and its usage becomes cost."""
        line, record = self._line, self._record
        fault_injection.point("call.replied.after")
        parsed = parse_reply(line, reply, self._asks)
        share = split_cost(await record.settled(parsed), len(self._asks))
        return [
            build_answer(
                line,
                part,
                key,
                share,
                attempts=number,
                cached=False,
                request_id=parse_request_id(reply.headers) or record.call_id,
                started_at=record.started_at,
                latency_ms=record.latency_ms,
            )
            for part, key in zip(parsed, record.keys, strict=True)
        ]

    async def _refused(self, reply: Reply, problem: Problem) -> Exception:
        """What an error reply becomes, once it is on record."""
        if problem.billed or problem.verdict == "unknown":
            return await self._lost(problem, reply)
        await self._record.rejected(problem, reply)
        if problem.verdict == "retry":
            return RetryableError(problem, reply.status)
        return self._verdict(problem, reply.status)

    async def _lost(self, problem: Problem, reply: Reply | None = None) -> Exception:
        """What an attempt becomes that may have been billed without an answer."""
        await self._record.unknown(problem, reply)
        status = reply.status if reply else None
        if self._wire.repeatable:
            return RetryableError(problem, status)
        return UnknownOutcome(f"{_LOST}: {problem.message}", status=status, hint=LOOK)

    def _verdict(self, problem: Problem, status: int) -> Exception:
        if problem.verdict != "stop":
            passing = status in _PASSING or status >= _SERVER_ERRORS
            return CallFailed(problem.message, kind=problem.kind, status=status, hint=problem.hint, transient=passing)
        stop = AccountStopped(problem.message, hint=problem.hint)
        stop.kind = problem.kind
        self._line.request_stop(stop)  # before the permit is given back, so that nobody else is sent into the same wall
        return stop

    def _without_key(self, problem: Problem | None) -> Problem | None:
        """A server may repeat the key it was sent; nobody else does."""
        key = self._line.key
        if problem is None or not key or key not in problem.message:
            return problem
        return replace(problem, message=problem.message.replace(key, "***"))
