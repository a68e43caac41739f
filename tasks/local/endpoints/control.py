"""The server's own endpoints: its health, bill, faults and limits."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, fields, replace
from typing import Any

import orjson
from aiohttp import web

from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.local.faults.fault_rules import parse_fault_rules
from mediamill.tasks.local.server.middleware import build_json_reply
from mediamill.tasks.local.server.rate_limits import RateLimiter, RateLimitSettings
from mediamill.tasks.local.server.request_guard import check_media_type
from mediamill.tasks.local.server.server_state import ServerState

_PAGE_CALLS = 10_000


async def show_health(state: ServerState, _: web.Request) -> web.Response:
    """That the server is up, and which engine transcribes."""
    engine = state.asr_engine
    return build_json_reply({"status": "ok", "engine": engine.identity, "simulated": engine.simulated})


async def show_bill(state: ServerState, request: web.Request) -> web.Response:
    """The bill's totals, and at most ``limit`` calls from index ``offset`` on."""
    try:
        offset, limit = (
            max(0, int(request.query.get(n, d)[:18])) for n, d in (("offset", "0"), ("limit", str(_PAGE_CALLS)))
        )
    except ValueError:
        return _build_bad_request("offset and limit must be whole numbers")
    return build_json_reply(state.bill.read_page(offset, min(limit, _PAGE_CALLS)))


async def replace_faults(state: ServerState, request: web.Request) -> web.Response:
    """Replace the fault rules."""
    check_media_type(request, "application/json")
    try:
        state.fault_rules = parse_fault_rules(orjson.loads(await request.read()))
    except (orjson.JSONDecodeError, UsageError) as error:
        return _build_bad_request(str(error))
    return build_json_reply({"rules": len(state.fault_rules)})


async def change_limits(state: ServerState, request: web.Request) -> web.Response:
    """Change the given limits; all limits start unused."""
    check_media_type(request, "application/json")
    try:
        settings = _change_limits(state.limiter.settings, orjson.loads(await request.read()))
    except (orjson.JSONDecodeError, UsageError) as error:
        return _build_bad_request(str(error))
    state.limiter = RateLimiter(settings, asyncio.get_running_loop().time)
    return build_json_reply(asdict(settings))


async def reset_state(state: ServerState, request: web.Request) -> web.Response:
    """Clear the bill, the jobs and the fault rules; limits start unused, and the random numbers from the seed."""
    check_media_type(request, "application/json")
    state.reset()
    return build_json_reply({"reset": True})


def _change_limits(settings: RateLimitSettings, given: Any) -> RateLimitSettings:
    known = [f.name for f in fields(RateLimitSettings)]
    if not isinstance(given, dict):
        raise UsageError("limits must be an object")
    for name, value in given.items():
        if name not in known:
            raise NoSuchOption("limit", name, known)
        if name != "limiter" and value is not None and not (isinstance(value, int | float) and value > 0):
            raise UsageError(f"{name} must be a number above 0, or null")
        if name == "limiter" and value not in ("bucket", "window"):
            raise UsageError("limiter must be bucket or window")
    return replace(settings, **given)


def _build_bad_request(message: str) -> web.Response:
    return build_json_reply(
        {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}, 400
    )
