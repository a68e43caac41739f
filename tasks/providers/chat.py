"""Chat completions: prompts with or without pictures, in OpenAI's way (provider docs)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from mediamill.tasks.domain import JSON, Ask
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.chat_replies import answered
from mediamill.tasks.providers.chat_streams import is_stream, judged, said_something
from mediamill.tasks.providers.chatting import ChatWire, Talk
from mediamill.tasks.providers.messages import filled
from mediamill.tasks.providers.shape import Shape
from mediamill.tasks.providers.vision import Vision
from mediamill.tasks.wire import Parsed, Problem, Reply, Request, Wire

_LEAST_DEADLINE = 300.0
_SECONDS_A_TOKEN = 0.1
_SCHEMA_NAME = "answer"
_LONGEST = 128


@runtime_checkable
class Talks(Protocol):
    """A provider that answers prompts."""

    def talk(self, operation: str, model: str) -> Talk:
        """What the model can do.

        Raises:
            UsageError: when the provider has no such operation.
        """
        ...


@runtime_checkable
class Sees(Protocol):
    """A provider whose models see pictures."""

    def vision(self, model: str) -> Vision:
        """What pictures a model takes.

        Raises:
            UsageError: when it does not see.
        """
        ...


class Chat(Shape):
    """``POST /chat/completions``. An Ask's params hold ``messages``, sampling fields, and how the answer is bound."""

    def wire(self, ask: Ask) -> Wire:
        """The endpoint and the wire's own parameters; media are named by their place, never by their bytes.

        Raises:
            BadInput: when the endpoint or the model does not take what is asked.
        """
        asked, spells = ask.params, self.spells
        talk = self.provider.talk(ask.operation, ask.model)
        body: dict[str, JSON] = {"model": ask.model, "messages": asked["messages"]}
        most = asked.get("max_tokens")
        if isinstance(most, int):
            if talk.max_output is not None and most > talk.max_output:
                raise BadInput(
                    f"{ask.model} answers with at most {talk.max_output} tokens, not {most}",
                    kind="bad_request",
                    hint="lower --max-tokens",
                )
            body[spells.limit] = most
        body.update(self._sampling(asked))
        body.update(_thinking(ask.model, talk, asked))
        body.update(_bound(ask.model, talk, asked))
        return Wire(
            origin=self.provider.key_origin(ask.model),
            path=self.path,
            params=body,
            deadline=max(_LEAST_DEADLINE, (most if isinstance(most, int) else 0) * _SECONDS_A_TOKEN),
            stream=bool(asked.get("stream")),
        )

    def request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The body with the media in it; a stream is asked for here, for it changes nothing about what is bought."""
        messages: Any = wire.params["messages"]
        body: dict[str, JSON] = {**wire.params, "messages": filled(messages, asks[0].inputs)}
        if not wire.stream:
            return Request("POST", wire.path, json=body)
        body["stream"] = True
        if self.spells.stream_usage:
            body["stream_options"] = {"include_usage": True}
        headers = {"accept": "text/event-stream"}
        return Request("POST", wire.path, headers, json=body, idle=self.spells.idle, awaited=said_something)

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """The answer: ``choices`` of ``text``, ``reasoning``, ``finish_reason``, ``refusal``, ``tool_calls``.

        Raises:
            BadReply: when there is no choice in it, or a stream broke off.
        """
        data, usage = answered(reply)
        return [
            Parsed(
                data,
                usage,
                engine=reply.headers.get("x-mediamill-engine"),
                simulated=reply.headers.get("x-mediamill-simulated") == "true",
            )
        ]

    def classify(self, reply: Reply) -> Problem | None:
        """What an error means; one inside a stream counts."""
        if is_stream(reply):
            return judged(self.provider.name, self.provider.endpoint.key_env, reply)
        return super().classify(reply)

    @property
    def spells(self) -> ChatWire:
        """How the endpoint spells its fields."""
        return self.facts.chat or ChatWire()

    def _sampling(self, asked: Mapping[str, JSON]) -> dict[str, JSON]:
        body: dict[str, JSON] = {}
        for name in _SAMPLING:
            value = asked.get(name)
            if value is None:
                continue
            if name not in self.spells.sampling:
                raise BadInput(f"{self.provider.name} takes no {name}", kind="bad_request", hint=f"leave {name} out")
            body[name] = value
        wanted = asked.get("logprobs")
        if wanted is not None:
            if self.spells.logprobs is None:
                raise BadInput(f"{self.provider.name} tells no logprobs", kind="bad_request", hint="leave logprobs out")
            told: dict[str, JSON] = {"logprobs": True, "top_logprobs": wanted}
            body.update({"logprobs": wanted} if self.spells.logprobs == "count" else told)
        return body


_SAMPLING = (
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


def _thinking(model: str, talk: Talk, asked: Mapping[str, JSON]) -> dict[str, JSON]:
    effort = asked.get("reasoning_effort")
    if effort is None:
        return {}
    if not talk.effort:
        raise BadInput(f"{model} takes no reasoning_effort", kind="bad_request", hint="leave reasoning_effort out")
    return {"reasoning_effort": effort}


def _bound(model: str, talk: Talk, asked: Mapping[str, JSON]) -> dict[str, JSON]:
    """How the answer is held to a schema, and the tools it may call."""
    schema, tools = asked.get("schema"), asked.get("tools")
    given: dict[str, JSON] = {}
    if tools is not None:
        if not talk.tools:
            raise BadInput(f"{model} calls no tools", kind="bad_request", hint="leave the tools out")
        choice = asked.get("tool_choice")
        given = {"tools": tools} if choice is None else {"tools": tools, "tool_choice": choice}
    if schema is None:
        return given
    name = str(asked.get("schema_name") or _SCHEMA_NAME)[:_LONGEST]
    if talk.structured == "json_schema":
        return {**given, "response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}}
    if talk.structured == "json_object":
        return {**given, "response_format": {"type": "json_object"}}
    if talk.structured == "tool" and talk.tools and tools is None:
        function: JSON = {"name": name, "description": "Give the answer.", "parameters": schema}
        chosen: JSON = {"type": "function", "function": {"name": name}}
        return {"tools": [{"type": "function", "function": function}], "tool_choice": chosen}
    return given
