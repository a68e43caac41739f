"""``POST tci/execute``: code run in sessions, in Together's shape (provider docs)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
from aiohttp import web

from mediamill.tasks.local.chat.answers import echoes
from mediamill.tasks.local.endpoints.json_endpoint import Made, Told, refuse_others, serve, text_of
from mediamill.tasks.local.server.api_error import Refusal
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.server_state import Desk, Exchange

_INPUTS = frozenset({"code", "files"})
_FIELDS = frozenset({"language", "code", "session_id", "files"})
_MODEL = "code-interpreter"


async def interpret(desk: Desk, request: web.BaseRequest, dialect: Dialect) -> web.StreamResponse:
    """Answer one request to run code, whatever it holds."""
    reply: web.StreamResponse = await serve(desk, request, dialect, _INPUTS, _run)
    return reply


async def list_sessions(desk: Desk, _: web.BaseRequest) -> web.Response:
    """The sessions that live."""
    told = [
        {
            "id": one.id,
            "execute_count": one.executed,
            "started_at": _moment(one.started),
            "last_execute_at": _moment(one.last),
            "expires_at": _moment(one.expires),
        }
        for one in desk.sessions.listed()
    ]
    body = orjson.dumps({"data": {"sessions": told}, "errors": None})
    return web.Response(body=body, headers={"content-type": "application/json"})


async def _run(desk: Desk, exchange: Exchange, told: Told) -> Made:
    refuse_others(told, _FIELDS)
    exchange.call.model = _MODEL
    if told.get("language", "python") != "python":
        raise Refusal("bad_value", "language must be python", param="language")
    code = text_of(told, "code")
    named = told.get("session_id")
    pretend = echoes(desk.settings.engine)
    session = await desk.sessions.find(named if isinstance(named, str) else None, pretend=pretend)
    desk.sessions.put(session, told.get("files") or ())
    outputs = _echoed(code) if pretend else await desk.sessions.run(session, code)
    session.executed += pretend
    data = {"session_id": session.id, "status": "success", "outputs": outputs}
    charge = partial(desk.bill.charge_pieces, name="sessions", count=int(named is None))
    engine = "echo-1" if pretend else "python-1"
    return Made({"data": data, "errors": None}, engine, charge, simulated=pretend)


def _echoed(code: str) -> list[dict[str, Any]]:
    """What an engine says that runs nothing: the first line, or that it failed where that line raises."""
    first = code.strip().splitlines()[0][:200]
    if first.startswith("raise"):
        return [{"type": "error", "data": first.removeprefix("raise").strip() or "RuntimeError"}]
    return [{"type": "stdout", "data": f"{first}\n"}]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
