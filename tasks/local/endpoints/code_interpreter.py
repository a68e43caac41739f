"""``POST tci/execute``: runs code in sessions, in Together's form (provider docs)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from aiohttp import web

from mediamill.tasks.local.chat.answers import is_echo_engine
from mediamill.tasks.local.endpoints.json_endpoint import (
    Fields,
    JsonReply,
    make_json_endpoint,
    read_text_field,
    refuse_unknown_fields,
)
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.middleware import build_json_reply
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_INPUTS = frozenset({"code", "files"})
_FIELDS = frozenset({"language", "code", "session_id", "files"})
_MODEL = "code-interpreter"


async def list_sessions(state: ServerState, _: web.Request) -> web.Response:
    """The running sessions."""
    sessions = [
        {
            "id": one.id,
            "execute_count": one.n_executed,
            "started_at": _format_iso_time(one.started_at),
            "last_execute_at": _format_iso_time(one.last_used_at),
            "expires_at": _format_iso_time(one.expires_at),
        }
        for one in state.interpreters.list_sessions()
    ]
    return build_json_reply({"data": {"sessions": sessions}, "errors": None})


async def _run_code(state: ServerState, context: RequestContext, fields: Fields) -> JsonReply:
    refuse_unknown_fields(fields, _FIELDS)
    context.call.model = _MODEL
    if fields.get("language", "python") != "python":
        raise ApiError("bad_value", "language must be python", param="language")
    code = read_text_field(fields, "code")
    session_id = fields.get("session_id")
    simulated = is_echo_engine(state.settings.engine)
    session = await state.interpreters.find_or_start(
        session_id if isinstance(session_id, str) else None, simulated=simulated
    )
    await state.interpreters.write_files(session, fields.get("files") or ())
    outputs = _simulate_outputs(code) if simulated else await state.interpreters.run(session, code)
    session.n_executed += simulated
    data = {"session_id": session.id, "status": "success", "outputs": outputs}
    charge = partial(state.prices.charge_units, name="sessions", count=int(session_id is None))
    engine = "echo-1" if simulated else "python-1"
    return JsonReply({"data": data, "errors": None}, charge, engine, simulated=simulated)


def _simulate_outputs(code: str) -> list[dict[str, Any]]:
    """Outputs of an engine that runs nothing: the first line, or an error when that line raises one."""
    first = code.strip().splitlines()[0][:200]
    if first.startswith("raise"):
        return [{"type": "error", "data": first.removeprefix("raise").strip() or "RuntimeError"}]
    return [{"type": "stdout", "data": f"{first}\n"}]


def _format_iso_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


CODE_INTERPRETER = make_json_endpoint(_INPUTS, _run_code)
