"""A job that runs at a provider: looked at until it ends, at widening intervals, up to its own deadline."""

from __future__ import annotations

import time
from dataclasses import replace

import orjson

from mediamill.tasks.calls.call_context import CallContext
from mediamill.tasks.calls.transport_errors import NotSent, ReplyLost
from mediamill.tasks.domain import Ask
from mediamill.tasks.errors import AccountStopped, CallFailed
from mediamill.tasks.wire import JOB_ID_HEADER, JOB_STATES_HEADER, Problem, Reply, Wire

_LOOKUP_DEADLINE_SECONDS = 30.0
_FIRST_WAIT_SECONDS, _MAX_WAIT_SECONDS, _WAIT_GROWTH = 1.0, 30.0, 1.5
_FAILED_LOOKUP_GROWTH = 3.0


class JobFailed(Exception):
    """The provider says that a job failed; its reply, and what it means."""

    def __init__(self, reply: Reply, problem: Problem) -> None:
        super().__init__(problem.message)
        self.reply = reply
        self.problem = problem


class RunningJob:
    """One job and what is known of it.

    Args:
        line: what the run offers.
        wire, ask: what was asked for.
        remote_id: the provider's name for it.
        origin: where it is asked about.
    """

    first_wait = _FIRST_WAIT_SECONDS

    def __init__(self, line: CallContext, wire: Wire, ask: Ask, remote_id: str, origin: str) -> None:
        self._context = line
        self._wire = wire
        self._ask = ask
        self._remote_id = remote_id
        self._origin = origin
        self._began_at = time.monotonic()
        self._wait = _FIRST_WAIT_SECONDS
        self._states: list[tuple[str, float]] = []

    async def look_up(self) -> Reply | float:
        """The reply of an ended job, with the states it went through in a header; else seconds to the next look.

        Raises:
            JobFailed: when the provider says so.
            CallFailed: when it is still running at its deadline, or cannot be looked up.
            RunStopped: when the run is to end.
        """
        self._context.check_stop()
        if time.monotonic() - self._began_at > self._wire.job_timeout:
            raise CallFailed(
                f"the job {self._remote_id} is still running after {self._wire.job_timeout:.0f} s",
                kind="job_running",
                transient=True,
                hint="run again: it is looked up, not bought again",
            )
        reply = await look_up_job(self._context, self._wire, self._ask, self._remote_id, self._origin)
        if reply is None:
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

    def _note_status(self, status: str) -> None:
        if not self._states or self._states[-1][0] != status:
            self._states.append((status, round(time.monotonic() - self._began_at, 1)))

    def _build_job_headers(self) -> dict[str, str]:
        return {JOB_ID_HEADER: self._remote_id, JOB_STATES_HEADER: orjson.dumps(self._states).decode()}


async def look_up_job(context: CallContext, wire: Wire, ask: Ask, remote_id: str, origin: str) -> Reply | None:
    """One look at a job; None when it brought nothing and the next may.

    Raises:
        CallFailed: when the provider does not know the job.
        AccountStopped: when it does not let the account look.
    """
    request = context.provider.build_poll_request(wire, remote_id, ask.operation)
    try:
        reply = await context.client.send(origin, request, key=context.key, deadline=_LOOKUP_DEADLINE_SECONDS)
    except (NotSent, ReplyLost):
        return None
    problem = context.provider.classify(reply, ask.operation)
    if problem is None:
        return reply
    if problem.verdict in ("retry", "unknown"):
        return None
    message = problem.message.replace(context.key, "***") if context.key else problem.message
    if problem.kind in ("auth", "credits", "forbidden"):
        stop = AccountStopped(message, hint=problem.hint)
        stop.kind = problem.kind
        context.request_stop(stop)
        raise stop
    raise CallFailed(
        f"the job {remote_id} cannot be looked up: {message}",
        kind="job_lost",
        status=reply.status,
        hint="look for it at the provider; it stays on record, and another run looks again",
    )
