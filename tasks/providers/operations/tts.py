"""Text to speech: a JSON request in OpenAI's format with audio or events back, or a websocket (provider docs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Literal

from pydantic import Field

from mediamill.tasks.domain import JSON, Ask
from mediamill.tasks.errors import BadInput
from mediamill.tasks.money.speech import SpeechMeter
from mediamill.tasks.providers.errors.classify import classify_error
from mediamill.tasks.providers.operations.base import Operation, OperationConfig, to_parsed
from mediamill.tasks.providers.operations.realtime import (
    SocketConfig,
    SpeechModel,
    build_session_request,
    choose_socket,
    classify_session,
    suggest_socket,
)
from mediamill.tasks.providers.operations.realtime_tts import BILLABLE_TYPES, FAILURE_TYPES, TtsSession
from mediamill.tasks.providers.operations.tts_reply import (
    classify_speech_stream,
    holds_audio,
    is_event_stream,
    parse_speech,
)
from mediamill.tasks.wire import Parsed, Problem, Reply, Request, Wire

TTS = "tts"
"""The operation's name, also in price lists."""

AudioFormat = Literal["mp3", "wav", "flac", "opus", "pcm"]
"""Formats by names that are the same for every provider; ``pcm`` is 16-bit little-endian without a header."""

LOSSLESS_FORMATS: tuple[AudioFormat, ...] = ("wav", "pcm", "flac")

_CHARACTERS_PER_SECOND = 10
_EXTRA_TIMEOUT_SECONDS = 60.0
_ACCEPT_HEADER = "audio/*, application/octet-stream;q=0.9, */*;q=0.5"


class TtsModel(SpeechModel):
    """A text-to-speech model (provider docs)."""

    formats: Mapping[AudioFormat, str] = Field(
        default_factory=dict,
        description="its output formats, the preferred one first, with the provider's names for them",
    )
    voices: tuple[str, ...] = ()
    default_voice: str | None = None
    max_characters: int = Field(default=4096, gt=0, description="maximum number of characters in one request")
    speed: tuple[float, float] | None = Field(
        default=None, description="slowest and fastest speed; null if it cannot be set"
    )
    instructions: bool = False
    language: bool = False
    default_language: str | None = Field(
        default=None, description="the language to send if the job sets none and the provider requires one"
    )
    sample_rate: bool = Field(default=False, description="accepts a sample rate")
    pcm_rate: int = Field(default=24_000, description="sample rate in Hz of headerless PCM if none is requested")
    stream: Literal["together", "openai"] | None = Field(
        default=None, description="the provider whose fields request a stream"
    )
    per_minute: bool = Field(default=False, description="priced per minute of speech, because replies state no tokens")
    program: str | None = Field(default=None, description="the program on PATH that the built-in provider runs")

    def choose_lossless_format(self) -> AudioFormat:
        """A lossless format, so that joining pieces loses nothing; its preferred format if it has none."""
        return next(
            (audio_format for audio_format in LOSSLESS_FORMATS if audio_format in self.formats),
            next(iter(self.formats)),
        )

    def base_abilities(self) -> tuple[str, ...]:
        """Speech, and its formats."""
        return ("speech", *(name for name in self.formats if name != "pcm"))


class TtsConfig(OperationConfig[TtsModel]):
    """A text-to-speech endpoint."""

    min_deadline: float = Field(default=120.0, description="minimum number of seconds that an attempt may take")
    deadline_share: float = Field(default=0.1, description="additional seconds per second of speech")
    socket: SocketConfig | None = Field(default=None, description="its websocket, for transport=socket")


