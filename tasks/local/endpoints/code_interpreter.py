"""``POST tci/execute``: code run in sessions, in Together's shape (provider docs)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from aiohttp import web

from mediamill.tasks.local.chat.answers import is_echo_engine
from mediamill.tasks.local.endpoints.json_endpoint import Fields, JsonReply, json_endpoint, refuse_others, text_of
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.middleware import json_reply
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_INPUTS = frozenset({"code", "files"})
_FIELDS = frozenset({"language", "code", "session_id", "files"})
_MODEL = "code-interpreter"


async def list_sessions(state: ServerState, _: web.Request) -> web.Response:
    """The sessions that live."""
    sessions = [
        {
            "id": one.id,
            "execute_count": one.executed,
            "started_at": _moment(one.started),
            "last_execute_at": _moment(one.last),
            "expires_at": _moment(one.expires),
        }
        for one in state.interpreters.listed()
    ]
    return json_reply({"data": {"sessions": sessions}, "errors": None})


async def _run(state: ServerState, context: RequestContext, fields: Fields) -> JsonReply:
    refuse_others(fields, _FIELDS)
    context.call.model = _MODEL
    if fields.get("language", "python") != "python":
        raise ApiError("bad_value", "language must be python", param="language")
    code = text_of(fields, "code")
    named = fields.get("session_id")
    pretend = is_echo_engine(state.settings.engine)
    session = await state.interpreters.find(named if isinstance(named, str) else None, pretend=pretend)
    state.interpreters.put(session, fields.get("files") or ())
    outputs = _echoed(code) if pretend else await state.interpreters.run(session, code)
    session.executed += pretend
    data = {"session_id": session.id, "status": "success", "outputs": outputs}
    charge = partial(state.prices.charge_units, name="sessions", count=int(named is None))
    engine = "echo-1" if pretend else "python-1"
    return JsonReply({"data": data, "errors": None}, charge, engine, simulated=pretend)


def _echoed(code: str) -> list[dict[str, Any]]:
    """What an engine says that runs nothing: the first line, or that it failed where that line raises."""
    first = code.strip().splitlines()[0][:200]
    if first.startswith("raise"):
        return [{"type": "error", "data": first.removeprefix("raise").strip() or "RuntimeError"}]
    return [{"type": "stdout", "data": f"{first}\n"}]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


CODE_INTERPRETER = json_endpoint(_INPUTS, _run)
