"""One prompt to one answer: asked, held against its schema, asked again where it does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.text.json_schema import find_violation
from mediamill.tasks.capabilities.text.prompts import PromptParams
from mediamill.tasks.capabilities.text.reply_parsing import parse_json, split_reasoning
from mediamill.tasks.capabilities.text.schema_columns import (
    WHOLE_ANSWER_COLUMN,
    column_name,
    fit_to_type,
    to_arrow_fields,
)
from mediamill.tasks.domain import Answer, Ask, Input, Item, Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.operations.chat import ChatModel

if TYPE_CHECKING:
    import pyarrow as pa

_TOKENS_PER_MESSAGE = 40
"""Tokens that templates put around a message, at most (estimate)."""
_TOOL_TOKENS = 400
"""Tokens of the words with which templates tell a model of its tools or a schema, at most (estimate)."""
_MAX_REPAIR_TOKENS = 500
"""Tokens of what was wrong with an answer, and of asking for another, at most (estimate)."""
_BYTES_PER_TOKEN = 4
"""Bytes of usual text that make a token (estimate); a token is at least one byte, which bounds what it can cost."""
_REFUSAL_REASONS = ("content_filter", "refusal")
_SCHEMA_INSTRUCTION = "Answer with JSON alone, nothing before or after it, that fits this JSON Schema:\n"
_REPAIR_INSTRUCTION = "That does not fit: {why}. Answer again with the whole JSON alone, as the schema wants it."


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked: messages, the media their parts stand for, and the tokens those take: least, most if known."""

    messages: tuple[Mapping[str, Any], ...]
    inputs: tuple[Input, ...] = ()
    media_tokens: tuple[int, int | None] = (0, 0)


