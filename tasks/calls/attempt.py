"""One attempt on the wire. However it ends, that is on record before anything else happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

from mediamill.tasks import fault_injection
from mediamill.tasks.calls import call_log
from mediamill.tasks.calls.admission import Admission
from mediamill.tasks.calls.attempt_record import AttemptRecord
from mediamill.tasks.calls.call_context import CallContext, parse_request_id
from mediamill.tasks.calls.failure_streak import FailureStreak
from mediamill.tasks.calls.hang_detector import OVERDUE
from mediamill.tasks.calls.rate_limiter import Limiter, Permit
from mediamill.tasks.calls.remote_jobs import JobFailed, RunningJob
from mediamill.tasks.calls.response_times import estimate_seconds, measure_work
from mediamill.tasks.calls.retry import RetryableError, is_transient_status
from mediamill.tasks.calls.server_deaths import ServerDeaths
from mediamill.tasks.calls.settlement import build_answer, parse_reply, split_cost
from mediamill.tasks.calls.transport_errors import NotSent, TransportError
from mediamill.tasks.domain import Answer
from mediamill.tasks.errors import (
    AccountStopped,
    BadReply,
    CallFailed,
    MediamillError,
    ProviderDown,
    RunStopped,
    UnknownOutcome,
)
from mediamill.tasks.journal.transitions import ClaimLost
from mediamill.tasks.retry_after import MAX_WAIT
from mediamill.tasks.wire import Problem, RateLimits, Reply, Request, Wire

_PACED_KINDS = frozenset({"overloaded", "rate_limit"})
"""Kinds of refusals that tell the limiter of the provider's limits."""
LOOK_UP_HINT = (
    "look for it at the provider, then: mediamill retry OUT --only unknown (of a promotion: --promote --only unknown)"
)


