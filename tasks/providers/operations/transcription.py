"""Transcription: a multipart request in OpenAI's format with a JSON reply, or a websocket (provider docs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

from pydantic import Field

from mediamill.tasks.domain import JSON, Ask, Payload, Usage
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.languages import to_iso_code
from mediamill.tasks.money.audio import AudioMeter
from mediamill.tasks.providers.errors.classify import classify_error
from mediamill.tasks.providers.errors.error_body import read_status_line
from mediamill.tasks.providers.operations.answer_forms import read_transcript
from mediamill.tasks.providers.operations.base import AudioOperation, OperationConfig, to_parsed
from mediamill.tasks.providers.operations.glossary_terms import count_fitting_terms, count_prompt_tokens, join_prompt
from mediamill.tasks.providers.operations.realtime import (
    SocketConfig,
    SpeechModel,
    build_session_request,
    choose_socket,
    classify_session,
    parse_frames,
    suggest_socket,
    to_form_text,
)
from mediamill.tasks.providers.operations.realtime_transcription import (
    BILLABLE_TYPES,
    FAILURE_TYPES,
    SESSIONS,
    build_session_params,
    to_transcript,
)
from mediamill.tasks.providers.operations.reply_json import decode_reply
from mediamill.tasks.providers.operations.transcription_reply import parse_transcription, parse_transcription_reply
from mediamill.tasks.wire import AudioLimits, Parsed, Problem, Reply, Request, Wire

TRANSCRIPTION = "transcription"
"""The operation's name, also in price lists."""

_EXTRA_TIMEOUT_SECONDS = 60.0
_MAX_ERROR_BYTES = 2000
"""A longer reply has another text than one line of a server."""


class TranscriptionModel(SpeechModel):
    """A model that transcribes."""

    verbose: bool = Field(default=False, description="accepts response_format verbose_json")
    words: bool = False
    times: bool = Field(default=True, description="accepts timestamp_granularities with verbose_json")
    diarize: bool = False
    prompt: bool = False
    glossary_field: str | None = Field(
        default=None, description="field that takes terms to expect, one value each; by default they go into the prompt"
    )
    max_prompt_tokens: int | None = Field(
        default=None, gt=0, description="tokens of prompt that it reads or accepts; null where nothing states it"
    )
    diarized_format: bool = Field(default=False, description="returns speakers in response_format diarized_json")
    max_seconds: float | None = Field(
        default=None, gt=0, description="maximum seconds of audio in one request, where lower than the endpoint's"
    )
    max_bytes: int | None = Field(
        default=None, gt=0, description="maximum bytes of a recording, where lower than the endpoint's"
    )
    languages: frozenset[str] | None = Field(
        default=None, description="ISO-639-1 codes of the languages it recognises; null for many"
    )

    def base_abilities(self) -> tuple[str, ...]:
        """Times, words, speakers and prompt, if it supports them."""
        flags = (self.verbose, "times"), (self.words, "words"), (self.diarize, "speakers"), (self.prompt, "prompt")
        return tuple(word for supported, word in flags if supported)

    def takes_glossary(self, transport: Any) -> bool:
        """Whether terms to expect can be sent; over a socket none are."""
        return transport != "socket" and self.transport != "socket" and bool(self.prompt or self.glossary_field)

    def is_too_long(self, prompt: str) -> bool:
        """Whether a prompt may have more tokens than the model takes."""
        return self.max_prompt_tokens is not None and count_prompt_tokens(prompt) > self.max_prompt_tokens

    def count_sent_terms(self, prompt: str | None, terms: tuple[str, ...]) -> int:
        """How many of a glossary's terms are sent, from the first one on: those that fit into its prompt."""
        return count_fitting_terms(prompt, terms, None if self.glossary_field else self.max_prompt_tokens)


ModelT = TypeVar("ModelT", bound=TranscriptionModel)


class SpeechToTextConfig(OperationConfig[ModelT]):
    """An endpoint that receives recordings."""

    formats: frozenset[str] = Field(default=frozenset(), description="containers that it accepts")
    max_bytes: int = 25_000_000
    max_seconds: float | None = None
    takes_urls: bool = False
    url_field: Literal["file", "url"] = Field(
        default="url", description="the field for a URL that the provider fetches"
    )
    min_deadline: float = Field(default=120.0, description="minimum number of seconds that an attempt may take")
    deadline_share: float = Field(default=0.1, description="additional seconds per second of audio")
    socket: SocketConfig | None = Field(default=None, description="its websocket, for transport=socket")
    language_auto: str | None = Field(
        default=None, description="the value of the language field that requests detection"
    )

    def attempt_timeout(self, ask: Ask) -> float:
        """Maximum number of seconds of an attempt."""
        seconds = float(ask.ceiling.audio_seconds or self.max_seconds or 0)
        return max(self.min_deadline, seconds * self.deadline_share + _EXTRA_TIMEOUT_SECONDS)


