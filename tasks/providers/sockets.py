"""The socket half of a provider: which models take it, what is asked there, and what its end means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

import orjson

from mediamill.tasks.domain import JSON, Ask, Usage
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.providers.envelopes import clean
from mediamill.tasks.providers.hearing import HEARD, HEARINGS, LOST, RATE, number
from mediamill.tasks.providers.speaking import TTS
from mediamill.tasks.providers.talking import SPOKEN, Talking
from mediamill.tasks.providers.transcription import normalised
from mediamill.tasks.providers.verdicts import judge
from mediamill.tasks.websocket_session import CLOSED, OVER, REFUSED, SOCKET
from mediamill.tasks.wire import Endpoint, Parsed, Problem, Reply, Request, Verdict, Wire

if TYPE_CHECKING:
    from mediamill.tasks.providers.config import ModelFacts, Operation, ProviderConfig, Socket
    from mediamill.tasks.providers.voices import Voice

_EXTRA = 60.0
_SPOKEN_SECONDS = 0.1
_FAILED = frozenset({LOST, "conversation.item.tts.failed", "error"})
_PAID = frozenset({HEARD, SPOKEN, "transcript.partial", "transcript.done", "transcription.done"})
_CODES: Mapping[int, tuple[Verdict, str]] = {
    1002: ("fail", "bad_request"),
    1003: ("fail", "bad_request"),
    1007: ("fail", "bad_request"),
    1008: ("fail", "bad_request"),
    1009: ("fail", "too_large"),
    1013: ("retry", "overloaded"),
    4503: ("retry", "overloaded"),
}
"""What close codes mean (RFC 6455; 4503 is Together's: no worker here, try elsewhere).

All of them say that nothing was done. Others are passing failures, after which something may have been."""

_ELSEWHERE = "choose another --model, or a dedicated endpoint's with --base-url"

_NO_ACCESS = "the key's account or plan has no access; choose another --model or --provider"


class SocketProvider:
    """Models that answer on a socket only, and those that are asked to."""

    name: ClassVar[str]
    config: ProviderConfig
    endpoint: Endpoint

    def _socket(self, operation: str, model: str, asked: Any) -> Socket | None:
        """The socket to use; None where HTTP is.

        Raises:
            BadInput: when a socket is asked for where there is none.
        """
        facts = self._operation(operation)
        chosen = asked or self._facts(facts, model).transport
        if chosen != "socket":
            return None
        if facts.socket is None:
            raise BadInput(
                f"{self.name} has no socket for {operation}", kind="bad_request", hint="leave out transport=socket"
            )
        return facts.socket

    def _socket_wire(self, ask: Ask, socket: Socket) -> Wire:
        speaks = ask.operation == TTS
        seconds = float(ask.ceiling.audio_seconds or 0)
        if speaks:
            seconds = (ask.ceiling.characters or 0) * _SPOKEN_SECONDS
        return Wire(
            origin=self._key_origin(ask.model),
            path=self.endpoint.api + socket.path,
            params=self._talking_params(ask, socket) if speaks else self._hearing_params(ask, socket),
            encoding="socket",
            repeatable=self.config.free or not speaks,
            deadline=max(socket.least_deadline, seconds * socket.deadline_share + _EXTRA),
        )

    def _socket_request(self, wire: Wire, ask: Ask) -> Request:
        """The session's settings go in the URL, the rest is said."""
        socket = self._operation(ask.operation).socket
        assert socket is not None
        if ask.operation == TTS:
            return self._asked(wire, "text", Talking(str(wire.params["text"]), socket))
        payload = ask.inputs[0].payload
        assert payload is not None
        return self._asked(wire, "prompt", HEARINGS[socket.shape](payload, socket, wire.params))

    @staticmethod
    def _asked(wire: Wire, said: str, talk: Any) -> Request:
        query = [
            (name, _text(one))
            for name, value in wire.params.items()
            if name != said
            for one in (value if isinstance(value, list) else [value])
        ]
        headers = {"OpenAI-Beta": "realtime=v1"}
        return Request("GET", f"{wire.path}?{urlencode(query)}", headers=headers, talk=talk)

    def _hearing_params(self, ask: Ask, socket: Socket) -> dict[str, JSON]:
        asked, facts = ask.params, self._facts(self._operation(ask.operation), ask.model)
        if asked.get("diarize") and socket.shape != "xai":
            raise BadInput(
                f"{self.name} does not tell speakers apart with {ask.model} on a socket",
                kind="bad_request",
                hint="leave out --diarize or choose another provider or model",
            )
        if asked.get("temperature"):
            raise _lacks(ask.model, "temperature")
        params: dict[str, JSON] = {"model": ask.model}
        language = self._language(ask.model, facts, asked)
        if language is not None and socket.shape != "vllm":
            params["language"] = language
        if socket.shape == "xai":
            params.update(sample_rate=RATE, encoding="pcm", interim_results=False)
            if asked.get("diarize"):
                params["diarize"] = True
        elif socket.shape == "together":
            params.update(input_audio_format=f"pcm_s16le_{RATE}", turn_detection="none")
        if asked.get("prompt"):
            if socket.shape != "together" or not facts.prompt:
                raise _lacks(ask.model, "prompt")
            params["prompt"] = asked["prompt"]
        return params

    def _talking_params(self, ask: Ask, socket: Socket) -> dict[str, JSON]:
        asked, voice = ask.params, self._voice(ask.model)
        params: dict[str, JSON] = {"model": ask.model, "text": asked["text"]}
        chosen = asked.get("voice") or voice.default_voice
        if chosen:
            params["voice"] = chosen
        params.update(self._settings(ask.model, voice, asked))
        if asked.get("sample_rate") is not None and voice.sample_rate:
            params["sample_rate"] = asked["sample_rate"]
        return params

    def _socket_heard(self, reply: Reply, ask: Ask) -> Sequence[Parsed]:
        """The transcript; what is paid for is the sound that was sent, for nothing on the socket tells it.

        Raises:
            BadReply: when a kept message is none of the wire's.
        """
        data, _ = normalised(orjson.dumps(_transcript(frames_of(reply.body), ask)))
        usage = Usage(audio_seconds=ask.ceiling.audio_seconds, requests=1)
        engine = reply.headers.get("x-mediamill-engine")
        return [Parsed(data, usage, engine, reply.headers.get("x-mediamill-simulated") == "true")]

    def _socket_problem(self, reply: Reply) -> Problem | None:
        """What a socket's end means; None for a conversation that came to its own."""
        end = reply.socket_end or ""
        if end == REFUSED:
            return _refused(self.name, self.endpoint.key_env, reply)
        try:
            frames = frames_of(reply.body)
        except BadReply:
            frames = []
        paid = any(frame.get("type") in _PAID for frame in frames)
        failed = next((frame for frame in frames if frame.get("type") in _FAILED), None)
        if failed is not None:
            problem = self._failed(reply, failed)
        elif end == OVER:
            return None
        else:
            problem = _closed(self.name, end)
        if not paid or problem.verdict == "stop":
            return problem
        return replace(problem, verdict="unknown", billed=True)

    def _failed(self, reply: Reply, frame: Mapping[str, Any]) -> Problem:
        """A failure that was told is judged as the same error from HTTP would be."""
        error = frame.get("error") or {"message": frame.get("message"), "code": frame.get("code")}
        said = judge(self.name, self.endpoint.key_env, Reply(200, reply.headers, orjson.dumps({"error": error})))
        problem = said or Problem("retry", "server_error", "")
        message = problem.message.removeprefix(f"{self.name} answered 200 with an error: ")
        return replace(problem, message=f"{self.name} said on the socket: {message or 'it failed'}")

    def _socket_only(self, problem: Problem | None) -> Problem | None:
        """A model that refuses uploads ("only supports WebSocket streaming"), told by the setting that reaches it."""
        if problem is None or "websocket" not in problem.message.lower():
            return problem
        hint = f"--set transport=socket, or the model with `transport: socket` in configs/providers/{self.name}.yaml"
        return replace(problem, verdict="stop", kind="socket_only", hint=hint)

    def _operation(self, operation: str) -> Operation:
        raise NotImplementedError

    def _facts(self, operation: Operation, model: str) -> ModelFacts:
        raise NotImplementedError

    def _key_origin(self, model: str) -> str:
        raise NotImplementedError

    def _language(self, model: str, facts: ModelFacts, asked: Mapping[str, JSON]) -> str | None:
        raise NotImplementedError

    def _voice(self, model: str) -> Voice:
        raise NotImplementedError

    def _settings(self, model: str, voice: Voice, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        raise NotImplementedError


def frames_of(body: bytes) -> list[dict[str, Any]]:
    """The kept messages of a socket's reply.

    Raises:
        BadReply: when a line is no JSON object.
    """
    frames = []
    for line in body.split(b"\n"):
        if not line:
            continue
        try:
            frame = orjson.loads(line)
        except ValueError:
            raise BadReply("a message from the socket is not JSON") from None
        if not isinstance(frame, dict):
            raise BadReply("a message from the socket is no JSON object")
        frames.append(frame)
    return frames


def _transcript(frames: Sequence[Mapping[str, Any]], ask: Ask) -> dict[str, Any]:
    """A conversation's transcript in the shape of a reply by HTTP.

    Together's utterances have a start and a duration by a clock of the server's own; one that runs past the
    sound that was sent is not believed. A single utterance is the whole sound; of several they are told only where
    all have times, for a part without a place is none.
    """
    length = float(ask.ceiling.audio_seconds or 0)
    told: dict[str, Any] = {"duration": length or None, "language": ask.params.get("language")}
    done = next((f for f in frames if f.get("type") in ("transcription.done", "transcript.done")), {})
    parts: list[dict[str, Any]] = []
    words: list[Any] = []
    for frame in frames:
        if frame.get("type") not in (HEARD, "transcript.partial"):
            continue
        text = frame.get("transcript", frame.get("text"))
        start, duration = number(frame.get("start")), number(frame.get("duration"))
        known = start is not None and duration is not None and start + duration <= length + 1
        end = start + duration if known and start is not None and duration is not None else None
        part = {"text": str(text or "").strip(), "start": start if known else None, "end": end}
        parts += [part] if part["text"] else []
        words += frame["words"] if isinstance(frame.get("words"), list) else []
    if len(parts) == 1 and parts[0]["start"] is None:
        parts[0] |= {"start": 0.0, "end": length}
    whole = done.get("text")
    text = whole if isinstance(whole, str) and whole else " ".join(str(p["text"]) for p in parts)
    placed = all(part["start"] is not None for part in parts)
    return {**told, "text": text, "segments": parts if placed else [], "words": words}


def _refused(provider: str, key_env: str | None, reply: Reply) -> Problem:
    """A handshake that was answered otherwise. Nothing was sent, so nothing is billed (provider docs: 404 and 403)."""
    plain = Reply(reply.status, {k: v for k, v in reply.headers.items() if k != SOCKET}, reply.body)
    problem = judge(provider, key_env, plain)
    said = problem.message if problem else ""
    if reply.status == HTTPStatus.NOT_FOUND:
        return Problem("stop", "no_model", f"{said}; the model has no socket here, or is dedicated", hint=_ELSEWHERE)
    if reply.status < HTTPStatus.BAD_REQUEST or problem is None:
        message = f"{provider} answered {reply.status} where a socket should have opened"
        return Problem("stop", "not_found", message, hint="check --base-url: there is no such socket")
    if reply.status == HTTPStatus.FORBIDDEN:
        return replace(problem, verdict="stop", kind="forbidden", billed=False, hint=_NO_ACCESS)
    return replace(problem, billed=False)


def _closed(provider: str, end: str) -> Problem:
    way, _, told = end.partition(" ")
    code, _, reason = told.partition(" ")
    number_told = int(code) if code.isdecimal() else 0
    verdict, kind = _CODES.get(number_told, ("retry", "server_error"))
    words = f" ({clean(reason)})" if reason else ""
    message = f"{provider} closed the socket early, code {code or 'none'}{words}"
    if way == CLOSED and number_told not in _CODES:
        return Problem("unknown", kind, message, billed=True)
    return Problem(verdict, kind, message)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _lacks(model: str, what: str) -> BadInput:
    return BadInput(f"{model} takes no {what} on a socket", kind="bad_request", hint=f"leave out --{what}")
