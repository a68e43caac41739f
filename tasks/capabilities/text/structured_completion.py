"""One prompt to one answer: requested, checked against its schema, and requested again when it does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from mediamill.tasks.capabilities.base import BYTES_PER_TOKEN, Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.text.json_schema import find_violation
from mediamill.tasks.capabilities.text.prompts import PromptParams
from mediamill.tasks.capabilities.text.reply_parsing import parse_json, split_reasoning
from mediamill.tasks.capabilities.text.schema_columns import (
    WHOLE_ANSWER_COLUMN,
    fit_to_type,
    to_arrow_fields,
    to_column_name,
)
from mediamill.tasks.domain import Answer, Ask, Input, Item, Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.operations.chat import ChatModel
from mediamill.tasks.providers.operations.finish_reasons import is_length_reason, is_refusal_reason

if TYPE_CHECKING:
    import pyarrow as pa

_TOKENS_PER_MESSAGE = 40
"""Maximum tokens that chat templates add to a message (estimate)."""
_TOOL_TOKENS = 400
"""Maximum tokens that chat templates add to describe tools or a schema (estimate)."""
_MAX_REPAIR_TOKENS = 500
"""Maximum tokens of a repair request: what was wrong with the answer, and the instruction (estimate)."""

_SCHEMA_INSTRUCTION = "Answer with JSON alone, nothing before or after it, that fits this JSON Schema:\n"
_REPAIR_INSTRUCTION = "That does not fit: {why}. Answer again with the whole JSON alone, as the schema wants it."


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is sent.

    Attributes:
        messages: in the chat format; their media parts refer to ``inputs`` by index.
        inputs: images and videos.
        media_tokens: minimum and maximum tokens of the inputs; the maximum is None when it is unknown.
    """

    messages: tuple[Mapping[str, Any], ...]
    inputs: tuple[Input, ...] = ()
    media_tokens: tuple[int, int | None] = (0, 0)


