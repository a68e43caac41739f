"""JSON Schemas of answers: loaded, checked, and compared with what a model answers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mediamill.tasks.bounded import schema_check
from mediamill.tasks.bounded.limits import LIMIT_KIND, WorkFailed
from mediamill.tasks.bounded.worker_pool import run_bounded_async
from mediamill.tasks.bounded_files import parse_yaml, read_bounded_text
from mediamill.tasks.bounded_values import check_depth
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
    schema = load_json_value(value) if isinstance(value, str) else value
    check_depth(schema)
    if not isinstance(schema, dict):
        raise ValueError("a JSON Schema must be an object")  # noqa: TRY004 - pydantic reports a ValueError with its message
    if sum(1 for _ in islice(schema_check.walk(schema), _MAX_PARTS + 1)) > _MAX_PARTS:
        raise ValueError(f"has more than {_MAX_PARTS:,} parts")
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
        _check_refs(schema, schema)
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


def _check_refs(part: Any, schema: Schema) -> None:
    """Check that every reference points into the schema itself; nothing is fetched."""
    if isinstance(part, dict):
        ref = part.get("$ref")
        if isinstance(ref, str) and resolve_ref(ref, schema) is None:
            raise ValueError(f"$ref {ref!r} points to nothing in the schema; only references within it are allowed")
        for value in part.values():
            _check_refs(value, schema)
    elif isinstance(part, list):
        for value in part:
            _check_refs(value, schema)


def resolve_ref(ref: str, schema: Schema) -> Any:
    """What the JSON pointer of a reference points to (RFC 6901); None when it is not in the schema."""
    if not ref.startswith("#"):
        return None
    target: Any = schema
    for token in filter(None, ref[1:].split("/")):
        name = token.replace("~1", "/").replace("~0", "~")
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
