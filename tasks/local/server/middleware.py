"""From any request to its reply: read, worked out, refused, broken or sent, and settled on the bill."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from mediamill.tasks.local.faults.fault_replies import send_broken
from mediamill.tasks.local.faults.fault_rules import UNANSWERED, UNCOMPUTED, Fault
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.request_body import Body, read_body
from mediamill.tasks.local.server.server_state import Desk, Exchange, dwell, faulted, refused

Work: TypeAlias = Callable[[Desk, Exchange, Body], Awaitable[web.StreamResponse]]


async def answered(
    desk: Desk, request: web.BaseRequest, dialect: Dialect, most_bytes: int, work: Work, *, translating: bool = False
) -> web.StreamResponse:
    """Answer one request, whatever it holds.

    Args:
        desk: what requests share.
        request: as it came.
        dialect: whose error wording it gets.
        most_bytes: longest body that is read.
        work: makes the reply, or refuses to.
        translating: what is heard is also translated.
    """
    exchange = Exchange(request, dialect, desk.bill.begin(request.path), translating)
    try:
        with await read_body(request, most_bytes) as body:
            return await work(desk, exchange, body)
    except Refusal as refusal:
        return refused(desk, exchange, refusal)
    finally:
        desk.bill.end()


async def sent(desk: Desk, exchange: Exchange, fault: Fault | None, reply: web.Response) -> web.StreamResponse:
    """Settle a reply that is worked out and charged, and send it when its time has come, or break it."""
    await dwell(desk, exchange)
    if fault is None:
        desk.bill.settle(exchange.call, reply.status)
        return reply
    if fault.kind in UNCOMPUTED:
        return await faulted(desk, exchange, fault)
    desk.bill.settle(exchange.call, 0 if fault.kind in UNANSWERED else reply.status)
    return await send_broken(exchange.request, fault, reply)