class TtsOperation(Operation[TtsConfig, TtsModel]):
    """``POST /audio/speech``. Unset parameters are not sent, so the provider's defaults apply.

    Not repeatable if it costs money: a second request would be a second purchase.
    """

    config_model = TtsConfig
    facts_model = TtsModel
    meter = SpeechMeter()

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the body, or the socket and its parameters.

        Raises:
            BadInput: when the model cannot do what the Ask requests.
        """
        facts, config = self.model_facts(ask.model), self.config
        characters = ask.ceiling.characters or 0
        origin, repeatable = self.provider.key_origin(ask.model), self.provider.free
        transport = ask.params.get("transport")
        socket = choose_socket(self.provider.name, self.name, config.socket, facts, transport)
        seconds = characters / _CHARACTERS_PER_SECOND
        if socket is not None:
            return Wire(
                origin=origin,
                path=self.provider.endpoint.api + socket.path,
                params=_build_session_params(ask, facts),
                encoding="socket",
                repeatable=repeatable,
                timeout=socket.session_timeout(seconds),
            )
        return Wire(
            origin=origin,
            path=self.path,
            params=self.build_body(ask.model, facts, ask.params),
            repeatable=repeatable,
            timeout=max(config.min_deadline, seconds * config.deadline_share + _EXTRA_TIMEOUT_SECONDS),
        )

    def build_body(self, model: str, facts: TtsModel, params: Mapping[str, JSON]) -> dict[str, JSON]:
        """The body with OpenAI's field names.

        Raises:
            BadInput: when the model does not support a parameter.
        """
        body: dict[str, JSON] = {"model": model, "input": params["text"]}
        voice = params.get("voice") or facts.default_voice
        if voice:
            body["voice"] = voice
        audio_format = parse_format(params)
        body["response_format"] = facts.formats[audio_format]
        body.update(build_voice_fields(model, facts, params))
        if params.get("sample_rate") is not None and facts.sample_rate:
            body["sample_rate"] = params["sample_rate"]
        if audio_format == "pcm" and facts.stream == "together":
            body["response_encoding"] = "pcm_s16le"
        if params.get("stream"):
            body.update({"stream": True} if facts.stream == "together" else {"stream_format": "sse"})
        return body

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The parameters as the body; a session gets the text in a message and the rest in its URL."""
        if wire.encoding == "socket":
            assert self.config.socket is not None
            session = TtsSession(str(wire.params["text"]), self.config.socket)
            return build_session_request(wire, session, excluded="text")
        streamed = bool(wire.params.get("stream")) or wire.params.get("stream_format") == "sse"
        headers = {"accept": "text/event-stream" if streamed else _ACCEPT_HEADER}
        return Request("POST", wire.path, headers=headers, json=dict(wire.params))

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """A :class:`~mediamill.tasks.providers.operations.tts_reply.Speech`, and its usage.

        Raises:
            BadReply: when it is not audio, or the stream is incomplete.
        """
        ask, facts = asks[0], self.model_facts(asks[0].model)
        requested_rate = ask.params.get("sample_rate")
        socket = self.config.socket if reply.socket_end else None
        rate = (
            requested_rate
            if isinstance(requested_rate, int) and facts.sample_rate
            else socket.rate
            if socket
            else facts.pcm_rate
        )
        speech, usage = parse_speech(reply, ask, rate)
        if facts.per_minute:
            from mediamill.tasks.media.encoded_audio import count_seconds

            usage = replace(usage, speech_seconds=count_seconds(speech.audio, speech.format, speech.rate))
        return [to_parsed(reply, speech, usage)]

    def classify(self, reply: Reply) -> Problem | None:
        """What an error reply means; None for audio, and for a stream without an error."""
        if reply.socket_end:
            return classify_session(self.provider, reply, billable=BILLABLE_TYPES, failures=FAILURE_TYPES)
        if reply.status < HTTPStatus.MULTIPLE_CHOICES and holds_audio(reply):
            return classify_speech_stream(self.provider, reply) if is_event_stream(reply) else None
        problem = classify_error(self.provider, reply)
        if problem is not None and problem.kind == "bad_body":
            problem = replace(problem, message=problem.message.replace("instead of JSON", "instead of audio"))
        return suggest_socket(self.provider.name, problem)


def _build_session_params(ask: Ask, facts: TtsModel) -> dict[str, JSON]:
    params = ask.params
    fields: dict[str, JSON] = {"model": ask.model, "text": params["text"]}
    voice = params.get("voice") or facts.default_voice
    if voice:
        fields["voice"] = voice
    fields.update(build_voice_fields(ask.model, facts, params))
    if params.get("sample_rate") is not None and facts.sample_rate:
        fields["sample_rate"] = params["sample_rate"]
    return fields


def build_voice_fields(model: str, facts: TtsModel, params: Mapping[str, JSON]) -> dict[str, JSON]:
    """The fields for speed, instructions and language.

    Raises:
        BadInput: when the model does not support one of them.
    """
    settings: dict[str, JSON] = {}
    speed = params.get("speed")
    if isinstance(speed, (int, float)):
        slowest, fastest = facts.speed or (1.0, 1.0)
        if not slowest <= speed <= fastest:
            limits = f"speaks at speeds from {slowest:g} to {fastest:g}" if facts.speed else "has one speed only"
            raise BadInput(f"{model} {limits}, not {speed:g}", kind="bad_request", hint="change --speed")
        if facts.speed:
            settings["speed"] = speed
    if params.get("instructions"):
        if not facts.instructions:
            raise _unsupported_option(model, "instructions")
        settings["instructions"] = params["instructions"]
    language = params.get("language") or facts.default_language
    if language:
        if not facts.language:
            raise _unsupported_option(model, "language")
        settings["language"] = language
    return settings


def parse_format(params: Mapping[str, JSON]) -> AudioFormat:
    """The output format in an Ask's params."""
    audio_format: Any = params["format"]
    return audio_format  # type: ignore[no-any-return]


def _unsupported_option(model: str, what: str) -> BadInput:
    return BadInput(f"{model} takes no {what}", kind="bad_request", hint=f"leave out --{what} or choose another model")