@dataclass(frozen=True, slots=True)
class StructuredCompletion:
    """Sends prompts for a capability.

    Attributes:
        capability, operation, version: of the Asks.
    """

    capability: str
    operation: str
    version: int

    def get_chat_model(self, context: CapabilityContext) -> ChatModel:
        """What the model can do.

        Raises:
            UsageError: when the provider has no such operation.
        """
        return context.provider.model_facts(self.operation, context.model, ChatModel)

    def build_ask(
        self,
        item: Item,
        prompt: Prompt,
        params: PromptParams,
        context: CapabilityContext,
        extra_params: Mapping[str, Any] | None = None,
    ) -> Ask:
        """The Ask for a prompt; its ceiling is the maximum number of tokens."""
        fields: dict[str, Any] = {
            "messages": list(prompt.messages),
            **params.to_sampling_params(),
            **(extra_params or {}),
        }
        if params.json_schema is not None:
            fields["schema"] = params.json_schema
        if params.is_streamed():
            fields["stream"] = True
        return Ask(
            capability=self.capability,
            operation=self.operation,
            model=context.model,
            params=fields,
            inputs=prompt.inputs,
            ceiling=Usage(
                input_tokens=None
                if prompt.media_tokens[1] is None
                else _count_max_text_tokens(fields) + prompt.media_tokens[1],
                output_tokens=params.max_tokens * int(fields.get("n") or 1),
                requests=1,
            ),
            sample=item.sample,
            version=self.version,
            item_id=item.item_id,
        )

    def estimate(self, item: Item, prompt: Prompt, params: PromptParams, context: CapabilityContext) -> Estimate:
        """What a prompt would need: likely a quarter of the longest answer, at most the longest answer in every try."""
        chat_model = self.get_chat_model(context)
        params = params.fit_to_model(chat_model.max_output)
        ask = self.build_ask(item, add_schema_message(prompt, params, chat_model), params, context)
        likely = Usage(
            input_tokens=-(-_count_max_text_tokens(ask.params) // BYTES_PER_TOKEN) + prompt.media_tokens[0],
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
        extra_params: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Send a prompt; while the answer does not fit the schema, send it again with what was wrong.

        Returns:
            The columns of :func:`get_answer_fields`, and ``choices`` as the operation returned them.

        Raises:
            BadReply: ``refused`` by the model, ``cut_off`` at the maximum length, ``misfit`` after all repairs, or
                ``empty_answer``.
        """
        chat_model, answers = self.get_chat_model(context), list[Answer]()
        params = params.fit_to_model(chat_model.max_output)
        current = add_schema_message(prompt, params, chat_model)
        while True:
            answer = await call(self.build_ask(item, current, params, context, extra_params))
            answers.append(answer)
            choice = answer.data["choices"][0]
            columns, violation = await self._parse_choice(choice, params, context)
            if violation is None or len(answers) > params.repairs:
                break
            current = _build_repair_prompt(current, columns["text"], violation)
        if violation is not None:
            raise BadReply(
                f"the answer does not fit the schema after {len(answers)} tries: {violation}",
                kind="misfit",
                hint="simplify the schema or the prompt, or choose a better --model",
            )
        choices = answer.data["choices"]
        is_cut_off = any(is_length_reason(each["finish_reason"]) for each in choices)
        flags = ["cut_off"] if is_cut_off else []
        return {**columns, **_to_token_columns(answers), "flags": flags, "choices": choices}

    async def _parse_choice(
        self, choice: Mapping[str, Any], params: PromptParams, context: CapabilityContext
    ) -> tuple[dict[str, Any], str | None]:
        """A choice as columns, and why it does not fit the schema; None when it does.

        Raises:
            BadReply: ``refused``, ``cut_off`` or ``empty_answer``; ``over_limit`` when the schema takes too long.
        """
        text, reasoning = split_reasoning(choice["text"] or "")
        finish_reason = choice["finish_reason"]
        if choice["refusal"] or is_refusal_reason(finish_reason):
            words = choice["refusal"] or text or "the provider's filter withheld the answer"
            raise BadReply(
                f"refused: {words[:300]}", kind="refused", hint="change the prompt, or choose another --model"
            )
        tool_calls = choice["tool_calls"]
        if params.json_schema is not None and not text and tool_calls and not _has_tools(params):
            text, tool_calls = tool_calls[0]["arguments"], []
        columns = {"text": text, "reasoning": choice["reasoning"] or reasoning, "finish_reason": finish_reason}
        if tool_calls and not text:  # the model first wants a tool's result: there is no answer to check yet
            return columns, None
        if params.json_schema is None:
            if not text:
                raise _no_answer_error(finish_reason, params)
            return columns, None
        try:
            value = parse_json(text)
        except ValueError as error:
            if is_length_reason(finish_reason):
                raise _no_answer_error(finish_reason, params) from None
            return columns, str(error)
        violation = await find_violation(value, params.json_schema, context)
        if violation is None:
            try:
                columns.update(_to_typed_columns(value, params))
            except ValueError as error:
                violation = str(error)
        return columns, violation


def get_answer_fields(params: PromptParams) -> list[pa.Field]:
    """The columns of an answer; those of a schema come last."""
    import pyarrow as pa

    from mediamill.tasks.sinks.schema import make_field

    fields = [
        make_field("text", pa.string(), "the answer as text"),
        make_field("reasoning", pa.string(), "the model's reasoning, where it returns it"),
        make_field("finish_reason", pa.string(), "why the model stopped"),
        make_field("answered_by", pa.string(), "the model that answered, as the reply names it"),
        make_field("input_tokens", pa.int64(), "tokens of the prompts, of all tries"),
        make_field("cached_input_tokens", pa.int64(), "of these, tokens that the provider had cached"),
        make_field("output_tokens", pa.int64(), "tokens of the answers, of all tries"),
        make_field("reasoning_tokens", pa.int64(), "of these, tokens of the reasoning"),
        make_field(
            "first_token_ms", pa.int64(), "milliseconds to the first token of the last try, where it was streamed"
        ),
        make_field("repairs", pa.int32(), "how often an answer that did not fit the schema was requested again"),
        make_field("flags", pa.list_(pa.string()), "likely faults of the row, such as cut_off: an answer ends early"),
    ]
    if params.json_schema is None:
        return fields
    return [*fields, *(field.with_name(to_column_name(field.name)) for field in to_arrow_fields(params.json_schema))]


def add_schema_message(prompt: Prompt, params: PromptParams, chat_model: ChatModel) -> Prompt:
    """Add the schema to the prompt as a system message, for a model that has no parameter for it."""
    is_enforced = chat_model.structured == "json_schema" or (chat_model.structured == "tool" and not _has_tools(params))
    if params.json_schema is None or is_enforced:
        return prompt
    words = _SCHEMA_INSTRUCTION + orjson.dumps(params.json_schema).decode()
    return Prompt(({"role": "system", "content": words}, *prompt.messages), prompt.inputs, prompt.media_tokens)


def _build_repair_prompt(prompt: Prompt, text: str, violation: str) -> Prompt:
    answer = {"role": "assistant", "content": text}
    instruction = {"role": "user", "content": _REPAIR_INSTRUCTION.format(why=violation)}
    return Prompt((*prompt.messages, answer, instruction), prompt.inputs, prompt.media_tokens)


def _to_typed_columns(value: Any, params: PromptParams) -> dict[str, Any]:
    assert params.json_schema is not None
    fields = to_arrow_fields(params.json_schema)
    if (
        len(fields) == 1
        and fields[0].name == WHOLE_ANSWER_COLUMN
        and not (isinstance(value, dict) and WHOLE_ANSWER_COLUMN in value)
    ):
        return {to_column_name(WHOLE_ANSWER_COLUMN): fit_to_type(value, fields[0].type)}
    return {to_column_name(field.name): fit_to_type(value.get(field.name), field.type) for field in fields}


def _no_answer_error(finish_reason: str | None, params: PromptParams) -> BadReply:
    if is_length_reason(finish_reason):
        return BadReply(
            f"the answer was cut off at {params.max_tokens} tokens",
            kind="cut_off",
            hint="raise --max-tokens; reasoning counts too",
        )
    return BadReply("the model's answer is empty", kind="empty_answer", hint="try another prompt or --model")


def _to_token_columns(answers: Sequence[Answer]) -> dict[str, Any]:
    """The sum of all tries' tokens; the other columns are from the last try."""
    last = answers[-1]

    def total(name: str) -> int | None:
        counts = [getattr(answer.usage, name) for answer in answers]
        return None if any(n is None for n in counts) else sum(counts)

    reasoning_tokens = [answer.data["reasoning_tokens"] for answer in answers]
    return {
        "answered_by": last.data["model"],
        "input_tokens": total("input_tokens"),
        "cached_input_tokens": total("cached_input_tokens"),
        "output_tokens": total("output_tokens"),
        "reasoning_tokens": None if None in reasoning_tokens else sum(reasoning_tokens),
        "first_token_ms": last.data["first_token_ms"],
        "repairs": len(answers) - 1,
    }


def _has_tools(params: PromptParams) -> bool:
    """True when the model may call the user's functions, whose arguments are not an answer."""
    return "tools" in params.to_sampling_params()


def _add_repair_usage(usage: Usage, params: PromptParams) -> Usage:
    """The ceiling with all repairs: each repair request contains the earlier answers and what was wrong with them."""
    tries = 1 if params.json_schema is None else 1 + params.repairs
    tokens_per_try = params.max_tokens + 2 * _TOKENS_PER_MESSAGE + _MAX_REPAIR_TOKENS
    repair_tokens = tokens_per_try * tries * (tries - 1) // 2
    return Usage(
        input_tokens=None if usage.input_tokens is None else usage.input_tokens * tries + repair_tokens,
        output_tokens=None if usage.output_tokens is None else usage.output_tokens * tries,
        requests=tries,
    )


def _count_max_text_tokens(fields: Mapping[str, Any]) -> int:
    """An upper bound of the tokens of all text: its bytes, which its tokens cannot exceed, and what templates add."""
    total = sum(len(orjson.dumps(fields[name])) for name in ("schema", "tools", "tool_choice") if name in fields)
    total += _TOOL_TOKENS if "tools" in fields or "schema" in fields else 0
    for message in fields["messages"]:
        content, tool_calls = message.get("content"), message.get("tool_calls")
        parts = [part.get("text", "") for part in content] if isinstance(content, list) else [content or ""]
        total += _TOKENS_PER_MESSAGE + sum(len(str(part).encode("utf-8", "replace")) for part in parts)
        total += len(orjson.dumps(tool_calls)) if tool_calls else 0
    return total