@dataclass(frozen=True, slots=True)
class StructuredCompletion:
    """Who asks: a capability's name, operation and version."""

    capability: str
    operation: str
    version: int

    def get_chat_model(self, context: CapabilityContext) -> ChatModel:
        """What the model can do.

        Raises:
            UsageError: when the provider answers no prompts.
        """
        return context.provider.model_facts(self.operation, context.model, ChatModel)

    def build_ask(
        self,
        item: Item,
        prompt: Prompt,
        params: PromptParams,
        context: CapabilityContext,
        more: Mapping[str, Any] | None = None,
    ) -> Ask:
        """The Ask for a prompt, with the most tokens it can take."""
        asked: dict[str, Any] = {"messages": list(prompt.messages), **params.to_sampling_params(), **(more or {})}
        if params.json_schema is not None:
            asked["schema"] = params.json_schema
        if params.is_streamed():
            asked["stream"] = True
        return Ask(
            capability=self.capability,
            operation=self.operation,
            model=context.model,
            params=asked,
            inputs=prompt.inputs,
            ceiling=Usage(
                input_tokens=None
                if prompt.media_tokens[1] is None
                else _count_max_text_tokens(asked) + prompt.media_tokens[1],
                output_tokens=params.max_tokens * int(asked.get("n") or 1),
                requests=1,
            ),
            sample=item.sample,
            version=self.version,
            item_id=item.item_id,
        )

    def estimate(self, item: Item, prompt: Prompt, params: PromptParams, context: CapabilityContext) -> Estimate:
        """What a prompt would need: likely a quarter of the longest answer, at most all of it in every try."""
        ask = self.build_ask(item, add_schema_message(prompt, params, self.get_chat_model(context)), params, context)
        likely = Usage(
            input_tokens=-(-_count_max_text_tokens(ask.params) // _BYTES_PER_TOKEN) + prompt.media_tokens[0],
            output_tokens=-(-(ask.ceiling.output_tokens or 0) // 4),
            requests=1,
        )
        return Estimate(1, likely, _add_repair_usage(ask.ceiling, params))

    async def request_answer(
        self,
        item: Item,
        prompt: Prompt,
        params: PromptParams,
        call: Call,
        context: CapabilityContext,
        more: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Ask, and ask again with what was wrong while the answer does not fit its schema.

        Returns:
            The columns of :func:`answer_fields`, and ``choices`` as the provider told them.

        Raises:
            BadReply: ``refused`` by the model, ``cut_off`` at its longest length, ``misfit`` after every repair,
                or ``empty_answer``.
        """
        talk, answers = self.get_chat_model(context), list[Answer]()
        current = add_schema_message(prompt, params, talk)
        while True:
            answer = await call(self.build_ask(item, current, params, context, more))
            answers.append(answer)
            choice = answer.data["choices"][0]
            said, why = self._parse_choice(choice, params)
            if why is None or len(answers) > params.repairs:
                break
            current = _build_repair_prompt(current, said["text"], why)
        if why is not None:
            raise BadReply(
                f"the answer does not fit the schema after {len(answers)} tries: {why}",
                kind="misfit",
                hint="make the schema or the prompt plainer, or choose a better --model",
            )
        return {**said, **_to_token_columns(answers), "choices": answer.data["choices"]}

    def _parse_choice(self, choice: Mapping[str, Any], params: PromptParams) -> tuple[dict[str, Any], str | None]:
        """A choice as columns, and what is wrong with it."""
        text, thought = split_reasoning(choice["text"] or "")
        finish = choice["finish_reason"]
        if choice["refusal"] or finish in _REFUSAL_REASONS:
            words = choice["refusal"] or text or "the provider's filter withheld the answer"
            raise BadReply(f"refused: {words[:300]}", kind="refused", hint="the model will not do this one")
        called = choice["tool_calls"]
        if params.json_schema is not None and not text and called and not _has_tools(params):
            text, called = called[0]["arguments"], []
        said = {"text": text, "reasoning": choice["reasoning"] or thought, "finish_reason": finish}
        if called and not text:  # a tool's answer is wanted before there is one to hold against the schema
            return said, None
        if params.json_schema is None:
            if not text:
                raise _no_answer_error(finish, params)
            return said, None
        try:
            value = parse_json(text)
        except ValueError as error:
            if finish == "length":
                raise _no_answer_error(finish, params) from None
            return said, str(error)
        why = find_violation(value, params.json_schema)
        if why is None:
            try:
                said.update(_to_typed_columns(value, params))
            except ValueError as error:
                why = str(error)
        return said, why


def answer_fields(params: PromptParams) -> list[pa.Field]:
    """The columns of an answer; a schema's own come last."""
    import pyarrow as pa

    own = [
        pa.field("text", pa.string()),
        pa.field("reasoning", pa.string()),
        pa.field("finish_reason", pa.string()),
        pa.field("answered_by", pa.string()),
        pa.field("input_tokens", pa.int64()),
        pa.field("cached_input_tokens", pa.int64()),
        pa.field("output_tokens", pa.int64()),
        pa.field("reasoning_tokens", pa.int64()),
        pa.field("first_token_ms", pa.int64()),
        pa.field("repairs", pa.int32()),
    ]
    if params.json_schema is None:
        return own
    return [*own, *(field.with_name(column_name(field.name)) for field in to_arrow_fields(params.json_schema))]


def add_schema_message(prompt: Prompt, params: PromptParams, chat_model: ChatModel) -> Prompt:
    """The prompt with the schema in words where the model is not held to it otherwise."""
    held = chat_model.structured == "json_schema" or (chat_model.structured == "tool" and not _has_tools(params))
    if params.json_schema is None or held:
        return prompt
    words = _SCHEMA_INSTRUCTION + orjson.dumps(params.json_schema).decode()
    return Prompt(({"role": "system", "content": words}, *prompt.messages), prompt.inputs, prompt.media_tokens)


def _build_repair_prompt(prompt: Prompt, text: str, why: str) -> Prompt:
    said = {"role": "assistant", "content": text}
    wanted = {"role": "user", "content": _REPAIR_INSTRUCTION.format(why=why)}
    return Prompt((*prompt.messages, said, wanted), prompt.inputs, prompt.media_tokens)


def _to_typed_columns(value: Any, params: PromptParams) -> dict[str, Any]:
    assert params.json_schema is not None
    fields = to_arrow_fields(params.json_schema)
    if (
        len(fields) == 1
        and fields[0].name == WHOLE_ANSWER_COLUMN
        and not (isinstance(value, dict) and WHOLE_ANSWER_COLUMN in value)
    ):
        return {column_name(WHOLE_ANSWER_COLUMN): fit_to_type(value, fields[0].type)}
    return {column_name(field.name): fit_to_type(value.get(field.name), field.type) for field in fields}


def _no_answer_error(finish: str | None, params: PromptParams) -> BadReply:
    if finish == "length":
        return BadReply(
            f"the answer was cut off at {params.max_tokens} tokens",
            kind="cut_off",
            hint="raise --max-tokens; reasoning counts too",
        )
    return BadReply("the model answered nothing", kind="empty_answer", hint="try another prompt or --model")


def _to_token_columns(answers: Sequence[Answer]) -> dict[str, Any]:
    """Tokens of all tries together; the rest from the last."""
    last = answers[-1]

    def total(name: str) -> int | None:
        told = [getattr(answer.usage, name) for answer in answers]
        return None if any(n is None for n in told) else sum(told)

    thought = [answer.data["reasoning_tokens"] for answer in answers]
    return {
        "answered_by": last.data["model"],
        "input_tokens": total("input_tokens"),
        "cached_input_tokens": total("cached_input_tokens"),
        "output_tokens": total("output_tokens"),
        "reasoning_tokens": None if None in thought else sum(thought),
        "first_token_ms": last.data["first_token_ms"],
        "repairs": len(answers) - 1,
    }


def _has_tools(params: PromptParams) -> bool:
    """True when the model may call functions of the user's, whose arguments are no answer."""
    return "tools" in params.to_sampling_params()


def _add_repair_usage(one: Usage, params: PromptParams) -> Usage:
    """The most that a prompt takes with every repair: each holds the answers before it and what was wrong with them."""
    tries = 1 if params.json_schema is None else 1 + params.repairs
    per_try = params.max_tokens + 2 * _TOKENS_PER_MESSAGE + _MAX_REPAIR_TOKENS
    before = per_try * tries * (tries - 1) // 2
    return Usage(
        input_tokens=None if one.input_tokens is None else one.input_tokens * tries + before,
        output_tokens=None if one.output_tokens is None else one.output_tokens * tries,
        requests=tries,
    )


def _count_max_text_tokens(asked: Mapping[str, Any]) -> int:
    """Bytes of all words that are sent, which their tokens cannot exceed, and what templates add."""
    total = sum(len(orjson.dumps(asked[name])) for name in ("schema", "tools", "tool_choice") if name in asked)
    total += _TOOL_TOKENS if "tools" in asked or "schema" in asked else 0
    for message in asked["messages"]:
        content, called = message.get("content"), message.get("tool_calls")
        parts = [part.get("text", "") for part in content] if isinstance(content, list) else [content or ""]
        total += _TOKENS_PER_MESSAGE + sum(len(str(part).encode("utf-8", "replace")) for part in parts)
        total += len(orjson.dumps(called)) if called else 0
    return total
