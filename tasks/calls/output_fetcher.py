"""Generated files: downloaded from their link, which is renewed from the job where it has expired."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mediamill.tasks import fault_injection
from mediamill.tasks.calls.call_context import CallContext
from mediamill.tasks.calls.download import Download
from mediamill.tasks.calls.remote_jobs import look_up_job
from mediamill.tasks.calls.server_deaths import build_output_lost_error
from mediamill.tasks.domain import Ask
from mediamill.tasks.errors import BadInput, BadReply, CallFailed

_MAX_BYTES = 4 * 2**30
_TIMEOUT_SECONDS = 1800.0
_MAX_RETRIES = 8
_GONE_STATUSES = frozenset({401, 403, 404, 410})
_MAX_LINKS = 3
"""How many links of one job are tried; each look-up of the job gives a new one."""


class OutputFetcher:
    """Downloads what replies link to. It costs nothing, so it may be done as often as needed.

    Args:
        context: what the call needs of its run.
    """

    def __init__(self, context: CallContext) -> None:
        self._context = context

    async def __call__(self, ask: Ask, data: Mapping[str, Any], destination: Path) -> Download:
        """Download the file of a finished job.

        Args:
            ask: the Ask that the job answers.
            data: the answer's data: ``job_id``, and ``url`` or ``content``, a path of the provider's API.
            destination: the file; it appears only when it is complete.

        Raises:
            BadReply: ``link_expired`` when no link of the job works any more; ``output_lost`` when the built-in
                server that had the file has ended.
            CallFailed: when a later run may succeed.
        """
        for _ in range(_MAX_LINKS):
            try:
                return await self._download_from_living_server(ask, data, destination)
            except BadInput as error:
                if error.status not in _GONE_STATUSES:
                    raise BadReply(f"the file cannot be fetched: {error.message}", kind="download") from None
            data = await self._renew_link(ask, str(data["job_id"]))
        raise BadReply(
            "every link to the file has expired",
            kind="link_expired",
            hint=f"look for the job {data['job_id']} at the provider; it is paid for and stays on record",
        )

    async def _download_from_living_server(self, ask: Ask, data: Mapping[str, Any], destination: Path) -> Download:
        context, wire = self._context, self._context.provider.to_wire(ask)
        origin, url = await context.resolve_origin(wire), data.get("url")
        if context.server_deaths is None:
            return await self._download(data, destination, origin)
        if url and not data.get("content") and not str(url).startswith(f"{origin}/"):
            raise build_output_lost_error()
        try:
            with context.server_deaths.wait_for(origin):
                return await self._download(data, destination, origin)
        except CallFailed:
            if await context.resolve_origin(wire) != origin:
                raise build_output_lost_error() from None
            raise

    async def _download(self, data: Mapping[str, Any], destination: Path, origin: str) -> Download:
        fault_injection.failpoint("collect.before")
        context, content = self._context, data.get("content")
        url = f"{origin}{content}" if content else str(data.get("url") or "")
        return await context.client.download(
            url,
            destination,
            max_bytes=_MAX_BYTES,
            timeout_seconds=_TIMEOUT_SECONDS,
            allow_hosts=(origin.partition("://")[2],),
            max_retries=_MAX_RETRIES,
            key=context.key if content else None,
        )

    async def _renew_link(self, ask: Ask, job_id: str) -> Mapping[str, Any]:
        """Look up the job again; its data, with a new link."""
        context = self._context
        context.check_stop()
        wire = context.provider.to_wire(ask)
        try:
            reply = await look_up_job(context, wire, ask, job_id, await context.resolve_origin(wire))
        except CallFailed:
            if context.server_deaths is not None:  # another process made it
                raise build_output_lost_error() from None
            raise
        if reply is None:
            raise CallFailed(
                f"the job {job_id} cannot be looked up now", kind="download", transient=True, hint="run again later"
            )
        if context.provider.parse_poll(reply, ask.operation).state != "done":
            raise BadReply(f"the provider now says that the job {job_id} is unfinished", kind="job_lost")
        data: Mapping[str, Any] = context.provider.parse(reply, [ask])[0].data
        return data
