"""Chat completions: prompts with or without pictures, in OpenAI's way (provider docs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field

from mediamill.tasks.domain import JSON, Ask, Input
from mediamill.tasks.errors import BadInput
from mediamill.tasks.money.tokens import TokenMeter
from mediamill.tasks.providers.operations.base import ModelFacts, Operation, OperationConfig, parsed
from mediamill.tasks.providers.operations.chat_reply import parse_completion
from mediamill.tasks.providers.operations.chat_stream import classify_completion_stream, has_token, is_completion_stream
from mediamill.tasks.providers.operations.payload_url import payload_url
from mediamill.tasks.wire import Parsed, Problem, Reply, Request, Wire

CHAT = "chat"
"""The operation, as the price list names it: prompts of words alone."""

IMAGE_PART, VIDEO_PART = "picture", "video"
"""Parts of a message that stand for the Ask's inputs, in their order."""

StructuredOutput = Literal["json_schema", "json_object", "tool", "none"]
"""How a model is held to a schema: by the endpoint, to JSON alone, through a tool's parameters, or by words only."""

_WIRE_PART_TYPES = {IMAGE_PART: "image_url", VIDEO_PART: "video_url"}
_MIN_DEADLINE_SECONDS = 300.0
_SECONDS_PER_TOKEN = 0.1
_DEFAULT_SCHEMA_NAME = "answer"
_MAX_SCHEMA_NAME_CHARACTERS = 128


class ChatModel(ModelFacts):
    """A model that answers prompts."""

    structured: StructuredOutput = "json_schema"
    tools: bool = True
    thinks: bool = Field(default=False, description="spends tokens of its answer on reasoning")
    effort: bool = Field(default=False, description="takes reasoning_effort")
    max_output: int | None = Field(default=None, gt=0, description="longest answer in tokens")

    def abilities(self) -> tuple[str, ...]:
        """That it answers, thinks, calls tools, and how it is held to a schema."""
        flags = (self.thinks, "thinks"), (self.tools, "tools")
        return ("answers", *(word for supported, word in flags if supported), self.structured)


ModelT = TypeVar("ModelT", bound=ChatModel)


class CompletionConfig(OperationConfig[ModelT]):
    """An endpoint that completes, and how it spells what providers spell differently (provider docs)."""

    limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="the field for the longest answer"
    )
    sampling: frozenset[str] = Field(
        default=frozenset({"temperature", "top_p", "seed", "stop", "n"}), description="sampling fields it takes"
    )
    stream_usage: bool = Field(default=False, description="takes stream_options.include_usage")
    logprobs: Literal["count", "flag"] | None = Field(
        default=None, description="count: logprobs is how many; flag: top_logprobs is, beside logprobs true"
    )
    idle: float = Field(default=90.0, gt=0, description="seconds between two tokens of a stream")


class ChatConfig(CompletionConfig[ChatModel]):
    """An endpoint that answers prompts of words alone."""


ConfigT = TypeVar("ConfigT", bound=CompletionConfig[Any])


class CompletionOperation(Operation[ConfigT, ModelT]):
    """``POST /chat/completions``. An Ask's params hold ``messages``, sampling fields, and how the answer is bound."""

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the wire's own parameters; media are named by their place, never by their bytes.

        Raises:
            BadInput: when the endpoint or the model does not take what is asked.
        """
        params, facts = ask.params, self.model_facts(ask.model)
        body: dict[str, JSON] = {"model": ask.model, "messages": params["messages"]}
        limit = params.get("max_tokens")
        if isinstance(limit, int):
            if facts.max_output is not None and limit > facts.max_output:
                raise BadInput(
                    f"{ask.model} answers with at most {facts.max_output} tokens, not {limit}",
                    kind="bad_request",
                    hint="lower --max-tokens",
                )
            body[self.config.limit_field] = limit
        body.update(self._build_sampling_fields(params))
        body.update(_build_reasoning_fields(ask.model, facts, params))
        body.update(_build_output_fields(ask.model, facts, params))
        return Wire(
            origin=self.provider.key_origin(ask.model),
            path=self.path,
            params=body,
            timeout=max(_MIN_DEADLINE_SECONDS, (limit if isinstance(limit, int) else 0) * _SECONDS_PER_TOKEN),
            stream=bool(params.get("stream")),
        )

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The body with the media in it; a stream is asked for here, for it changes nothing about what is bought."""
        messages: Any = wire.params["messages"]
        body: dict[str, JSON] = {**wire.params, "messages": _insert_media(messages, asks[0].inputs)}
        if not wire.stream:
            return Request("POST", wire.path, json=body)
        body["stream"] = True
        if self.config.stream_usage:
            body["stream_options"] = {"include_usage": True}
        headers = {"accept": "text/event-stream"}
        return Request(
            "POST", wire.path, headers, json=body, max_idle_seconds=self.config.idle, is_first_token=has_token
        )

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """The answer: ``choices`` of ``text``, ``reasoning``, ``finish_reason``, ``refusal``, ``tool_calls``.

        Raises:
            BadReply: when there is no choice in it, or a stream broke off.
        """
        data, usage = parse_completion(reply)
        return [parsed(reply, data, usage)]

    def classify(self, reply: Reply) -> Problem | None:
        """What an error means; one inside a stream counts."""
        if is_completion_stream(reply):
            return classify_completion_stream(self.provider, reply)
        return super().classify(reply)

    def _build_sampling_fields(self, params: Mapping[str, JSON]) -> dict[str, JSON]:
        body: dict[str, JSON] = {}
        for name in _SAMPLING_FIELDS:
            value = params.get(name)
            if value is None:
                continue
            if name not in self.config.sampling:
                raise BadInput(f"{self.provider.name} takes no {name}", kind="bad_request", hint=f"leave {name} out")
            body[name] = value
        logprobs = params.get("logprobs")
        if logprobs is not None:
            if self.config.logprobs is None:
                raise BadInput(f"{self.provider.name} tells no logprobs", kind="bad_request", hint="leave logprobs out")
            flag: dict[str, JSON] = {"logprobs": True, "top_logprobs": logprobs}
            body.update({"logprobs": logprobs} if self.config.logprobs == "count" else flag)
        return body


