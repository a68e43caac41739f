"""Requests that fetch what was made: they are counted, not billed, and can break as others do."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import orjson
from aiohttp import web

from mediamill.tasks.local.faults.fault_replies import send_fault
from mediamill.tasks.local.faults.fault_rules import UNCOMPUTED, Facts, Fault, pick_reading
from mediamill.tasks.local.media_generation.job_store import Made
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.server_state import Desk, Exchange, check_key


async def met(
    desk: Desk, request: web.BaseRequest, made: Made | None, kinds: Collection[str] = ()
) -> tuple[Fault | None, web.StreamResponse | None]:
    """The fault a request meets, and the reply where nothing is read for it."""
    if not desk.rules:
        return None, None
    model, source = (made.model, made.source) if made is not None else (None, None)
    fault = pick_reading(desk.rules, Facts(request.path, model, None, source), kinds)
    if fault is None:
        return None, None
    await asyncio.sleep(fault.delay)
    return fault, await send_fault(request, fault, {}) if fault.kind in UNCOMPUTED else None


def keyed(desk: Desk, exchange: Exchange) -> web.Response | None:
    """The refusal of a request without the right key; None when it has it."""
    try:
        check_key(desk.settings, exchange)
    except Refusal as refusal:
        return denied(exchange, refusal)
    return None


def denied(exchange: Exchange, refusal: Refusal) -> web.Response:
    """A refusal that is on no bill."""
    status, body = exchange.dialect.error(refusal, exchange.request_id)
    return web.Response(status=status, body=orjson.dumps(body), headers={"content-type": "application/json"})
