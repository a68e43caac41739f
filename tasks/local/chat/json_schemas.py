"""JSON Schemas of requests: whether they are valid, and the rules of OpenAI's strict mode."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from mediamill.tasks.local.server.api_error import ApiError

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_MAX_DEPTH = 100
_MAX_STRICT_DEPTH = 10
_MAX_STRICT_PROPERTIES = 5000
_KEYWORDS_NOT_STRICT = ("allOf", "oneOf", "not", "dependentRequired", "dependentSchemas", "if", "then", "else")


def check_schema(schema: Any, where: str, *, strict: bool = False) -> Mapping[str, Any]:
    """Check a schema and return it.

    Args:
        schema: the value that was sent.
        where: its field, for error messages.
        strict: whether it must follow the rules of OpenAI's strict mode.

    Raises:
        ApiError: when it is not a valid JSON Schema, or breaks those rules.
    """
    if not isinstance(schema, dict):
        raise ApiError("bad_value", f"{where}: a JSON Schema is an object", param=where)
    if _measure_depth(schema) > _MAX_DEPTH:
        raise ApiError("bad_value", f"{where}: the schema is nested more than {_MAX_DEPTH} levels", param=where)
    error = _find_definition_error(orjson.dumps(schema))
    if error is not None:
        raise ApiError("bad_value", f"Invalid schema for {where}: {error}", param=where)
    if strict:
        violation = _find_strict_error(schema)
        if violation is not None:
            raise ApiError("bad_value", f"Invalid schema for {where}: {violation}", param=where)
    return schema


def find_schema_error(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Why a value does not conform to a schema; None when it does."""
    try:
        found = next(iter(_get_schema_validator(orjson.dumps(schema)).iter_errors(value)), None)
    except Exception as error:  # noqa: BLE001 - unresolvable references, invalid patterns
        return f"{type(error).__name__}: {error}"[:200]
    return None if found is None else f"{found.message[:200]} at {found.json_path}"


@functools.lru_cache(maxsize=64)
def _get_schema_validator(schema: bytes) -> Validator:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(orjson.loads(schema), registry=Registry())  # nothing is fetched


@functools.lru_cache(maxsize=64)
def _find_definition_error(schema: bytes) -> str | None:
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(orjson.loads(schema))
    except SchemaError as error:
        return f"{error.message[:200]} at {error.json_path}"
    except RecursionError:
        return "it is nested too deeply"
    return None


def _measure_depth(schema: Any) -> int:
    """How deep lists and objects are nested, measured without recursion."""
    max_depth, stack = 0, [(schema, 1)]
    while stack:
        part, depth = stack.pop()
        max_depth = max(max_depth, depth)
        if isinstance(part, (dict, list)):
            stack += [(inner, depth + 1) for inner in (part.values() if isinstance(part, dict) else part)]
    return max_depth


def _find_strict_error(schema: Mapping[str, Any]) -> str | None:
    """The first of the strict mode's rules that a schema breaks (provider docs)."""
    if schema.get("type") != "object" or "anyOf" in schema:
        return "schema must be a JSON Schema of 'type: \"object\"', and its root not an anyOf"
    properties = 0
    for part, depth in _walk_schemas(schema, 0):
        unknown = next((name for name in _KEYWORDS_NOT_STRICT if name in part), None)
        if unknown is not None:
            return f"'{unknown}' is not permitted"
        if depth > _MAX_STRICT_DEPTH:
            return f"it is nested more than {_MAX_STRICT_DEPTH} levels"
        if part.get("type") != "object" and "properties" not in part:
            continue
        if part.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false"
        named = part.get("properties") or {}
        missing = sorted(set(named) - set(part.get("required") or ()))
        if missing:
            return (
                f"'required' is required to be supplied and to be an array including every key; missing {missing[0]!r}"
            )
        properties += len(named)
        if properties > _MAX_STRICT_PROPERTIES:
            return f"it has more than {_MAX_STRICT_PROPERTIES} properties"
    return None


def _walk_schemas(part: Any, depth: int) -> Iterator[tuple[Mapping[str, Any], int]]:
    """A schema and the schemas in it, each with its depth."""
    if not isinstance(part, dict):
        return
    yield part, depth
    for name in ("properties", "$defs", "definitions"):
        for inner in (part.get(name) or {}).values():
            yield from _walk_schemas(inner, depth + (name == "properties"))
    yield from _walk_schemas(part.get("items"), depth)
    for inner in part.get("anyOf") or ():
        yield from _walk_schemas(inner, depth)