class ChatOperation(CompletionOperation[ChatConfig, ChatModel]):
    """Prompts of words alone."""

    config_model = ChatConfig
    facts_model = ChatModel
    meter = TokenMeter()
    priced_as = "vision_chat"  # pictures cost no more: price lists file a model under one of the two


_SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "stop",
    "n",
)


def _build_reasoning_fields(model: str, facts: ChatModel, params: Mapping[str, JSON]) -> dict[str, JSON]:
    effort = params.get("reasoning_effort")
    if effort is None:
        return {}
    if not facts.effort:
        raise BadInput(f"{model} takes no reasoning_effort", kind="bad_request", hint="leave reasoning_effort out")
    return {"reasoning_effort": effort}


def _build_output_fields(model: str, facts: ChatModel, params: Mapping[str, JSON]) -> dict[str, JSON]:
    """How the answer is held to a schema, and the tools it may call."""
    schema, tools = params.get("schema"), params.get("tools")
    fields: dict[str, JSON] = {}
    if tools is not None:
        if not facts.tools:
            raise BadInput(f"{model} calls no tools", kind="bad_request", hint="leave the tools out")
        choice = params.get("tool_choice")
        fields = {"tools": tools} if choice is None else {"tools": tools, "tool_choice": choice}
    if schema is None:
        return fields
    name = str(params.get("schema_name") or _DEFAULT_SCHEMA_NAME)[:_MAX_SCHEMA_NAME_CHARACTERS]
    if facts.structured == "json_schema":
        return {**fields, "response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}}
    if facts.structured == "json_object":
        return {**fields, "response_format": {"type": "json_object"}}
    if facts.structured == "tool" and facts.tools and tools is None:
        function: JSON = {"name": name, "description": "Give the answer.", "parameters": schema}
        chosen: JSON = {"type": "function", "function": {"name": name}}
        return {"tools": [{"type": "function", "function": function}], "tool_choice": chosen}
    return fields


def _insert_media(messages: Sequence[Mapping[str, Any]], inputs: Sequence[Input]) -> list[JSON]:
    """Messages whose media parts hold the inputs: as ``data:`` URLs, or as the URL that is passed through.

    A part is ``{"type": "picture", "input": 0}``, with ``"detail"`` where the endpoint takes it.
    """
    return [{**message, "content": _insert_content_media(message.get("content"), inputs)} for message in messages]


def _insert_content_media(content: Any, inputs: Sequence[Input]) -> JSON:
    if not isinstance(content, list):
        return content  # type: ignore[no-any-return]
    return [_to_wire_part(part, inputs) if part["type"] in _WIRE_PART_TYPES else part for part in content]


def _to_wire_part(part: Mapping[str, Any], inputs: Sequence[Input]) -> JSON:
    media: dict[str, JSON] = {"url": payload_url(inputs[part["input"]].payload)}
    if part.get("detail"):
        media["detail"] = part["detail"]
    kind = _WIRE_PART_TYPES[part["type"]]
    return {"type": kind, kind: media}
