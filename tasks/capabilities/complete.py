"""complete: prompts to answers, free text or fields of a schema, with several samples and tool calls."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from pydantic import Field, field_validator

from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.parameters import Option, ReadsFile
from mediamill.tasks.capabilities.text.misread_answers import MISREAD_ANSWERS
from mediamill.tasks.capabilities.text.prompts import PromptParams, render_text
from mediamill.tasks.capabilities.text.structured_completion import Prompt, StructuredCompletion, get_answer_fields
from mediamill.tasks.domain import Item
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.chat import CHAT, IMAGE_PART, VIDEO_PART
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


class CompleteParams(PromptParams):
    """Parameters of a completion; ``prompt`` is a template around the row's text."""

    n: int | None = Field(None, ge=1, le=128, description="number of answers to each prompt; default 1")
    logprobs: int | None = Field(
        None, ge=0, le=20, description="log probabilities of this many most likely tokens at each position"
    )
    tools: Annotated[list[dict[str, Any]] | None, Option(metavar="FILE"), ReadsFile("--tools")] = Field(
        None, description="functions that the model may call: a JSON or YAML file, or the list itself"
    )
    tool_choice: str | None = Field(None, description="auto, none, required, or the name of the function to call")

    @field_validator("tools", mode="before", json_schema_input_type=list[dict[str, Any]] | str | None)
    @classmethod
    def _parse_tools(cls, value: Any) -> Any:
        from mediamill.tasks.capabilities.text.json_schema import load_json_value

        return load_json_value(value) if isinstance(value, str) else value


class Complete:
    """Answer every prompt of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of prompts, texts or messages, a folder of .txt
    files, a file, a URL, or - for a prompt on each line of stdin. With --prompt the text of each row is put into a
    template: {{ text }} and any other {{ column }}.
    """

    name = "complete"
    operation = CHAT
    kinds = frozenset({"text"})
    params: type[PromptParams] = CompleteParams
    request_version = 1
    misreadings = MISREAD_ANSWERS
    _completion = StructuredCompletion("complete", CHAT, 1)

    def schema(self, params: CompleteParams, provider: Provider, model: str) -> pa.Schema:
        """The first answer's columns, ``samples`` (all answers), ``tool_calls``, and the columns of a schema."""
        import pyarrow as pa

        from mediamill.tasks.sinks.schema import make_field

        sample = pa.struct(
            [
                make_field("text", pa.string(), "text of the answer"),
                make_field("reasoning", pa.string(), "the model's reasoning, where it returns it"),
                make_field("finish_reason", pa.string(), "why the model stopped"),
            ]
        )
        tool_call = pa.struct(
            [
                make_field("name", pa.string(), "name of the function"),
                make_field("arguments", pa.string(), "its arguments as JSON"),
            ]
        )
        fields = get_answer_fields(params)
        return pa.schema(
            [
                make_field("samples", pa.list_(sample), "all answers, of which the first one's columns are below"),
                make_field("tool_calls", pa.list_(tool_call), "calls of the user's functions, of all answers"),
                make_field("logprobs", pa.string(), "log probabilities of the tokens as JSON, where requested"),
                *fields,
            ]
        )

    async def run(
        self, item: Item, params: CompleteParams, call: Call, context: CapabilityContext
    ) -> Mapping[str, Any]:
        """Send one prompt."""
        prompt = await self._build_prompt(item, params, context)
        columns = await self._completion.request_answer(item, prompt, params, call, context, _to_tool_choice(params))
        choices = columns.pop("choices")
        logprobs = [choice["logprobs"] for choice in choices if choice["logprobs"] is not None]
        return {
            **columns,
            "content_sha256": hashlib.sha256(orjson.dumps(prompt.messages)).hexdigest(),
            "samples": [{name: choice[name] for name in ("text", "reasoning", "finish_reason")} for choice in choices],
            "tool_calls": [
                {"name": tool_call["name"], "arguments": tool_call["arguments"]}
                for choice in choices
                for tool_call in choice["tool_calls"]
            ],
            "logprobs": orjson.dumps(logprobs).decode() if logprobs else None,
        }

    async def estimate(self, item: Item, params: CompleteParams, context: CapabilityContext) -> Estimate:
        """What the prompt would need."""
        return self._completion.estimate(item, await self._build_prompt(item, params, context), params, context)

    async def _build_prompt(self, item: Item, params: CompleteParams, context: CapabilityContext) -> Prompt:
        messages = item.row.get("messages")
        if messages not in (None, "") and params.prompt is None:
            return Prompt(tuple(_parse_messages(messages, item)))
        question = await render_text(item, "prompt", params.prompt, context)
        system_prompt = (
            await render_text(item, "system", params.system, context, optional=True) if params.system else None
        )
        system = [{"role": "system", "content": system_prompt}] if system_prompt else []
        return Prompt((*system, {"role": "user", "content": question}))


def _parse_messages(messages: Any, item: Item) -> Sequence[Mapping[str, Any]]:
    """A row's own messages, checked.

    Raises:
        BadInput: when they are not a list of messages.
    """
    if isinstance(messages, str):
        try:
            messages = orjson.loads(messages)
        except ValueError:
            messages = None
    is_filled_list = isinstance(messages, list) and messages
    if not is_filled_list or not all(
        isinstance(m, dict) and m.get("role") in _ROLES and "content" in m for m in messages
    ):
        raise BadInput(
            f"{item.source}: messages must be a list of objects with role and content",
            kind="wrong_row",
            hint="write the list as JSON",
        )
    for message in messages:
        _check_parts(message["content"], item)
    return [{name: value for name, value in message.items() if value is not None} for message in messages]


def _check_parts(content: Any, item: Item) -> None:
    """Refuse parts without a type, that name a file of the machine that reads them, or that only mediamill writes.

    Raises:
        BadInput: naming the part.
    """
    for part in content if isinstance(content, list) else ():
        kind = part.get("type") if isinstance(part, dict) else None
        media = part.get(kind) if isinstance(kind, str) and kind.endswith("_url") else None
        url = media.get("url") if isinstance(media, dict) else media
        is_file = isinstance(url, str) and url.strip().lower().startswith("file:")
        if not isinstance(kind, str) or kind in (IMAGE_PART, VIDEO_PART) or is_file:
            raise BadInput(
                f"{item.source}: messages: a part of type {kind!r} is no text and names no http(s) or data URL",
                kind="wrong_row",
                hint='write {"type": "image_url", "image_url": {"url": "https://..."}}',
            )


def _to_tool_choice(params: CompleteParams) -> dict[str, Any]:
    choice = params.tool_choice
    is_function = choice is not None and choice not in ("auto", "none", "required")
    return {"tool_choice": {"type": "function", "function": {"name": choice}}} if is_function else {}
