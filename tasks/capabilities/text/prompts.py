"""Prompts: the parameters of all capabilities that send prompts, and templates filled from a row."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from mediamill.tasks.capabilities.parameters import Option, ReadsFile, is_from_row
from mediamill.tasks.domain import JSON, Item
from mediamill.tasks.errors import BadInput

if TYPE_CHECKING:
    from jinja2 import Template

    from mediamill.tasks.capabilities.base import CapabilityContext

_MAX_UNSTREAMED_TOKENS = 4096
"""Longer answers are received as a stream, so that a silent connection can be told from a working model."""

_NOT_SAMPLING_PARAMS = frozenset({"prompt", "system", "json_schema", "repairs", "stream"})
"""Parameters that are not sampling parameters of the request."""


def check_template(value: str | None, info: ValidationInfo) -> str | None:
    """Check a parameter that is a template, and return it unchanged. A row's own value is not a template.

    Raises:
        ValueError: when the template has a syntax error.
    """
    from jinja2 import TemplateSyntaxError

    try:
        if value is not None and not is_from_row(info):
            _compile_template(value)
    except TemplateSyntaxError as error:
        raise ValueError(f"the template has a syntax error in line {error.lineno}: {error.message}") from None
    return value


class PromptParams(BaseModel):
    """Parameters of a chat model. What is unset is not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str | None = Field(
        None,
        min_length=1,
        max_length=200_000,
        description="the prompt, a template: {{ column }} becomes the row's value",
    )
    system: str | None = Field(
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

        return value if value is None else load_schema(value)

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
    rendered = text if template is None else render_row(item, name, template, text=text)
    if not optional and not rendered.strip():
        raise BadInput(f"{item.source}: the {name} is empty", kind="empty", hint="write one, or leave it out")
    return rendered


def render_row(item: Item, name: str, template: str, **extra_values: JSON) -> str:
    """A parameter's template filled with the row's columns and ``extra_values``; the row's own value as is.

    Raises:
        BadInput: when the template names a column that does not exist, or cannot be filled.
    """
    if name in item.params:
        return template
    return render_template(
        template, {**item.row, **extra_values, "item_id": item.item_id, "source": item.source}, item.source
    )


def render_template(template: str, row: Mapping[str, Any], source: str) -> str:
    """A template filled with a row's columns.

    Raises:
        BadInput: when the template names a column that does not exist, or cannot be filled.
    """
    from jinja2 import TemplateError, UndefinedError

    if "{" not in template:
        return template
    try:
        return _compile_template(template).render(row)
    except UndefinedError as error:
        raise BadInput(
            f"{source}: the prompt needs a column that the row does not have: {error.message}",
            kind="bad_row",
            hint=f"its columns are {', '.join(map(str, row)) or 'none'}",
        ) from None
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise BadInput(f"{source}: the prompt cannot be filled: {error}", kind="bad_row") from None


@functools.lru_cache(maxsize=256)
def _compile_template(text: str) -> Template:
    """Compile a template, once. It runs in a sandbox, because a manifest may come from anybody."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=False).from_string(text)
