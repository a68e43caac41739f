"""Files that were made and paid for: fetched from their link, and the link anew from the job where it has expired."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mediamill.tasks import fault_injection
from mediamill.tasks.calls.call_context import CallContext
from mediamill.tasks.calls.download import Download
from mediamill.tasks.calls.remote_jobs import look_up_job
from mediamill.tasks.domain import Ask
from mediamill.tasks.errors import BadInput, BadReply, CallFailed

_MAX_BYTES = 4 * 2**30
_DEADLINE_SECONDS = 1800.0
_MAX_RETRIES = 8
_GONE_STATUSES = frozenset({401, 403, 404, 410})
_MAX_LINKS = 3
"""Links of one job that are tried; each look at it gives a fresh one."""


class OutputFetcher:
    """Fetches what replies link to. Never paid for, so it may be done as often as needed.

    Args:
        line: what the run offers.
    """

    def __init__(self, line: CallContext) -> None:
        self._context = line

    async def __call__(self, ask: Ask, data: Mapping[str, Any], to: Path) -> Download:
        """The file of a finished job, whole, in ``to``.

        Args:
            ask: what was asked for.
            data: the answer's data: ``job_id``, and ``url`` or ``content``, a path of the provider's API.
            to: appears only when it is whole.

        Raises:
            BadReply: ``link_expired`` when no link of the job works any more.
            CallFailed: when a later run may succeed.
        """
        for _ in range(_MAX_LINKS):
            try:
                return await self._download(
                    data, to, await self._context.resolve_origin(self._context.provider.to_wire(ask))
                )
            except BadInput as error:
                if error.status not in _GONE_STATUSES:
                    raise BadReply(f"the file cannot be fetched: {error.message}", kind="download") from None
            data = await self._renew_link(ask, str(data["job_id"]))
        raise BadReply(
            "every link to the file has expired",
            kind="link_expired",
            hint=f"look for the job {data['job_id']} at the provider; it is paid for and stays on record",
        )

    async def _download(self, data: Mapping[str, Any], to: Path, origin: str) -> Download:
        fault_injection.failpoint("collect.before")
        context, content = self._context, data.get("content")
        url = f"{origin}{content}" if content else str(data.get("url") or "")
        return await context.client.download(
            url,
            to,
            max_bytes=_MAX_BYTES,
            deadline=_DEADLINE_SECONDS,
            allow_hosts=(origin.partition("://")[2],),
            retries=_MAX_RETRIES,
            key=context.key if content else None,
        )

    async def _renew_link(self, ask: Ask, job_id: str) -> Mapping[str, Any]:
        """The job's data with a fresh link."""
        context = self._context
        context.check_stop()
        wire = context.provider.to_wire(ask)
        reply = await look_up_job(context, wire, ask, job_id, await context.resolve_origin(wire))
        if reply is None:
            raise CallFailed(
                f"the job {job_id} cannot be looked up now", kind="download", transient=True, hint="run again later"
            )
        if context.provider.parse_poll(reply, ask.operation).state != "done":
            raise BadReply(f"the job {job_id} is told to be unfinished now", kind="job_lost")
        data: Mapping[str, Any] = context.provider.parse(reply, [ask])[0].data
        return data