class TranscriptionConfig(SpeechToTextConfig[TranscriptionModel]):
    """An endpoint that transcribes."""


ConfigT = TypeVar("ConfigT", bound=SpeechToTextConfig[Any])


class SpeechToTextOperation(AudioOperation[ConfigT, ModelT]):
    """What transcription and translation share: a recording is sent, text with times comes back."""

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the parameters of the request.

        Raises:
            BadInput: when the model cannot do what the Ask requests.
        """
        facts = self.model_facts(ask.model)
        socket = self._choose_socket(ask.model, ask.params.get("transport"))
        origin = self.provider.key_origin(ask.model)
        if socket is not None:
            language = self.resolve_language(ask.model, facts, ask.params)
            return Wire(
                origin=origin,
                path=self.provider.endpoint.api + socket.path,
                params=build_session_params(self.provider.name, ask, socket, language, takes_prompt=facts.prompt),
                encoding="socket",
                timeout=socket.session_timeout(float(ask.ceiling.audio_seconds or 0)),
            )
        return Wire(
            origin=origin,
            path=self.path,
            params=self._build_fields_with_glossary(ask.model, facts, ask.params),
            encoding="multipart",
            timeout=self.config.attempt_timeout(ask),
        )

    def _build_fields_with_glossary(self, model: str, facts: ModelT, params: Mapping[str, JSON]) -> dict[str, JSON]:
        """The form fields, with the glossary's terms in their own field or in the prompt, if the model takes them."""
        terms = params.get("glossary")
        if not isinstance(terms, list) or not facts.takes_glossary(None):
            return self.build_form_fields(model, facts, params)
        if facts.glossary_field is None:
            given = params.get("prompt")
            prompt, wanted = given if isinstance(given, str) else None, tuple(map(str, terms))
            sent = wanted[: facts.count_sent_terms(prompt, wanted)]
            return self.build_form_fields(model, facts, {**params, "prompt": join_prompt(prompt, sent)})
        fields = self.build_form_fields(model, facts, params)
        before = fields.get(facts.glossary_field)
        return {**fields, facts.glossary_field: [*(before if isinstance(before, list) else []), *terms]}

    def build_form_fields(self, model: str, facts: ModelT, params: Mapping[str, JSON]) -> dict[str, JSON]:
        """The form fields, without the recording.

        Raises:
            BadInput: when the model cannot do what the parameters request.
        """
        fields: dict[str, JSON] = {"model": model}
        language = self.resolve_language(model, facts, params)
        if language is not None:
            fields["language"] = language
        fields.update(build_shared_fields(model, facts, params))
        fields.update(self._build_speaker_fields(model, facts, params))
        return fields

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The form with its fields first and the file last (provider docs)."""
        payload = asks[0].inputs[0].payload
        assert payload is not None
        if wire.encoding == "socket":
            socket = self.config.socket
            assert socket is not None
            return build_session_request(
                wire, SESSIONS[socket.api_style](payload, socket, wire.params), excluded="prompt"
            )
        fields = [
            (name, to_form_text(element))
            for name, value in wire.params.items()
            for element in (value if isinstance(value, list) else [value])
        ]
        files: list[tuple[str, Payload]] = []
        if payload.url is None or self.config.url_field == "file":
            files.append(("file", payload))
        else:
            fields.append((self.config.url_field, payload.url))
        return Request("POST", wire.path, fields=fields, files=files)

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """One transcript. A socket's messages state no usage, so its usage is the audio that was sent.

        Raises:
            BadReply: when the reply holds no text, or a message from the socket is not a JSON object.
        """
        if not reply.socket_end:
            data, usage = parse_transcription_reply(reply, asks[0].ceiling.audio_seconds)
            return [to_parsed(reply, data, usage)]
        data, _ = parse_transcription(to_transcript(parse_frames(reply.body), asks[0]))
        return [to_parsed(reply, data, Usage(audio_seconds=asks[0].ceiling.audio_seconds, requests=1))]

    def classify(self, reply: Reply) -> Problem | None:
        """What an error reply means; None for a success."""
        if reply.socket_end:
            return classify_session(self.provider, reply, billable=BILLABLE_TYPES, failures=FAILURE_TYPES)
        problem = classify_error(self.provider, reply)
        if problem is None:
            return self._classify_text(reply)
        if problem.kind == "bad_body" and read_transcript(reply) is not None:
            return None
        return suggest_socket(self.provider.name, problem)

    def _classify_text(self, reply: Reply) -> Problem | None:
        """What a server's error means that stands where the text is; None for any other text."""
        if len(reply.body) > _MAX_ERROR_BYTES:
            return None
        try:
            content = decode_reply(reply.body)
        except BadReply:
            return None
        text = content.get("text") if isinstance(content, dict) else None
        if not isinstance(text, str) or read_status_line(text) is None:
            return None
        return classify_error(self.provider, replace(reply, body=text.encode()))

    def audio_limits(self, model: str, transport: str | None) -> AudioLimits:
        """What audio the endpoint accepts; a socket accepts only 16 kHz samples.

        Raises:
            BadInput: when a socket is requested and the operation has none.
        """
        config, socket = self.config, self._choose_socket(model, transport)
        if socket is not None:
            return AudioLimits(frozenset({"pcm"}), config.max_bytes, socket.max_seconds)
        facts = self.model_facts(model)
        max_bytes = min(config.max_bytes, facts.max_bytes or config.max_bytes)
        lengths = [seconds for seconds in (config.max_seconds, facts.max_seconds) if seconds is not None]
        return AudioLimits(config.formats, max_bytes, min(lengths, default=None), config.takes_urls)

    def resolve_language(self, model: str, facts: ModelT, params: Mapping[str, JSON]) -> str | None:
        """The spoken language as the endpoint accepts it: an ISO-639-1 code, so ``pt-BR`` is sent as ``pt``.

        Raises:
            BadInput: when the model does not recognise the language.
        """
        requested = str(params.get("language") or "auto")
        if requested == "auto":
            return self.config.language_auto
        language = to_iso_code(requested) or requested
        if facts.languages is not None and language not in facts.languages:
            raise BadInput(
                f"{model} recognises only {', '.join(sorted(facts.languages))}, not the language {requested!r}",
                kind="bad_request",
                hint="choose another --provider or --model",
            )
        return language

    def _choose_socket(self, model: str, transport: Any) -> SocketConfig | None:
        return choose_socket(self.provider.name, self.name, self.config.socket, self.model_facts(model), transport)

    def _build_speaker_fields(self, model: str, facts: ModelT, params: Mapping[str, JSON]) -> dict[str, JSON]:
        """Fields that request speakers; a model with ``diarized_json`` always returns them (provider docs: OpenAI)."""
        if facts.diarized_format:
            return {"chunking_strategy": "auto"}
        if not params.get("diarize"):
            return {}
        if not facts.diarize:
            raise BadInput(
                f"{self.provider.name} cannot label speakers with {model}",
                kind="bad_request",
                hint="leave out --diarize or choose another provider or model",
            )
        speaker_counts = {
            name: params[name] for name in ("min_speakers", "max_speakers") if params.get(name) is not None
        }
        return {"diarize": True, **speaker_counts}


