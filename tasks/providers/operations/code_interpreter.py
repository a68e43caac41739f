"""Code interpreters: cells of code run in a session that keeps its state (wire facts: provider docs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import Field

from mediamill.tasks.domain import JSON, Ask, Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.money.per_unit import UnitMeter
from mediamill.tasks.providers.operations.base import ModelFacts, Operation, OperationConfig, parsed
from mediamill.tasks.wire import Parsed, Problem, Reply, Request, Wire

CODE_INTERPRETER = "code_interpreter"
"""The operation, as the price list names it."""

_GROUP_FIELD = "group"
"""Whose session an Ask without one begins: equal code begins one for each group."""


class InterpreterModel(ModelFacts):
    """A code interpreter (provider docs)."""

    session_seconds: float = Field(default=1800, gt=0, description="how long a session lives after it began")
    languages: tuple[str, ...] = ("python",)
    local: bool = Field(default=False, description="runs on this machine, which has to be allowed")

    def abilities(self) -> tuple[str, ...]:
        """That it runs code."""
        return ("runs code",)


class InterpreterConfig(OperationConfig[InterpreterModel]):
    """An endpoint that runs code."""

    deadline: float = Field(default=120.0, gt=0, description="seconds an attempt may take")


class CodeInterpreterOperation(Operation[InterpreterConfig, InterpreterModel]):
    """``POST /tci/execute``. An Ask's params hold ``code``, ``language``, ``session_id``, ``files`` and ``group``.

    Never repeatable: what an attempt without an answer did to its session is not known.
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
        """The body; the group only tells the beginnings of sessions apart."""
        return Request("POST", wire.path, json={name: v for name, v in wire.params.items() if name != _GROUP_FIELD})

    def classify(self, reply: Reply) -> Problem | None:
        """Code that fails is an answer; it is told as a 200 with ``errors``, or with outputs of type ``error``."""
        if reply.status == 200 and _parse_session(reply.body) is not None:  # noqa: PLR2004
            return None
        return super().classify(reply)

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """``session_id``, ``outputs`` (each ``type`` and ``data``, text or texts by MIME type), ``error`` or None.

        Raises:
            BadReply: when the reply holds no session.
        """
        data = _parse_session(reply.body)
        if data is None:
            raise BadReply("the reply holds no session")
        outputs = [
            {"type": str(output.get("type") or ""), "data": output.get("data")}
            for output in _list(data.get("outputs"))
            if isinstance(output, dict)
        ]
        began_session = asks[0].params.get("session_id") != data["session_id"]
        answer = {
            "session_id": data["session_id"],
            "outputs": outputs,
            "error": _find_code_error(reply.body, data, outputs),
        }
        return [parsed(reply, answer, Usage(sessions=int(began_session), requests=1))]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _parse_session(body: bytes) -> Mapping[str, Any] | None:
    """The reply's data where it names a session."""
    try:
        content = orjson.loads(body)
    except ValueError:
        return None
    data = content.get("data") if isinstance(content, dict) else None
    return data if isinstance(data, dict) and isinstance(data.get("session_id"), str) else None


def _find_code_error(body: bytes, data: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the code failed: errors stand beside the data, in it, or among the outputs (provider docs)."""
    errors = orjson.loads(body).get("errors") or data.get("errors")
    if errors:
        return "\n".join(map(_to_text, errors if isinstance(errors, list) else [errors]))
    failed = [_to_text(output["data"] or "the code failed") for output in outputs if output["type"] == "error"]
    return "\n".join(failed) if failed else None


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
