"""Speaking in OpenAI's way: a JSON body with the text, sound or server-sent events back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from mediamill.tasks.domain import JSON, Ask
from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.providers.spoken import spoken
from mediamill.tasks.providers.voices import Form, Voice, VoiceLimits
from mediamill.tasks.wire import Endpoint, Parsed, Reply, Request, Wire

if TYPE_CHECKING:
    from mediamill.tasks.providers.config import ModelFacts, Operation, ProviderConfig

TTS = "tts"
"""The operation, as the price list names it."""

_CHARACTERS_A_SECOND = 10
_DEADLINE_EXTRA = 60.0


@runtime_checkable
class Speaks(Protocol):
    """A provider that can be asked to speak."""

    def voice_limits(self, model: str) -> VoiceLimits:
        """What texts the model takes and what formats it gives.

        Raises:
            UsageError: when the model does not speak.
        """
        ...


class SpeakingProvider:
    """The speaking half of a provider. What is unset is not sent, so that the provider's own default holds."""

    name: ClassVar[str]
    config: ProviderConfig
    endpoint: Endpoint

    def voice_limits(self, model: str) -> VoiceLimits:
        """What texts the model takes and what formats it gives.

        Raises:
            UsageError: when the model does not speak.
        """
        voice, operation = self._voice(model), self._operation(TTS)
        return VoiceLimits(
            max_characters=voice.max_characters,
            formats=tuple(voice.formats),
            stream=voice.stream is not None,
            default_voice=voice.default_voice,
            socket=self._facts(operation, model).transport == "socket",
        )

    def _speaking_wire(self, ask: Ask) -> Wire:
        """Never repeatable where it is paid for: a second request would be a second purchase.

        Raises:
            BadInput: when the model cannot do what is asked.
        """
        operation, voice = self._operation(TTS), self._voice(ask.model)
        seconds = (ask.ceiling.characters or 0) / _CHARACTERS_A_SECOND
        return Wire(
            origin=self._key_origin(ask.model),
            path=self.endpoint.api + operation.path,
            params=self._speaking_body(ask.model, voice, ask.params),
            repeatable=self.config.free,
            deadline=max(operation.least_deadline, seconds * operation.deadline_share + _DEADLINE_EXTRA),
        )

    def _speaking_request(self, wire: Wire) -> Request:
        accept = "text/event-stream" if _streamed(wire.params) else "audio/*, application/octet-stream;q=0.9, */*;q=0.5"
        return Request("POST", wire.path, headers={"accept": accept}, json=dict(wire.params))

    def _speaking_parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """The sound, told by its content, with what was billed for it.

        Raises:
            BadReply: when it is no sound, or a stream that broke off.
        """
        ask, voice = asks[0], self._voice(asks[0].model)
        asked = ask.params.get("sample_rate")
        socket = self._operation(TTS).socket if reply.socket_end else None
        rate = asked if isinstance(asked, int) and voice.sample_rate else socket.rate if socket else voice.pcm_rate
        sound, usage = spoken(reply, ask, rate)
        if voice.per_minute:
            from mediamill.tasks.media.encoded_audio import count_seconds

            usage = replace(usage, speech_seconds=count_seconds(sound.audio, sound.form, sound.rate))
        return [
            Parsed(
                sound,
                usage,
                engine=reply.headers.get("x-mediamill-engine"),
                simulated=reply.headers.get("x-mediamill-simulated") == "true",
            )
        ]

    def _speaking_body(self, model: str, voice: Voice, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        """The body in OpenAI's names."""
        body: dict[str, JSON] = {"model": model, "input": asked["text"]}
        chosen = asked.get("voice") or voice.default_voice
        if chosen:
            body["voice"] = chosen
        form = asked_form(asked)
        body["response_format"] = voice.formats[form]
        body.update(self._settings(model, voice, asked))
        if asked.get("sample_rate") is not None and voice.sample_rate:
            body["sample_rate"] = asked["sample_rate"]
        if form == "pcm" and voice.stream == "together":
            body["response_encoding"] = "pcm_s16le"
        if asked.get("stream"):
            body.update({"stream": True} if voice.stream == "together" else {"stream_format": "sse"})
        return body

    def _settings(self, model: str, voice: Voice, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        """Speed, instructions and language.

        Raises:
            BadInput: when the model does not have what is asked for.
        """
        settings: dict[str, JSON] = {}
        speed = asked.get("speed")
        if isinstance(speed, (int, float)):
            slowest, fastest = voice.speed or (1.0, 1.0)
            if not slowest <= speed <= fastest:
                can = f"speaks at speeds from {slowest:g} to {fastest:g}" if voice.speed else "has one speed only"
                raise BadInput(f"{model} {can}, not {speed:g}", kind="bad_request", hint="change --speed")
            if voice.speed:
                settings["speed"] = speed
        if asked.get("instructions"):
            if not voice.instructions:
                raise _lacks(model, "instructions")
            settings["instructions"] = asked["instructions"]
        language = asked.get("language") or voice.default_language
        if language:
            if not voice.language:
                raise _lacks(model, "language")
            settings["language"] = language
        return settings

    def _voice(self, model: str) -> Voice:
        facts = self._facts(self._operation(TTS), model)
        if facts.voice is None:
            raise UsageError(f"{model} does not speak", hint=f"mediamill models --provider {self.name} --voices")
        return facts.voice

    def _key_origin(self, model: str) -> str:
        raise NotImplementedError

    def _operation(self, operation: str) -> Operation:
        raise NotImplementedError

    def _facts(self, operation: Operation, model: str) -> ModelFacts:
        raise NotImplementedError


def asked_form(asked: Mapping[str, JSON]) -> Form:
    """The format an Ask names, by the name that is the same for every provider."""
    form: Any = asked["format"]
    return form  # type: ignore[no-any-return]


def _streamed(params: Mapping[str, JSON]) -> bool:
    return bool(params.get("stream")) or params.get("stream_format") == "sse"


def _lacks(model: str, what: str) -> BadInput:
    return BadInput(f"{model} takes no {what}", kind="bad_request", hint=f"leave out --{what} or choose another model")