class TranscriptionOperation(SpeechToTextOperation[TranscriptionConfig, TranscriptionModel]):
    """``POST /audio/transcriptions``. An Ask's params are those of the capability; its input is the recording."""

    config_model = TranscriptionConfig
    facts_model = TranscriptionModel
    meter = AudioMeter()


def build_shared_fields(model: str, facts: TranscriptionModel, params: Mapping[str, JSON]) -> dict[str, JSON]:
    """The form fields for prompt, temperature, response format and times, which transcription and translation share."""
    fields: dict[str, JSON] = {}
    if params.get("prompt"):
        if not facts.prompt:
            raise BadInput(f"{model} takes no prompt", kind="bad_request", hint="leave out --prompt")
        fields["prompt"] = params["prompt"]
    if params.get("temperature") is not None:
        fields["temperature"] = params["temperature"]
    is_verbose = facts.verbose and params.get("response_format") != "json"
    undiarized_format = "verbose_json" if is_verbose else "json"
    fields["response_format"] = "diarized_json" if facts.diarized_format else undiarized_format
    if not (is_verbose and facts.times):  # models without times still return their text
        return fields
    granularities: list[JSON] = ["segment"] if params.get("segments", True) else []
    if facts.words and params.get("words", True):
        granularities.append("word")
    return {**fields, "timestamp_granularities[]": granularities} if granularities else fields
