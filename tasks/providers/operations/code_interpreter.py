"""Code interpreters: code runs in a session that keeps its state (provider docs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import Field

from mediamill.tasks.domain import JSON, Ask, Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.money.per_unit import UnitMeter
from mediamill.tasks.providers.errors.lenient_json import read_json
from mediamill.tasks.providers.operations.base import ModelFacts, Operation, OperationConfig, to_parsed
from mediamill.tasks.providers.operations.reply_json import to_list
from mediamill.tasks.wire import Parsed, Problem, Reply, Request, Wire

CODE_INTERPRETER = "code_interpreter"
"""The operation's name, also in price lists."""

_GROUP_FIELD = "group"
"""The field that keeps Asks apart which start a session: equal code starts one session for each group."""


class InterpreterModel(ModelFacts):
    """A code interpreter (provider docs)."""

    session_seconds: float = Field(default=1800, gt=0, description="seconds that a session lives after its start")
    languages: tuple[str, ...] = ("python",)
    local: bool = Field(default=False, description="runs on this machine, which the user has to permit")

    def abilities(self) -> tuple[str, ...]:
        """Running code."""
        return ("runs code",)


class InterpreterConfig(OperationConfig[InterpreterModel]):
    """A code interpreter's endpoint."""

    deadline: float = Field(default=120.0, gt=0, description="maximum number of seconds of an attempt")


class CodeInterpreterOperation(Operation[InterpreterConfig, InterpreterModel]):
    """``POST /tci/execute``. An Ask's params hold ``code``, ``language``, ``session_id``, ``files`` and ``group``.

    Never repeatable: it is not known what an attempt without a reply changed in its session.
    """

    config_model = InterpreterConfig
    facts_model = InterpreterModel
    meter = UnitMeter()

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the fields that are set."""
        body: dict[str, JSON] = {"language": ask.params.get("language") or "python", "code": ask.params["code"]}
        for name in ("session_id", "files", _GROUP_FIELD):
            if ask.params.get(name):
                body[name] = ask.params[name]
        origin = self.provider.key_origin(ask.model)
        return Wire(origin, self.path, body, repeatable=False, timeout=self.config.deadline)

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The body, without the group, which only keeps request keys apart."""
        return Request("POST", wire.path, json={name: v for name, v in wire.params.items() if name != _GROUP_FIELD})

    def classify(self, reply: Reply) -> Problem | None:
        """Code that fails is a success: a 200 with ``errors``, or with outputs of type ``error``."""
        if reply.status == 200 and _parse_session(reply.body) is not None:  # noqa: PLR2004
            return None
        return super().classify(reply)

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """``session_id``, ``outputs`` (``type`` and ``data``: text, or texts by MIME type), ``error`` or None.

        Raises:
            BadReply: when the reply names no session.
        """
        data = _parse_session(reply.body)
        if data is None:
            raise BadReply("the reply names no session")
        outputs = [
            {"type": str(output.get("type") or ""), "data": output.get("data")}
            for output in to_list(data.get("outputs"))
            if isinstance(output, dict)
        ]
        began_session = asks[0].params.get("session_id") != data["session_id"]
        answer = {
            "session_id": data["session_id"],
            "outputs": outputs,
            "error": _find_code_error(reply.body, data, outputs),
        }
        return [to_parsed(reply, answer, Usage(sessions=int(began_session), requests=1))]


def _parse_session(body: bytes) -> Mapping[str, Any] | None:
    """The reply's data if it names a session; otherwise None."""
    try:
        content = read_json(body)
    except ValueError:
        return None
    data = content.get("data") if isinstance(content, dict) else None
    return data if isinstance(data, dict) and isinstance(data.get("session_id"), str) else None


def _find_code_error(body: bytes, data: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the code failed; None if it did not. Errors stand beside the data, in it or in an output (provider docs)."""
    errors = read_json(body).get("errors") or data.get("errors")
    if errors:
        return "\n".join(map(_to_text, errors if isinstance(errors, list) else [errors]))
    failed = [_to_text(output["data"] or "the code failed") for output in outputs if output["type"] == "error"]
    return "\n".join(failed) if failed else None


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