class WireAttempt:
    """One request for one or more Asks, sent once, and what its reply means.

    Args:
        context: what the call needs of its run.
        wire: how the Asks are sent.
        record: the attempt in the journal and in the budget.
    """

    def __init__(self, context: CallContext, wire: Wire, record: AttemptRecord) -> None:
        self._context = context
        self._wire = wire
        self._record = record
        self._asks = record.asks
        self._remote_job: tuple[str, str] | None = None
        self._streak: FailureStreak | None = None

    async def send(
        self, number: int, limiter: Limiter, permit: Permit, admission: Admission
    ) -> Sequence[Answer] | None:
        """Send the request once, as attempt ``number`` (from 1), and tell ``admission`` what that says of the provider.

        Returns:
            The answers; None where a job was created, whose end :meth:`await_created_job` waits for.

        Raises:
            RetryableError: when the policy may send again.
            ItemError, RunStopped: when it may not.
        """
        outcome = "error"
        limits: RateLimits | None = None
        problem: Problem | None = None
        self._context.stats.in_flight += 1
        try:
            if self._context.server_deaths is None:
                origin, reply = await self._exchange(number, permit, admission)
            else:
                origin, reply = await self._exchange_with_built_in_server(
                    number, permit, admission, self._context.server_deaths
                )
            limits = self._context.provider.parse_rate_limits(reply)
            problem = self._context.provider.classify(reply, self._asks[0].operation)
            outcome = problem.kind if problem else "ok"
            self._streak = admission.report(problem, reply.status)
            if problem is not None:
                raise await self._record_refusal(reply, problem)
            if self._wire.job:
                remote_id = await self._find_job_id(reply)
                await self._record.mark_accepted(remote_id)
                self._remote_job = remote_id, origin
            else:
                await self._record.mark_replied(reply)
        except ClaimLost:
            outcome = "unused"
            raise
        finally:
            self._context.stats.in_flight -= 1
            is_out = self._context.gate.is_out  # then the gate decides, and an outage is no overload
            wait = min(problem.wait, MAX_WAIT) if problem and problem.wait is not None and not is_out else None
            limiter.release(permit, "error" if is_out and outcome in _PACED_KINDS else outcome, limits, wait)
        return None if self._remote_job else await self._settle_reply(reply, number)

    async def _find_job_id(self, reply: Reply) -> str:
        """The id in the reply to a create request; where it names none, the job failed at once, or is not known."""
        provider, operation = self._context.provider, self._asks[0].operation
        try:
            return provider.parse_job_id(reply, operation)
        except BadReply as error:
            poll = provider.parse_poll(reply, operation)
            problem = poll.problem if poll.state == "failed" else None
            problem = problem or Problem("unknown", "bad_body", error.message, billed=True)
        raise await self._record_refusal(reply, problem)

    async def await_created_job(self, number: int) -> Sequence[Answer]:
        """Wait for the job that :meth:`send` created, and return its answers."""
        assert self._remote_job is not None
        return await self.follow_job(*self._remote_job, number)

    async def follow_job(self, remote_id: str, origin: str, number: int = 1) -> Sequence[Answer]:
        """Poll a created job until it has ended. Its id is durable, so a later run can poll it too.

        Raises:
            CallFailed: when the job failed, or is still running at its timeout (then it stays accepted).
            RunStopped: when the run is to end; the job stays accepted.
        """
        job = RunningJob(self._context, self._wire, self._asks[0], remote_id, origin)
        stats, began_at = self._context.stats, time.monotonic()
        stats.running_jobs += 1
        try:
            reply = await self._context.poller.wait_until_ended(job.look_up, job.first_wait)
        except JobFailed as error:
            raise await self._record_refusal(error.reply, error.problem) from None
        except RetryableError as error:  # its server is gone, and the job with it
            await self._record.mark_rejected(error.problem)
            raise
        finally:
            stats.running_jobs -= 1
        stats.jobs_ended += 1
        stats.job_seconds += time.monotonic() - began_at
        await self._record.mark_replied(reply)
        return await self._settle_reply(reply, number)

    async def _exchange(self, number: int, permit: Permit, admission: Admission) -> tuple[str, Reply]:
        """Send the request and record how that went; the address it went to, and the reply."""
        origin, request = await self._build_request()
        await self._record.mark_sending(number, permit.wait)
        deaths = self._context.server_deaths
        with nullcontext() if deaths is None else deaths.wait_for(origin):
            return origin, await self._send_request(number, origin, request, admission)

    async def _exchange_with_built_in_server(
        self, number: int, permit: Permit, admission: Admission, deaths: ServerDeaths
    ) -> tuple[str, Reply]:
        async with deaths.admit(self._record.keys[0]):
            origin, reply = await self._exchange(number, permit, admission)
        deaths.record_answer(self._record.keys[0])
        return origin, reply

    async def _build_request(self) -> tuple[str, Request]:
        """Origin and request. Nothing is on record or on the wire yet, so a failure releases the reservation."""
        with self._record.reservation.release_on_error():
            try:
                origin = await self._context.resolve_origin(self._wire)
            except RunStopped as stop:
                raise self._stop_run(stop) from None
            return origin, self._context.provider.build_request(self._wire, self._asks)

    async def _send_request(self, number: int, origin: str, request: Request, admission: Admission) -> Reply:
        context, record = self._context, self._record
        try:
            async with context.slots:
                if not admission.may_go():
                    raise NotSent("provider_out", "not sent, because the provider does not answer")
                context.stats.sent += 1
                admission.start(self._measure_work_seconds())
                record.start_clock()
                timeout_seconds = context.timeout or self._wire.timeout
                send = partial(
                    context.client.send,
                    origin,
                    request,
                    key=context.key,
                    timeout_seconds=timeout_seconds,
                    sends_pings=context.server_deaths is None,
                )
                if self._may_abandon(request):
                    reply = await context.hang_detector.watch(
                        lambda report: send(report=report),
                        key=record.keys[0],
                        size=measure_work(ceilings := [ask.ceiling for ask in self._asks]),
                        host=urlsplit(origin).netloc,
                        is_last=number > context.policy.max_retries and not context.gate.is_out,
                        estimated_seconds=None if context.provider.endpoint.is_own else estimate_seconds(ceilings),
                    )
                else:
                    reply = await send()
        except TransportError as error:
            raise await self._record_loss(origin, error, admission) from None
        except MediamillError as error:  # before the first byte: a file that is gone, a key no header can carry
            problem = Problem("fail", "not_sent", error.message)
            await record.mark_rejected(problem)
            call_log.log_final_failure("not_sent", record, problem)
            raise
        except asyncio.CancelledError:
            problem = Problem("unknown", "cancelled", "cut off while the run was stopping")
            await asyncio.shield(record.mark_unknown(problem))
            call_log.log_final_failure("reply_lost", record, problem)
            raise
        fault_injection.failpoint("call.wire.after")
        return reply

    def _may_abandon(self, request: Request) -> bool:
        """Whether the request may be sent again when it hangs. What could be bought twice gets all its time.

        A websocket has pings, and a built-in server on a busy machine is slow rather than hanging.
        """
        return self._wire.repeatable and request.session is None and self._context.server_deaths is None

    def _measure_work_seconds(self) -> float:
        """The length of the audio, as which a built-in engine may take; hosted ones answer within seconds."""
        if self._context.server_deaths is None:
            return 0.0
        return sum(float(ask.ceiling.audio_seconds or 0) for ask in self._asks)

    async def _settle_reply(self, reply: Reply, number: int) -> Sequence[Answer]:
        """Parse the reply and turn its usage into cost; one Answer per Ask."""
        context, record = self._context, self._record
        fault_injection.failpoint("call.replied.after")
        try:
            parsed = parse_reply(context, reply, self._asks)
        except BadReply as error:
            call_log.log_bad_reply(record, error.kind)
            raise
        share = split_cost(await record.settle(parsed), len(self._asks))
        return [
            build_answer(
                context,
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

    async def _record_loss(self, origin: str, error: TransportError, admission: Admission) -> Exception:
        """Record that no reply came; the exception to raise for it.

        The death of a built-in server is no outage: another is started.
        """
        deaths = self._context.server_deaths
        died = await deaths.explain_loss(origin, self._record.keys[0], error) if deaths else None
        if died is not None or isinstance(error, NotSent):
            problem = died or Problem("retry", error.kind, error.message)
            if died is None:
                self._streak = admission.report(problem) or self._context.gate.outage
            await self._record.mark_rejected(problem)
            if problem.verdict == "retry":
                return self._to_retryable(problem)
            call_log.log_final_failure("refused", self._record, problem)
            if problem.verdict == "stop":
                return self._stop_run(ProviderDown(problem.message, hint=problem.hint))
            return CallFailed(problem.message, kind=problem.kind, hint=problem.hint, transient=True)
        wait = 0.0 if error.kind == OVERDUE else None
        problem = Problem("unknown", error.kind, error.message, billed=True, wait=wait)
        self._streak = admission.report(problem)
        return await self._record_unknown(problem)

    async def _record_refusal(self, reply: Reply, problem: Problem) -> Exception:
        """Record an error reply; the exception to raise for it."""
        self._context.stats.rate_limited += reply.status == HTTPStatus.TOO_MANY_REQUESTS
        if problem.verdict == "stop" and problem.billed:
            await self._record.mark_unknown(problem, reply)
            return self._to_error(problem, reply.status)
        if problem.billed or problem.verdict == "unknown":
            return await self._record_unknown(problem, reply)
        await self._record.mark_rejected(problem, reply)
        if problem.verdict == "retry":
            return self._to_retryable(problem, reply.status)
        call_log.log_final_failure("refused", self._record, problem, reply.status)
        return self._to_error(problem, reply.status)

    async def _record_unknown(self, problem: Problem, reply: Reply | None = None) -> Exception:
        """Record an attempt that may have been billed although no answer came; the exception to raise for it."""
        await self._record.mark_unknown(problem, reply)
        status = reply.status if reply else None
        if self._wire.repeatable:
            return self._to_retryable(problem, status)
        call_log.log_final_failure("reply_lost", self._record, problem, status)
        billed = "" if self._context.pricing.billing.free else " and billed"
        message = f"the request may have been carried out{billed}; its answer was lost: {problem.message}"
        return UnknownOutcome(message, status=status, hint=LOOK_UP_HINT)

    def _to_retryable(self, problem: Problem, status: int | None = None) -> RetryableError:
        is_alone = problem.kind not in _PACED_KINDS and self._context.gate.is_suspect(self._record.keys[0])
        return RetryableError(problem, status, self._streak, is_alone=is_alone)

    def _to_error(self, problem: Problem, status: int) -> Exception:
        if problem.verdict != "stop":
            is_transient = is_transient_status(status)
            error = CallFailed(
                problem.message, kind=problem.kind, status=status, hint=problem.hint, transient=is_transient
            )
            error.max_seconds = problem.max_seconds
            return error
        stop = AccountStopped(problem.message, hint=problem.hint)
        stop.kind = problem.kind
        return self._stop_run(stop)

    def _stop_run(self, stop: RunStopped) -> RunStopped:
        """End the run before the permit is given back, so that no other request is sent to fail for the same reason."""
        self._context.request_stop(stop)
        return stop
