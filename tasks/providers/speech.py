"""Adapter for providers that transcribe in OpenAI's way: one multipart endpoint, JSON back.

What differs between them stands in their configuration; what differs in kind, in their own file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import ClassVar

from mediamill.tasks.calls.hints import read_limits
from mediamill.tasks.calls.rate_limiter import Quota
from mediamill.tasks.domain import JSON, Ask, Payload
from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.media.formats import AudioLimits
from mediamill.tasks.money.cost import Billing
from mediamill.tasks.providers.base import Endpoint, Limits, Parsed, Poll, Problem, Reply, Request, Wire
from mediamill.tasks.providers.config import ModelFacts, Operation, ProviderConfig
from mediamill.tasks.providers.conversation import socket_end
from mediamill.tasks.providers.languages import iso_code
from mediamill.tasks.providers.sockets import SocketProvider
from mediamill.tasks.providers.speaking import TTS, SpeakingProvider
from mediamill.tasks.providers.spoken import holds_sound, is_stream, judge_stream
from mediamill.tasks.providers.transcription import normalised
from mediamill.tasks.providers.translating import TRANSLATION, target
from mediamill.tasks.providers.verdicts import judge

_DEADLINE_EXTRA = 60.0


class SpeechProvider(SpeakingProvider, SocketProvider):
    """Implements :class:`mediamill.tasks.providers.base.Provider`; its speaking half and its sockets are inherited."""

    name: ClassVar[str]
    url_field: ClassVar[str | None] = None
    send_auto: ClassVar[str | None] = None

    def __init__(self, config: ProviderConfig, endpoint: Endpoint) -> None:
        self.config = config
        self.endpoint = endpoint
        self.billing = Billing(config.free, config.least_seconds, config.whole_seconds)

    def model(self, operation: str, asked: str | None) -> str:
        """The model asked for, or the operation's default.

        Raises:
            UsageError: when there is neither, or the provider has no such operation.
        """
        facts = self._operation(operation)
        if operation == TRANSLATION and asked not in facts.models and self._lists(asked):
            raise UsageError(f"{asked} does not translate", hint=self._who_can(operation))
        chosen = asked or facts.default_model
        if chosen is None:
            raise UsageError(f"{self.name} needs a model", hint="name it with --model")
        return chosen

    def quota(self, operation: str, model: str) -> Quota:
        """Rates and concurrency to begin with."""
        facts = self._operation(operation)
        return Quota(facts.rpm, facts.tpm, facts.audio_seconds_per_hour, facts.concurrency, facts.start)

    def audio_limits(self, operation: str, model: str, transport: str | None = None) -> AudioLimits:
        """What audio the endpoint takes; a socket takes 16 kHz samples and nothing else."""
        facts = self._operation(operation)
        socket = self._socket(operation, model, transport)
        if socket is not None:
            return AudioLimits(frozenset({"pcm"}), facts.max_bytes, socket.max_seconds)
        return AudioLimits(facts.formats, facts.max_bytes, facts.max_seconds, facts.takes_urls)

    def wire(self, ask: Ask) -> Wire:
        """The endpoint and the wire's own parameters.

        Raises:
            BadInput: when the model cannot do what is asked.
        """
        socket = self._socket(ask.operation, ask.model, ask.params.get("transport"))
        if socket is not None:
            return self._socket_wire(ask, socket)
        if ask.operation == TTS:
            return self._speaking_wire(ask)
        facts = self._operation(ask.operation)
        seconds = float(ask.ceiling.audio_seconds or facts.max_seconds or 0)
        return Wire(
            origin=self._key_origin(ask.model),
            path=self.endpoint.api + facts.path,
            params=self._wire_params(ask.operation, ask.model, self._facts(facts, ask.model), ask.params),
            encoding="multipart",
            deadline=max(facts.least_deadline, seconds * facts.deadline_share + _DEADLINE_EXTRA),
        )

    def request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """Fields first, the file last (provider docs)."""
        if wire.encoding == "socket":
            return self._socket_request(wire, asks[0])
        if asks[0].operation == TTS:
            return self._speaking_request(wire)
        payload = asks[0].inputs[0].payload
        assert payload is not None
        fields = [
            (name, _text(one))
            for name, value in wire.params.items()
            for one in (value if isinstance(value, list) else [value])
        ]
        files: list[tuple[str, Payload]] = []
        if payload.url is None or self.url_field == "file":
            files.append(("file", payload))
        else:
            fields.append((self.url_field or "url", payload.url))
        return Request("POST", wire.path, fields=fields, files=files)

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """One transcription, or one stretch of speech."""
        if asks[0].operation == TTS:
            return self._speaking_parse(reply, asks)
        if socket_end(reply):
            return self._socket_heard(reply, asks[0])
        data, usage = normalised(reply.body)
        return [
            Parsed(
                data,
                usage,
                engine=reply.headers.get("x-mediamill-engine"),
                simulated=reply.headers.get("x-mediamill-simulated") == "true",
            )
        ]

    def classify(self, reply: Reply, operation: str = "") -> Problem | None:
        """What an error reply means; None for an answer."""
        if socket_end(reply):
            return self._socket_problem(reply)
        if reply.status < HTTPStatus.MULTIPLE_CHOICES and holds_sound(reply):
            return judge_stream(self.name, self.endpoint.key_env, reply) if is_stream(reply) else None
        return self._socket_only(judge(self.name, self.endpoint.key_env, reply))

    def limits(self, reply: Reply) -> Limits:
        """What the reply's headers tell of the rate limits."""
        return read_limits(self.name, reply.headers)

    def accepted(self, reply: Reply, operation: str) -> str:
        """No operation here is polled for."""
        raise NotImplementedError

    def poll(self, wire: Wire, remote_id: str, operation: str) -> Request:
        """No operation here is polled for."""
        raise NotImplementedError

    def polled(self, reply: Reply, operation: str) -> Poll:
        """No operation here is polled for."""
        raise NotImplementedError

    def _key_origin(self, model: str) -> str:
        return self.endpoint.origin

    def _operation(self, operation: str) -> Operation:
        if operation not in self.config.operations:
            raise UsageError(f"{self.name} has no {operation}", hint=self._who_can(operation))
        return self.config.operations[operation]

    def _lists(self, model: str | None) -> bool:
        """The configuration knows this model, for whatever it does."""
        return any(model in operation.models for operation in self.config.operations.values())

    def _who_can(self, operation: str) -> str:
        """What to choose instead, in words."""
        from mediamill.tasks.providers.registry import offering

        own = self.config.operations.get(operation)
        models = f"--model {' or '.join(own.models)}, or " if own and own.models else ""
        others = [name for name in offering(operation) if name != self.name]
        return f"choose {models}--provider {', '.join(others)}" if others else "choose another --provider"

    def _facts(self, operation: Operation, model: str) -> ModelFacts:
        """What a model can do; of one that is not in the configuration, ``any_model`` or what the first can."""
        if model in operation.models:
            return operation.models[model]
        known = list(operation.models.values())
        return operation.any_model or (known[0] if known else ModelFacts())

    def _wire_params(self, operation: str, model: str, facts: ModelFacts, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        if operation != TRANSLATION:
            return self._params(model, facts, asked)
        languages = self._translation(target(model, facts, asked), asked)
        return {"model": model, **languages, **self._manner(model, facts, asked)}

    def _translation(self, to: str, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        """The fields that name languages; an endpoint that only knows English takes none (provider docs)."""
        return {}

    def _params(self, model: str, facts: ModelFacts, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        params: dict[str, JSON] = {"model": model}
        language = self._language(model, facts, asked)
        if language is not None:
            params["language"] = language
        params.update(self._manner(model, facts, asked))
        params.update(self._diarization(model, facts, asked))
        return params

    def _manner(self, model: str, facts: ModelFacts, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        """What transcriptions and translations are asked for alike."""
        params: dict[str, JSON] = {}
        if asked.get("prompt"):
            if not facts.prompt:
                raise BadInput(f"{model} takes no prompt", kind="bad_request", hint="leave out --prompt")
            params["prompt"] = asked["prompt"]
        if asked.get("temperature") is not None:
            params["temperature"] = asked["temperature"]
        params["response_format"] = self._format(facts)
        params.update(self._times(facts, asked))
        return params

    def _language(self, model: str, facts: ModelFacts, asked: Mapping[str, JSON]) -> str | None:
        """Providers take ISO-639-1 codes: ``pt-BR`` is sent as ``pt``."""
        given = str(asked.get("language") or "auto")
        if given == "auto":
            return self.send_auto
        language = iso_code(given) or given
        if facts.languages is not None and language not in facts.languages:
            raise BadInput(
                f"{model} does not hear the language {given!r}, only {', '.join(sorted(facts.languages))}",
                kind="bad_request",
                hint="choose another --provider or --model",
            )
        return language

    def _format(self, facts: ModelFacts) -> str:
        return "verbose_json" if facts.verbose else "json"

    def _times(self, facts: ModelFacts, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        """Models without times still give their text."""
        if not (facts.verbose and facts.times):
            return {}
        wanted: list[JSON] = ["segment"] if asked.get("segments", True) else []
        if facts.words and asked.get("words", True):
            wanted.append("word")
        return {"timestamp_granularities[]": wanted} if wanted else {}

    def _diarization(self, model: str, facts: ModelFacts, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        if asked.get("diarize"):
            raise BadInput(
                f"{self.name} does not tell speakers apart with {model}",
                kind="bad_request",
                hint="leave out --diarize or choose another provider or model",
            )
        return {}


def _text(value: JSON) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
