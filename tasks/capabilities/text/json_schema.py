"""JSON Schemas of answers: loaded, checked, and compared with what a model answers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mediamill.tasks.bounded import schema_check
from mediamill.tasks.bounded.files import parse_yaml, read_bounded_text
from mediamill.tasks.bounded.limits import LIMIT_KIND, WorkFailed
from mediamill.tasks.bounded.values import MAX_DEPTH, check_depth
from mediamill.tasks.bounded.worker_pool import run_bounded_async
from mediamill.tasks.errors import BadReply

if TYPE_CHECKING:
    from mediamill.tasks.capabilities.base import CapabilityContext

Schema = Mapping[str, Any]

_MAX_PARTS = 20_000
"""Maximum number of keywords and values in a schema; checking it takes time in proportion."""


def load_schema(value: Any) -> dict[str, Any]:
    """Load a schema from an object, JSON text, a .json or .yaml file, or a pydantic model as ``module:Model``.

    Raises:
        ValueError: when it cannot be loaded, or is not a JSON Schema.
    """
    given = load_json_value(value) if isinstance(value, str) else value
    check_depth(given)
    if not isinstance(given, dict):
        raise ValueError("a JSON Schema must be an object")  # noqa: TRY004 - pydantic reports a ValueError with its message
    if sum(1 for _ in islice(schema_check.walk(given), _MAX_PARTS + 1)) > _MAX_PARTS:
        raise ValueError(f"has more than {_MAX_PARTS:,} parts")
    try:
        schema: dict[str, Any] = orjson.loads(orjson.dumps(given))  # YAML has values that JSON does not have
    except TypeError as error:
        raise ValueError(f"is not JSON: {error}") from None
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
        _check_refs(schema, schema, {})
    except SchemaError as error:
        raise ValueError(f"is not a JSON Schema: {error.message[:200]} at {error.json_path}") from None
    except OverflowError as error:  # of a pattern
        raise ValueError(f"is not a JSON Schema: {error}") from None
    except RecursionError:
        raise ValueError("is nested too deep for a JSON Schema") from None
    return schema


def load_json_value(value: str) -> Any:
    """Load what a job's parameter names: a .json or .yaml file, JSON text, or a pydantic model's schema.

    Raises:
        ValueError: when it is none of them.
    """
    path = Path(value).expanduser()
    if path.suffix.lower() in (".json", ".yaml", ".yml") or _exists(path):
        return _load_file(path)
    if value.lstrip().startswith(("{", "[")):
        try:
            return orjson.loads(value)
        except ValueError as error:
            raise ValueError(f"is not JSON: {error}") from None
    return _load_model_schema(value)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # JSON text is longer than a name
        return False


def _load_file(path: Path) -> Any:
    text = read_bounded_text(path)
    try:
        return orjson.loads(text)
    except ValueError as error:
        json_error = error
    try:
        return parse_yaml(text)
    except ValueError as error:
        reason = f"is not JSON: {json_error}" if path.suffix.lower() == ".json" else error
        raise ValueError(f"{path} {reason}") from None


def _load_model_schema(value: str) -> Any:
    """The schema of a pydantic model. It is imported as Python finds it: the working folder is not on the path."""
    module, _, name = value.partition(":")
    if not name:
        raise ValueError(f"{value!r} is neither a file nor module:Model")
    try:
        model = getattr(importlib.import_module(module), name)
        return model.model_json_schema()
    except Exception as error:  # noqa: BLE001 - a user's module may raise anything as it is imported
        hint = ""
        if isinstance(error, ModuleNotFoundError) and _exists(Path(module.split(".")[0] + ".py")):
            hint = "; modules of the working folder are imported only with PYTHONPATH=."
        raise ValueError(f"{value}: {error}{hint}") from None


_REF_KEYWORDS = ("$ref", "$dynamicRef", "$recursiveRef")
_SAME_VALUE_KEYWORDS = (*_REF_KEYWORDS, "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas")
"""Keywords whose schemas are about the value itself, not about its members."""


def _check_refs(part: Any, schema: Schema, states: dict[int, bool]) -> None:
    """Check that every reference points into the schema itself, and none leads back to itself; nothing is fetched."""
    if isinstance(part, dict):
        for keyword in _REF_KEYWORDS:
            ref = part.get(keyword)
            if isinstance(ref, str) and resolve_ref(ref, schema) is None:
                raise ValueError(
                    f"{keyword} {ref!r} points to nothing in the schema; only references within it are allowed"
                )
        if isinstance(part.get("$id"), str) and part is not schema:
            raise ValueError(f"$id {part['$id']!r}: only the whole schema may have an $id")
        _check_loops(part, schema, states)
        for value in part.values():
            _check_refs(value, schema, states)
    elif isinstance(part, list):
        for value in part:
            _check_refs(value, schema, states)


def _check_loops(part: Any, schema: Schema, states: dict[int, bool], depth: int = 0) -> None:
    """Check that validating a value does not lead back to the same schema for the same value.

    ``states`` has the schemas that were seen, by their identity: True once all that they lead to is checked.
    """
    if not isinstance(part, dict) or states.get(id(part)):
        return
    if id(part) in states:
        raise ValueError("the schema refers to itself without end")
    if depth > MAX_DEPTH:
        raise ValueError(f"its references lead from one to the next more than {MAX_DEPTH} times")
    states[id(part)] = False
    for keyword in _SAME_VALUE_KEYWORDS:
        inner = part.get(keyword)
        if keyword in _REF_KEYWORDS:
            inner = resolve_ref(inner, schema) if isinstance(inner, str) else None
        elif keyword == "dependentSchemas" and isinstance(inner, dict):
            inner = list(inner.values())
        for each in inner if isinstance(inner, list) else [inner]:
            _check_loops(each, schema, states, depth + 1)
    states[id(part)] = True


def resolve_ref(ref: str, schema: Schema) -> Any:
    """What the JSON pointer of a reference points to (RFC 6901); None when it is not in the schema."""
    if not ref.startswith("#"):
        return None
    target: Any = schema
    for token in filter(None, ref[1:].split("/")):
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list):
            target = target[int(name)] if name.isdecimal() and int(name) < len(target) else None
        else:
            target = target.get(name) if isinstance(target, dict) else None
    return target


async def find_violation(value: Any, schema: Schema, context: CapabilityContext) -> str | None:
    """Why a value does not fit a schema, in one line; None when it fits.

    A schema that may take long, by its patterns or references, is compared in a worker, with limits.

    Raises:
        BadReply: when the comparison exceeds a limit.
    """
    if schema_check.is_cheap(value, schema):
        return schema_check.find_violation(value, schema)
    try:
        violation: str | None = await run_bounded_async(
            "find_violation", value, dict(schema), raise_if_stopped=context.raise_if_stopped
        )
    except WorkFailed as error:
        raise BadReply(
            f"the answer cannot be compared with the schema: {error.message}",
            kind=error.kind if error.kind == LIMIT_KIND else "misfit",
            hint="simplify the schema's patterns and references",
        ) from None
    return violation
