"""Prompts: the parameters of all capabilities that send prompts, and templates filled from a row."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from mediamill.tasks.bounded import templates
from mediamill.tasks.bounded.limits import DEPTH_MESSAGE, LIMIT_KIND, WorkFailed
from mediamill.tasks.bounded.template_cost import TemplateCost, find_cost
from mediamill.tasks.bounded.worker_pool import run_bounded, run_bounded_async
from mediamill.tasks.capabilities.parameters import Option, ReadsFile, Template, is_from_row
from mediamill.tasks.domain import JSON, Item
from mediamill.tasks.errors import BadInput

if TYPE_CHECKING:
    from mediamill.tasks.capabilities.base import CapabilityContext

_MAX_UNSTREAMED_TOKENS = 4096
"""Longer answers are received as a stream, so that a silent connection can be told from a working model."""

_NOT_SAMPLING_PARAMS = frozenset({"prompt", "system", "json_schema", "repairs", "stream"})
"""Parameters that are not sampling parameters of the request."""


def check_template(value: str | None, info: ValidationInfo) -> str | None:
    """Check a parameter that is a template, and return it unchanged. A row's own value is not a template.

    Raises:
        ValueError: when the template has a syntax error, or takes too long to compile.
    """
    if value is not None and not is_from_row(info):
        _parse_template(value)
    return value


class PromptParams(BaseModel):
    """Parameters of a chat model. What is unset is not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Annotated[str | None, Template()] = Field(
        None,
        min_length=1,
        max_length=200_000,
        description="the prompt, a template: {{ column }} becomes the row's value",
    )
    system: Annotated[str | None, Template()] = Field(
        None, max_length=200_000, description="system message before the prompt; a template, too"
    )
    max_tokens: int = Field(
        1024,
        ge=1,
        le=1_000_000,
        description="maximum length of an answer in tokens, reasoning included; "
        "default 1024, or the model's maximum where that is less",
    )
    temperature: float | None = Field(
        None, ge=0, le=2, allow_inf_nan=False, description="sampling temperature; 0 gives the most likely answer"
    )
    top_p: float | None = Field(
        None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="nucleus sampling: sample from the most likely tokens that have this share of the probability",
    )
    top_k: int | None = Field(
        None, ge=1, le=1000, description="top-k sampling: sample from this many most likely tokens"
    )
    min_p: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="min-p sampling: minimum probability of a token, as a share of the most likely token's",
    )
    repetition_penalty: float | None = Field(
        None, gt=0, le=10, allow_inf_nan=False, description="repetition penalty; 1 is none"
    )
    presence_penalty: float | None = Field(
        None, ge=-2, le=2, allow_inf_nan=False, description="presence penalty; 0 is none"
    )
    frequency_penalty: float | None = Field(
        None, ge=-2, le=2, allow_inf_nan=False, description="frequency penalty; 0 is none"
    )
    seed: int | None = Field(
        None, ge=0, lt=2**63, description="random seed, for repeatable answers where the model supports it"
    )
    stop: list[str] | None = Field(
        None, max_length=4, description="stop sequences: at most 4 texts at which the answer ends"
    )
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = Field(
        None, description="how much the model reasons, where that can be chosen"
    )
    json_schema: Annotated[dict[str, Any] | None, Option("--schema", "FILE"), ReadsFile("--schema")] = Field(
        None, description="JSON Schema of the answer: a file, module:Model, or the schema; its fields become columns"
    )
    repairs: int = Field(
        2, ge=0, le=10, description="how often an answer that does not fit the schema is requested again; default 2"
    )
    stream: bool | None = Field(
        None, description="receive the answer as a stream; default: when max_tokens is more than 4096"
    )

    @field_validator("json_schema", mode="before", json_schema_input_type=dict[str, Any] | str | None)
    @classmethod
    def _load_json_schema(cls, value: Any) -> Any:
        from mediamill.tasks.capabilities.text.json_schema import load_schema
        from mediamill.tasks.capabilities.text.schema_columns import check_size

        if value is None:
            return None
        schema = load_schema(value)
        check_size(schema)
        return schema

    @field_validator("stop", mode="before", json_schema_input_type=list[str] | str | None)
    @classmethod
    def _parse_stop(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    _check_templates = field_validator("prompt", "system")(check_template)

    def to_sampling_params(self) -> dict[str, JSON]:
        """The sampling parameters that are set, by their provider-neutral names."""
        sampling: dict[str, JSON] = self.model_dump(mode="json", exclude=set(_NOT_SAMPLING_PARAMS), exclude_none=True)
        return sampling

    def fit_to_model(self, max_output: int | None) -> Self:
        """These parameters with the default length lowered to the model's maximum; a length that is set stays."""
        if max_output is None or self.max_tokens <= max_output or "max_tokens" in self.model_fields_set:
            return self
        return self.model_copy(update={"max_tokens": max_output})

    def is_streamed(self) -> bool:
        """True when the answer is to be received as a stream."""
        return self.max_tokens > _MAX_UNSTREAMED_TOKENS if self.stream is None else self.stream


async def render_text(
    item: Item, name: str, template: str | None, context: CapabilityContext, *, optional: bool = False
) -> str:
    """A parameter's text for a row: its template filled; the row's text without a template; the row's own value as is.

    Raises:
        BadInput: when the text is empty and not ``optional``, or the template cannot be filled.
    """
    is_from_row = name in item.params
    text = await context.read_text(item) if template is None or (not is_from_row and "text" in template) else ""
    rendered = text if template is None else await render_row(item, name, template, context, text=text)
    if not optional and not rendered.strip():
        raise BadInput(f"{item.source}: the {name} is empty", kind="empty", hint="write one, or leave it out")
    return rendered


async def render_row(item: Item, name: str, template: str, context: CapabilityContext, **extra_values: JSON) -> str:
    """A parameter's template filled with the row's columns and ``extra_values``; the row's own value as is.

    Raises:
        BadInput: when the template names a column that does not exist, cannot be filled, or exceeds a limit.
    """
    if name in item.params or "{" not in template:
        return template
    row = {**item.row, **extra_values, "item_id": item.item_id, "source": item.source}
    try:
        cost = _parse_template(template)
        if cost is not None and cost.is_cheap_for(row):
            return templates.fill_template(template, row)
        rendered: str = await run_bounded_async(
            "fill_template", template, row, raise_if_stopped=context.raise_if_stopped
        )
    except RecursionError:
        raise _to_bad_input(item, name, row, WorkFailed(LIMIT_KIND, DEPTH_MESSAGE)) from None
    except WorkFailed as error:
        raise _to_bad_input(item, name, row, error) from None
    return rendered


def _to_bad_input(item: Item, name: str, row: Mapping[str, Any], error: WorkFailed) -> BadInput:
    if error.kind == "undefined":
        return BadInput(
            f"{item.source}: the {name} needs a value that the row does not have: {error.message}",
            kind="wrong_row",
            hint=f"its columns are {', '.join(map(str, row)) or 'none'}; {{{{ column or 'words' }}}} allows none",
        )
    message = f"{item.source}: the {name} cannot be filled: {error.message}"
    if error.kind == LIMIT_KIND:
        return BadInput(message, kind=LIMIT_KIND, hint="simplify the template's loops, or shorten the row's values")
    return BadInput(message, kind="wrong_row")


@functools.lru_cache(maxsize=256)
def _parse_template(text: str) -> TemplateCost | None:
    """Check a template, once: how long its text can become; None when that is known only by filling it in a worker.

    Raises:
        ValueError: when it has a syntax error, or takes too long to compile.
    """
    from jinja2 import TemplateSyntaxError

    try:
        cost = find_cost(templates.build_environment().parse(text))
        if cost is None:
            run_bounded("check_template", text)
        else:
            templates.check_template(text)
    except TemplateSyntaxError as error:
        raise ValueError(f"the template has a syntax error in line {error.lineno}: {error.message}") from None
    except RecursionError:
        raise ValueError(f"the template cannot be compiled: {DEPTH_MESSAGE}") from None
    except WorkFailed as error:
        is_syntax = error.kind == "syntax"
        problem = "the template has a syntax error" if is_syntax else "the template cannot be compiled:"
        raise ValueError(f"{problem} {error.message}") from None
    return cost
