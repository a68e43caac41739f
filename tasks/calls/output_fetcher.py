"""Files that were made and paid for: fetched from their link, and the link anew from the job where it has expired."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mediamill.tasks import fault_injection
from mediamill.tasks.calls.call_context import CallContext
from mediamill.tasks.calls.download import Download
from mediamill.tasks.calls.remote_jobs import look_at
from mediamill.tasks.domain import Ask
from mediamill.tasks.errors import BadInput, BadReply, CallFailed

_MOST_BYTES = 4 * 2**30
_DEADLINE = 1800.0
_RETRIES = 8
_GONE = frozenset({401, 403, 404, 410})
_LINKS = 3
"""Links of one job that are tried; each look at it gives a fresh one."""


class Collector:
    """Fetches what replies link to. Never paid for, so it may be done as often as needed.

    Args:
        line: what the run offers.
    """

    def __init__(self, line: CallContext) -> None:
        self._line = line

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
        for _ in range(_LINKS):
            try:
                return await self._fetched(data, to, await self._line.resolve_origin(self._line.provider.to_wire(ask)))
            except BadInput as error:
                if error.status not in _GONE:
                    raise BadReply(f"the file cannot be fetched: {error.message}", kind="download") from None
            data = await self._again(ask, str(data["job_id"]))
        raise BadReply(
            "every link to the file has expired",
            kind="link_expired",
            hint=f"look for the job {data['job_id']} at the provider; it is paid for and stays on record",
        )

    async def _fetched(self, data: Mapping[str, Any], to: Path, origin: str) -> Download:
        fault_injection.point("collect.before")
        line, content = self._line, data.get("content")
        url = f"{origin}{content}" if content else str(data.get("url") or "")
        return await line.client.download(
            url,
            to,
            max_bytes=_MOST_BYTES,
            deadline=_DEADLINE,
            allow_hosts=(origin.partition("://")[2],),
            retries=_RETRIES,
            key=line.key if content else None,
        )

    async def _again(self, ask: Ask, job_id: str) -> Mapping[str, Any]:
        """The job's data with a fresh link."""
        line = self._line
        line.check_stop()
        wire = line.provider.to_wire(ask)
        reply = await look_at(line, wire, ask, job_id, await line.resolve_origin(wire))
        if reply is None:
            raise CallFailed(
                f"the job {job_id} cannot be looked up now", kind="download", transient=True, hint="run again later"
            )
        if line.provider.parse_poll(reply, ask.operation).state != "done":
            raise BadReply(f"the job {job_id} is told to be unfinished now", kind="job_lost")
        data: Mapping[str, Any] = line.provider.parse(reply, [ask])[0].data
        return data
