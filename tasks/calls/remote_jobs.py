"""A job that runs at a provider: looked up until it ends, at growing intervals, up to its own timeout."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import orjson

from mediamill.tasks.calls import call_log
from mediamill.tasks.calls.call_context import CallContext
from mediamill.tasks.calls.retry import RetryableError
from mediamill.tasks.calls.transport_errors import NotSent, ReplyLost
from mediamill.tasks.domain import Ask
from mediamill.tasks.errors import AccountStopped, CallFailed
from mediamill.tasks.run_log import clean_text
from mediamill.tasks.wire import JOB_ID_HEADER, JOB_STATES_HEADER, Problem, Reply, Wire

_LOOKUP_TIMEOUT_SECONDS = 30.0
_FIRST_WAIT_SECONDS, _MAX_WAIT_SECONDS, _WAIT_GROWTH = 1.0, 30.0, 1.5
_FAILED_LOOKUP_GROWTH = 3.0


class JobFailed(Exception):
    """The provider says that a job failed: its reply, and the problem that reply states."""

    def __init__(self, reply: Reply, problem: Problem) -> None:
        super().__init__(problem.message)
        self.reply = reply
        self.problem = problem


class RunningJob:
    """One job and the states it has gone through.

    Args:
        context: what the call needs of its run.
        wire, ask: the Ask that the job answers, and how it was sent.
        remote_id: the provider's id of the job.
        origin: where it is looked up.
    """

    first_wait = _FIRST_WAIT_SECONDS

    def __init__(self, context: CallContext, wire: Wire, ask: Ask, remote_id: str, origin: str) -> None:
        self._context = context
        self._wire = wire
        self._ask = ask
        self._remote_id = remote_id
        self._origin = origin
        self._began_at = context.lookup_gate.time()
        self._wait = _FIRST_WAIT_SECONDS
        self._states: list[tuple[str, float]] = []
        self._last_problem: Problem | None = None

    async def look_up(self) -> Reply | float:
        """Look the job up once.

        Returns:
            The reply of an ended job, with its id and states in headers; else the seconds until the next look-up.

        Raises:
            JobFailed: when the provider says that it failed.
            CallFailed: when it is still running at its timeout, or cannot be looked up.
            RetryableError: when the built-in server that ran it has ended.
            RunStopped: when the run is to end.
        """
        self._context.check_stop()
        if self._context.lookup_gate.time() - self._began_at > self._wire.job_timeout:
            raise CallFailed(
                f"the job {self._remote_id} is still running after {self._wire.job_timeout:.0f} s"
                + (f"; its state: {clean_text(self._states[-1][0])[:80]}" if self._states else "")
                + (f"; its last look-up: {self._last_problem.message}" if self._last_problem else ""),
                kind="job_running",
                transient=True,
                hint="run again: it is looked up, not bought again",
            )
        self._last_problem = None
        reply = await look_up_job(
            self._context, self._wire, self._ask, self._remote_id, self._origin, on_problem=self._keep_problem
        )
        if reply is None:
            await self._check_server()
            if self._context.lookup_gate.is_out:
                return _FIRST_WAIT_SECONDS  # the gate decides when it is looked up again
            self._wait = min(self._wait * _FAILED_LOOKUP_GROWTH, _MAX_WAIT_SECONDS)
            return self._wait
        poll = self._context.provider.parse_poll(reply, self._ask.operation)
        self._note_status(poll.status)
        if poll.state == "done":
            return replace(reply, headers={**reply.headers, **self._build_job_headers()})
        if poll.state == "failed":
            raise JobFailed(reply, poll.problem or Problem("fail", "job_failed", "the job failed"))
        wait = poll.wait or self._wait
        self._wait = min(self._wait * _WAIT_GROWTH, _MAX_WAIT_SECONDS)
        return wait

    def _keep_problem(self, problem: Problem) -> None:
        self._last_problem = problem

    async def _check_server(self) -> None:
        """Raise where the job ran on a built-in server whose process has ended."""
        deaths = self._context.server_deaths
        if deaths is None:
            return
        lost = NotSent("refused", "the server does not answer")
        problem = await deaths.explain_loss(self._origin, self._remote_id, lost)
        if problem is not None:
            raise RetryableError(problem)

    def _note_status(self, status: str) -> None:
        if not self._states or self._states[-1][0] != status:
            self._states.append((status, round(self._context.lookup_gate.time() - self._began_at, 1)))

    def _build_job_headers(self) -> dict[str, str]:
        return {JOB_ID_HEADER: self._remote_id, JOB_STATES_HEADER: orjson.dumps(self._states).decode()}


async def look_up_job(
    context: CallContext,
    wire: Wire,
    ask: Ask,
    remote_id: str,
    origin: str,
    *,
    on_problem: Callable[[Problem], None] = lambda _: None,
) -> Reply | None:
    """Look a job up once; None when that failed and the next look-up may succeed. ``on_problem`` gets the error reply.

    Raises:
        CallFailed: when the provider does not know the job.
        AccountStopped: when the provider refuses the account.
        RunStopped: when the run is to end.
    """
    request = context.provider.build_poll_request(wire, remote_id, ask.operation)
    with await context.lookup_gate.admit(remote_id) as admission:
        admission.start()
        send = partial(context.client.send, origin, request, key=context.key, timeout_seconds=_LOOKUP_TIMEOUT_SECONDS)
        deaths = context.server_deaths
        try:
            with nullcontext() if deaths is None else deaths.wait_for(origin):
                reply = await send()
        except (NotSent, ReplyLost) as error:
            call_log.log_failed_lookup(ask, context.run_id, remote_id, error.kind, None)
            if deaths is None or await deaths.explain_loss(origin, remote_id, error) is None:
                admission.report(Problem("retry", error.kind, error.message))
            return None  # the death of a built-in server is no outage: another is started
        problem = context.provider.classify(reply, ask.operation)
        admission.report(problem, reply.status)
    if problem is None:
        return reply
    if problem.verdict in ("retry", "unknown"):
        call_log.log_failed_lookup(ask, context.run_id, remote_id, problem.kind, reply.status)
        on_problem(problem)
        return None
    if problem.kind in ("auth", "credits", "forbidden"):
        stop = AccountStopped(problem.message, hint=problem.hint)
        stop.kind = problem.kind
        context.request_stop(stop)
        raise stop
    raise CallFailed(
        f"the job {remote_id} cannot be looked up: {problem.message}",
        kind="job_lost",
        status=reply.status,
        hint="look for it at the provider; it stays on record, and another run looks again",
    )
