"""Chat completions: prompts with or without images, in OpenAI's format (provider docs)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field

from mediamill.tasks.domain import JSON, Ask, Input
from mediamill.tasks.errors import BadInput
from mediamill.tasks.money.tokens import TokenMeter
from mediamill.tasks.providers.operations.answer_forms import read_plain_answer
from mediamill.tasks.providers.operations.base import ModelFacts, Operation, OperationConfig, to_parsed
from mediamill.tasks.providers.operations.chat_reply import classify_choices, parse_completion
from mediamill.tasks.providers.operations.chat_stream import classify_completion_stream, has_token, is_completion_stream
from mediamill.tasks.providers.operations.payload_url import to_payload_url
from mediamill.tasks.wire import Parsed, Problem, Reply, Request, Wire

CHAT = "chat"
"""The operation's name, also in price lists: text prompts."""

IMAGE_PART, VIDEO_PART = "picture", "video"
"""Types of the message parts that stand for the Ask's inputs."""

StructuredOutput = Literal["json_schema", "json_object", "tool", "none"]
"""How a model is bound to a schema: by the endpoint, to JSON only, by a tool's parameters, or by the prompt only."""

_WIRE_PART_TYPES = {IMAGE_PART: "image_url", VIDEO_PART: "video_url"}
_UNUSUAL_FINISH = re.compile(
    rb'"(?:finish|done|stop)_?[Rr]eason"\s*:\s*"(?!(?:stop|length|tool_calls|end_turn)")|"error"\s*:\s*[{"]'
)
_MIN_TIMEOUT_SECONDS = 300.0
_SECONDS_PER_TOKEN = 0.1
_DEFAULT_SCHEMA_NAME = "answer"
_MAX_SCHEMA_NAME_CHARACTERS = 128


class ChatModel(ModelFacts):
    """A model that completes text prompts."""

    structured: StructuredOutput = "json_schema"
    tools: bool = True
    thinks: bool = Field(default=False, description="spends output tokens on reasoning")
    effort: bool = Field(default=False, description="accepts reasoning_effort")
    max_output: int | None = Field(default=None, gt=0, description="maximum number of output tokens")

    def abilities(self) -> tuple[str, ...]:
        """Text generation, reasoning, tools, and how it is bound to a schema."""
        flags = (self.thinks, "reasoning"), (self.tools, "tools")
        return ("chat", *(word for supported, word in flags if supported), self.structured)


ModelT = TypeVar("ModelT", bound=ChatModel)


class CompletionConfig(OperationConfig[ModelT]):
    """A completions endpoint, and the fields in which providers differ (provider docs)."""

    limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="the field for the maximum number of output tokens"
    )
    sampling: frozenset[str] = Field(
        default=frozenset({"temperature", "top_p", "seed", "stop", "n"}),
        description="the sampling fields that it accepts",
    )
    stream_usage: bool = Field(default=False, description="accepts stream_options.include_usage")
    logprobs: Literal["count", "flag"] | None = Field(
        default=None,
        description="count: `logprobs` is the number of tokens; flag: `logprobs` is true and `top_logprobs` the number",
    )
    idle: float = Field(default=90.0, gt=0, description="maximum number of seconds between two tokens of a stream")


class ChatConfig(CompletionConfig[ChatModel]):
    """A completions endpoint for text prompts."""


ConfigT = TypeVar("ConfigT", bound=CompletionConfig[Any])


class CompletionOperation(Operation[ConfigT, ModelT]):
    """``POST /chat/completions``. An Ask's params hold ``messages``, sampling fields, a schema and tools."""

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the parameters of the request; media stand in it by their index, never as bytes.

        Raises:
            BadInput: when the endpoint or the model does not accept a parameter.
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
            timeout=max(_MIN_TIMEOUT_SECONDS, (limit if isinstance(limit, int) else 0) * _SECONDS_PER_TOKEN),
            stream=bool(params.get("stream")),
        )

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The body with its media. Streaming is requested here, because it changes nothing about what is bought."""
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
        """The completion: ``choices`` of ``text``, ``reasoning``, ``finish_reason``, ``refusal``, ``tool_calls``.

        Raises:
            BadReply: when it has no choices, or a stream is incomplete.
        """
        data, usage = parse_completion(reply)
        return [to_parsed(reply, data, usage)]

    def classify(self, reply: Reply) -> Problem | None:
        """What an error means, also one inside a stream; None for a success."""
        if is_completion_stream(reply):
            return classify_completion_stream(self.provider, reply)
        problem = super().classify(reply)
        if problem is not None and problem.kind == "bad_body" and read_plain_answer(reply) is not None:
            return None
        if problem is None and _UNUSUAL_FINISH.search(reply.body):
            return classify_choices(self.provider, reply)
        return problem

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
                raise BadInput(
                    f"{self.provider.name} returns no logprobs", kind="bad_request", hint="leave logprobs out"
                )
            flag: dict[str, JSON] = {"logprobs": True, "top_logprobs": logprobs}
            body.update({"logprobs": logprobs} if self.config.logprobs == "count" else flag)
        return body


class ChatOperation(CompletionOperation[ChatConfig, ChatModel]):
    """Chat completions of text prompts."""

    config_model = ChatConfig
    facts_model = ChatModel
    meter = TokenMeter()
    priced_as = "vision_chat"  # images have no price of their own: price lists have a model under one of the two


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
    """The fields for the answer's schema and for the tools that the model may call."""
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
    """Messages whose media parts hold the inputs, as ``data:`` URLs or as the URL that is passed through.

    A part is ``{"type": "picture", "input": 0}``, with ``"detail"`` if the endpoint accepts it.
    """
    return [{**message, "content": _insert_content_media(message.get("content"), inputs)} for message in messages]


def _insert_content_media(content: Any, inputs: Sequence[Input]) -> JSON:
    if not isinstance(content, list):
        return content  # type: ignore[no-any-return]
    return [_to_wire_part(part, inputs) if part["type"] in _WIRE_PART_TYPES else part for part in content]


def _to_wire_part(part: Mapping[str, Any], inputs: Sequence[Input]) -> JSON:
    media: dict[str, JSON] = {"url": to_payload_url(inputs[part["input"]].payload)}
    if part.get("detail"):
        media["detail"] = part["detail"]
    part_type = _WIRE_PART_TYPES[part["type"]]
    return {"type": part_type, part_type: media}
