"""JSON Schemas of answers: read, checked, and held against what a model says."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

Schema = Mapping[str, Any]


def load_schema(given: Any) -> dict[str, Any]:
    """A schema as given: itself, a .json or .yaml file, or a pydantic model as ``module:Model``.

    Raises:
        ValueError: when there is none, or it is not a JSON Schema.
    """
    schema = load_json_value(given) if isinstance(given, str) else given
    if not isinstance(schema, dict):
        raise ValueError("a JSON Schema is an object")  # noqa: TRY004 - pydantic tells a ValueError in its own words
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"is not a JSON Schema: {error.message[:200]} at {error.json_path}") from None
    _check_refs(schema, schema)
    return schema


def load_json_value(given: str) -> Any:
    """What a parameter names: a .json or .yaml file, JSON itself, or a pydantic model's schema.

    Raises:
        ValueError: when it is none of them.
    """
    path = Path(given).expanduser()
    if path.suffix.lower() in (".json", ".yaml", ".yml") or path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{given}: {getattr(error, 'strerror', None) or 'is not text in UTF-8'}") from None
        import yaml

        try:
            return yaml.safe_load(text)  # JSON is YAML
        except yaml.YAMLError:
            raise ValueError(f"{given}: is neither JSON nor YAML") from None
    if given.lstrip().startswith("{"):
        try:
            return orjson.loads(given)
        except ValueError as error:
            raise ValueError(f"is not JSON: {error}") from None
    return _load_model_schema(given)


def _load_model_schema(given: str) -> Any:
    module, _, name = given.partition(":")
    if not name:
        raise ValueError(f"{given!r} is neither a file nor module:Model")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        model = getattr(importlib.import_module(module), name)
        return model.model_json_schema()
    except Exception as error:  # noqa: BLE001 - a user's module may raise anything as it is imported
        raise ValueError(f"{given}: {error}") from None


def _check_refs(part: Any, schema: Schema) -> None:
    """References lead to places in the schema itself; nothing is fetched."""
    if isinstance(part, dict):
        ref = part.get("$ref")
        if isinstance(ref, str) and resolve_ref(ref, schema) is None:
            raise ValueError(f"$ref {ref!r} does not lead to a place in the schema")
        for value in part.values():
            _check_refs(value, schema)
    elif isinstance(part, list):
        for value in part:
            _check_refs(value, schema)


def resolve_ref(ref: str, schema: Schema) -> Any:
    """What a JSON pointer in a reference leads to (RFC 6901)."""
    if not ref.startswith("#"):
        return None
    found: Any = schema
    for step in filter(None, ref[1:].split("/")):
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    return found


def find_violation(value: Any, schema: Schema) -> str | None:
    """Why a value does not fit a schema, in one line; None when it does."""
    from jsonschema.exceptions import best_match

    error = best_match(_build_validator(orjson.dumps(schema)).iter_errors(value))
    return None if error is None else f"{error.json_path}: {error.message}"[:500]


@functools.lru_cache(maxsize=64)
def _build_validator(schema: bytes) -> Validator:
    from jsonschema.validators import validator_for
    from referencing import Registry

    told = orjson.loads(schema)
    made: Validator = validator_for(told)(told, registry=Registry())
    return made
