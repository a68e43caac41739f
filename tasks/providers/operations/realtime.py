"""Operations over a websocket: its configuration, the request that opens a session, and what the session's end means.

The messages of a session are in ``realtime_transcription`` and ``realtime_tts``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import urlencode

import orjson
from pydantic import Field

from mediamill.tasks.domain import JSON
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.providers.errors.classify import classify_error
from mediamill.tasks.providers.errors.error_body import find_error, read_error_phrase, read_status_line, redact_line
from mediamill.tasks.providers.errors.lenient_json import read_json
from mediamill.tasks.providers.operations.base import API_STYLE, ModelFacts, StrictModel
from mediamill.tasks.providers.provider_info import ProviderInfo
from mediamill.tasks.websocket_session import CLOSED, OVER, REFUSED, SOCKET_HEADER, UnreadableMessage, WebsocketSession
from mediamill.tasks.wire import Problem, Reply, Request, Verdict, Wire

Transport = Literal["http", "socket"]

_EXTRA_TIMEOUT_SECONDS = 60.0
_BY_CLOSE_CODE: Mapping[int, tuple[Verdict, str]] = {
    1002: ("fail", "bad_request"),
    1003: ("fail", "bad_request"),
    1007: ("fail", "bad_request"),
    1008: ("fail", "bad_request"),
    1009: ("fail", "too_large"),
    1013: ("retry", "overloaded"),
    4503: ("retry", "overloaded"),
}
"""What close codes mean (RFC 6455; 4503 is Together's: no worker available).

After all of these nothing was done. Other codes are temporary failures, after which something may have been done."""

_STATUS_BY_CLOSE_CODE = {3000: 401, 3003: 403, 3008: 408}
"""Registered codes (IANA), and the HTTP statuses that they are."""
_FIRST_OWN_CODE = 4000
"""Above it a server's own codes begin; many are 4000 and an HTTP status."""

_OTHER_MODEL_HINT = "choose another --model, or a dedicated endpoint's with --base-url"

_NO_ACCESS_HINT = "the key's account or plan has no access; choose another --model or --provider"


class SocketConfig(StrictModel):
    """A provider's websocket for an operation: its path, its API style and its limits."""

    path: str
    api_style: Literal["together", "vllm", "xai"] = Field(
        validation_alias=API_STYLE, default="together", description="the provider whose message format it uses"
    )
    max_seconds: float | None = Field(default=None, description="maximum number of seconds of audio in one session")
    min_deadline: float = Field(default=120.0, description="minimum number of seconds that a session may take")
    deadline_share: float = Field(
        default=1.5, description="additional seconds per second of audio; some servers only work in real time"
    )
    ahead: float = Field(
        default=30.0, description="seconds of audio sent ahead of what the server says it has processed"
    )
    quiet: float = Field(default=30.0, description="seconds without a message after which the audio holds no speech")
    settle: float = Field(default=2.0, description="seconds without a message after which a result is complete")
    rate: int = Field(default=24_000, description="sample rate in Hz of the speech that it returns")

    def session_timeout(self, seconds: float) -> float:
        """Maximum number of seconds of a session, by the seconds of its audio."""
        return max(self.min_deadline, seconds * self.deadline_share + _EXTRA_TIMEOUT_SECONDS)


class SpeechModel(ModelFacts):
    """A model that recognises or generates speech, over HTTP or a socket."""

    transport: Transport = Field(default="http", description="the transport it uses if the job requests none")

    def abilities(self) -> tuple[str, ...]:
        """What it can do in a few words, and whether it works over a socket only."""
        return (*self.base_abilities(), "socket only") if self.transport == "socket" else self.base_abilities()

    def base_abilities(self) -> tuple[str, ...]:
        """What it can do over any transport."""
        return ()


def choose_socket(
    provider: str, operation: str, socket: SocketConfig | None, facts: SpeechModel, requested: Any
) -> SocketConfig | None:
    """The socket to use; None for HTTP.

    Args:
        provider: its name, for the message.
        operation: its name, for the message.
        socket: the operation's socket, if it has one.
        facts: the facts about the model.
        requested: the requested transport; None for the model's own.

    Raises:
        BadInput: when a socket is requested and the operation has none.
    """
    if (requested or facts.transport) != "socket":
        return None
    if socket is None:
        raise BadInput(
            f"{provider} has no socket for {operation}", kind="bad_request", hint="leave out transport=socket"
        )
    return socket


def build_session_request(wire: Wire, session: WebsocketSession, *, excluded: str) -> Request:
    """The request that opens a session: the settings go in its URL, but for ``left_out``, which is said in it."""
    query = [
        (name, to_form_text(element))
        for name, value in wire.params.items()
        if name != excluded
        for element in (value if isinstance(value, list) else [value])
    ]
    headers = {"OpenAI-Beta": "realtime=v1"}
    return Request("GET", f"{wire.path}?{urlencode(query)}", headers=headers, session=session)


def to_form_text(value: JSON) -> str:
    """A parameter's value as text for a form or a URL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def encode_message(message_type: str, **fields: Any) -> str:
    """A client's message as JSON text."""
    return orjson.dumps({"type": message_type, **fields}).decode()


def decode_message(text: str) -> dict[str, Any]:
    """A message's JSON object.

    Raises:
        UnreadableMessage: when it is not a JSON object.
    """
    try:
        content = read_json(text)
    except ValueError:
        raise UnreadableMessage("a message that is not JSON") from None
    if not isinstance(content, dict):
        raise UnreadableMessage("a message that is not a JSON object")
    return content


def read_json_message(message: bytes) -> str | None:
    """A binary message that is the text of a JSON object; None for any other."""
    try:
        text = message.decode()
    except UnicodeDecodeError:
        return None
    return text if text.lstrip().startswith("{") else None


def reports_failure(frame: Mapping[str, Any], failures: Collection[str]) -> bool:
    """True for a message that reports a failure: by its type, or an error that has no type."""
    message_type = str(frame.get("type") or "")
    if not message_type:
        return find_error({"error": frame.get("error")}) is not None
    return message_type in failures or message_type.endswith(".error")


def classify_session(
    provider: ProviderInfo, reply: Reply, *, billable: Collection[str], failures: Collection[str]
) -> Problem | None:
    """What a session's end means; None for a session that completed.

    Args:
        provider: the provider of the session.
        reply: the kept messages.
        billable: types of messages after which work was done and may be billed.
        failures: types of messages that report a failure.
    """
    end = reply.socket_end or ""
    if end == REFUSED:
        return _classify_refused_handshake(provider, reply)
    try:
        frames = parse_frames(reply.body)
    except BadReply:
        frames = []
    failure = next((frame for frame in frames if reports_failure(frame, failures)), None)
    if failure is not None:
        problem = _classify_failure_message(provider, reply, failure)
    elif end == OVER:
        return None
    else:
        problem = _classify_close(provider, end)
    if problem.verdict == "stop" or not any(str(frame.get("type")) in billable for frame in frames):
        return problem
    return replace(problem, verdict="unknown", billed=True)


def suggest_socket(provider: str, problem: Problem | None) -> Problem | None:
    """The problem, with a hint to use a socket if the model refuses uploads ("only supports WebSocket streaming")."""
    if problem is None or "websocket" not in problem.message.lower():
        return problem
    hint = f"--set transport=socket, or the model with `transport: socket` in configs/providers/{provider}.yaml"
    return replace(problem, verdict="stop", kind="socket_only", hint=hint)


def parse_frames(body: bytes) -> list[dict[str, Any]]:
    """The kept messages of a socket's reply.

    Raises:
        BadReply: when a line is not a JSON object.
    """
    frames = []
    for line in body.split(b"\n"):
        if not line:
            continue
        try:
            frame = read_json(line)
        except ValueError:
            raise BadReply("a message from the socket is not JSON") from None
        if not isinstance(frame, dict):
            raise BadReply("a message from the socket is not a JSON object")
        frames.append(frame)
    return frames


def _classify_failure_message(provider: ProviderInfo, reply: Reply, frame: Mapping[str, Any]) -> Problem:
    """Classify a failure message like the same error over HTTP."""
    error = frame.get("error") or {"message": frame.get("message"), "code": frame.get("code")}
    classified = classify_error(provider, Reply(200, reply.headers, orjson.dumps({"error": error})))
    problem = classified or Problem("retry", "server_error", "")
    message = problem.message.removeprefix(f"{provider.name} answered 200 with an error: ")
    return replace(problem, message=f"{provider.name} reported on the socket: {message or 'it failed'}")


def _classify_refused_handshake(provider: ProviderInfo, reply: Reply) -> Problem:
    """Classify a refused handshake. Nothing was sent, so nothing is billed (provider docs: 404 and 403)."""
    http_reply = Reply(reply.status, {k: v for k, v in reply.headers.items() if k != SOCKET_HEADER}, reply.body)
    problem = classify_error(provider, http_reply)
    message = problem.message if problem else ""
    if reply.status == HTTPStatus.NOT_FOUND:
        return Problem(
            "stop", "no_model", f"{message}; the model has no socket here, or is dedicated", hint=_OTHER_MODEL_HINT
        )
    if reply.status < HTTPStatus.BAD_REQUEST or problem is None:
        text = f"{provider.name} answered {reply.status} where a socket should have opened"
        return Problem("stop", "not_found", text, hint="check --base-url: there is no such socket")
    if reply.status == HTTPStatus.FORBIDDEN:
        return replace(problem, verdict="stop", kind="forbidden", billed=False, hint=_NO_ACCESS_HINT)
    return replace(problem, billed=False)


def _classify_close(provider: ProviderInfo, end: str) -> Problem:
    """What a close code means, or a reason that says it in words, or an HTTP status that the code is made of."""
    end_kind, _, rest = end.partition(" ")
    code, _, reason = rest.partition(" ")
    number = int(code) if code.isdecimal() else 0
    explanation = f" ({redact_line(reason)})" if reason else ""
    text = f"{provider.name} closed the socket early, code {code or 'none'}{explanation}"
    status = read_status_line(reason) or read_error_phrase(reason) or _STATUS_BY_CLOSE_CODE.get(number)
    if status is None and number not in _BY_CLOSE_CODE and 400 <= number - _FIRST_OWN_CODE < 600:  # noqa: PLR2004
        status = number - _FIRST_OWN_CODE
    if status is not None:
        body = orjson.dumps({"error": {"message": reason}})
        classified = classify_error(provider, Reply(status, {}, body))
        if classified is not None:
            return replace(classified, message=text)
    verdict, kind = _BY_CLOSE_CODE.get(number, ("retry", "server_error"))
    if end_kind == CLOSED and number not in _BY_CLOSE_CODE:
        return Problem("unknown", kind, text, billed=True)
    return Problem(verdict, kind, text)
