"""Compares a value with a JSON Schema. Its patterns, references and alternatives may make that take for ever."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_MAX_STEPS = 50_000
"""Parts of the schema times parts of the value, up to which a comparison is surely short."""
_UNBOUNDED_KEYWORDS = frozenset(
    ("pattern", "patternProperties", "uniqueItems", "$ref", "$dynamicRef", "$recursiveRef", "unevaluatedItems")
) | {"unevaluatedProperties"}


def is_cheap(value: Any, schema: Mapping[str, Any]) -> bool:
    """True when each part of the schema is compared with each part of the value at most once, and they are few."""
    schema_parts = _count_schema_parts(orjson.dumps(schema))
    return schema_parts is not None and schema_parts * sum(1 for _ in islice(walk(value), _MAX_STEPS)) < _MAX_STEPS


def find_violation(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Why a value does not fit a schema, in one line; None when it fits."""
    from jsonschema.exceptions import best_match

    error = best_match(_build_validator(orjson.dumps(schema)).iter_errors(value))
    return None if error is None else f"{error.json_path}: {error.message}"[:500]


@functools.lru_cache(maxsize=64)
def _count_schema_parts(schema: bytes) -> int | None:
    """The parts of a schema; None when it has one whose cost is not known."""
    parts = 0
    for part in walk(orjson.loads(schema)):
        parts += 1
        if isinstance(part, dict) and _UNBOUNDED_KEYWORDS & part.keys():
            return None
    return parts


def walk(value: Any) -> Iterator[Any]:
    """A value and all its parts, at any depth."""
    pending = [value]
    while pending:
        current = pending.pop()
        yield current
        if isinstance(current, dict):
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)


@functools.lru_cache(maxsize=64)
def _build_validator(schema: bytes) -> Validator:
    from jsonschema.validators import validator_for
    from referencing import Registry

    parsed = orjson.loads(schema)
    validator: Validator = validator_for(parsed)(parsed, registry=Registry())
    return validator
