"""What a job says of more tries of an item: checked, with the condition that ends them and the columns they add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mediamill.tasks.bounded.expression_language import FUNCTIONS
from mediamill.tasks.bounded.expressions import Expression
from mediamill.tasks.capabilities.base import Capability, SecondOpinion
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.job import Job

if TYPE_CHECKING:
    import pyarrow as pa


def has_more_tries(job: Job) -> bool:
    """Whether a job says anything of more than one try of an item."""
    return bool(job.check or job.check_model or job.until or job.escalate)


def get_second_opinion(capability: Capability) -> SecondOpinion | None:
    """How a capability judges its rows without a reference; None where it cannot."""
    return getattr(capability, "second_opinion", None)


def check_more_tries(job: Job, capability: Capability) -> None:
    """Refuse what says nothing, or what the capability cannot do.

    Raises:
        UsageError: naming the option.
    """
    can_judge = get_second_opinion(capability) is not None
    if job.check and not can_judge:
        raise UsageError(
            f"{capability.name} cannot judge its own rows, so it has no --check",
            hint="give until, a condition, and escalate, who is next while it is false",
        )
    if job.check_model and not job.check:
        raise UsageError("--check-model is the model of the second try, and --check is not given", hint="add --check")
    if job.until and not job.escalate:
        raise UsageError("until is given, and nobody to try an item next", hint="add escalate with a provider")
    if job.escalate and not job.until and not can_judge:
        raise UsageError(
            "escalate needs until: the condition on a row that ends it", hint="e.g. --until 'len(text) > 0'"
        )


def refuse_equal_tries(tries: Sequence[tuple[str, str | None, str, Any]]) -> None:
    """Refuse a try that is as an earlier one: it would get the same answer.

    Raises:
        UsageError: naming its provider and model.
    """
    for number, each in enumerate(tries):
        if each in tries[:number]:
            message = f"escalate {number}: {each[0]} {each[2]} with the same parameters is tried before"
            raise UsageError(message, hint="name another model, or other params")


def parse_until(job: Job, schema: pa.Schema) -> Expression | None:
    """The condition that ends the tries; None where it is the capability's own.

    Raises:
        UsageError: when it is no expression, or names a column that rows do not have.
    """
    if job.until is None:
        return None
    from mediamill.tasks.sinks.results import RESULT_COLUMNS

    try:
        expression = Expression(job.until)
    except ValueError as error:
        raise UsageError(f"until: {error}") from None
    if unknown := sorted(expression.unknown_functions):
        raise NoSuchOption("function", unknown[0], FUNCTIONS, where="until")
    known = {*schema.names, *(column.name for column in RESULT_COLUMNS)}
    for name in sorted(expression.column_names):
        if name not in known and not name.startswith("in_"):
            raise NoSuchOption("column", name, known, where="until")
    if kind := expression.find_type(_describe_columns(schema)):
        hint = "compare it, e.g. --until \"language == 'en'\" or --until 'len(text) > 0'"
        raise UsageError(f"until: {job.until!r} is {kind}, and neither true nor false", hint=hint)
    return expression


def _describe_columns(schema: pa.Schema) -> dict[str, str]:
    """What columns are, in words; those that may be true or false are left out."""
    import pyarrow as pa

    from mediamill.tasks.sinks.results import RESULT_COLUMNS

    types = {column.name: column.type for column in RESULT_COLUMNS} | {field.name: field.type for field in schema}
    kinds = (
        ("a text", pa.types.is_string),
        ("a number", pa.types.is_integer),
        ("a number", pa.types.is_floating),
        ("a number", pa.types.is_decimal),
        ("a list", pa.types.is_list),
        ("a record", pa.types.is_struct),
    )
    return {name: words for name, of in types.items() for words, has_kind in kinds if has_kind(of)}


def build_tries_schema(capability: str, schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns of all who try an item, and those that tell of the tries.

    Raises:
        UsageError: when two have a column of one name and two types, or one is called like those of the tries.
    """
    from mediamill.tasks.sinks.tries import build_tries_fields

    fields = {field.name: field for field in schemas[0]}
    for schema in schemas[1:]:
        for field in schema:
            if fields.setdefault(field.name, field).type != field.type:
                raise UsageError(f"escalate: the column {field.name} would have two types", hint="give the same params")
    own = build_tries_fields()
    if taken := sorted({field.name for field in own} & set(fields)):
        raise UsageError(f"{capability} has a column {taken[0]}, as more tries have", hint="rename it in the schema")
    import pyarrow as pa

    return pa.schema([*fields.values(), *own])
