"""Objects that fit a JSON Schema, filled with what is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEEPEST = 24
_LETTERS = "answer"


def filled(schema: Any, known: Mapping[str, Any]) -> Any:
    """A value that fits ``schema``; properties called like something ``known`` hold that where it fits.

    Args:
        schema: objects, lists, enums, constants, ``$ref``, ``anyOf``, ``oneOf``, ``allOf``, bounds and lengths.
        known: values by property name.
    """
    return _value(schema, schema, None, known, 0)


def _value(part: Any, whole: Any, name: str | None, known: Mapping[str, Any], depth: int) -> Any:
    part = _followed(part, whole)
    if "const" in part:
        return part["const"]
    if part.get("enum"):
        given = known.get(name or "")
        return given if given in part["enum"] else part["enum"][0]
    kind = _kind(part, depth)
    made: Any = None
    if kind == "object":
        made = _object(part, whole, known, depth)
    elif kind == "array":
        made = _array(part, whole, name, known, depth)
    elif kind in ("integer", "number"):
        made = _number(part, known.get(name or ""), whole_number=kind == "integer")
    elif kind == "boolean":
        given = known.get(name or "")
        made = given if isinstance(given, bool) else True
    elif kind == "string":
        made = _text(part, known.get(name or "", known.get("text", "")))
    return made


def _followed(part: Any, whole: Any) -> Mapping[str, Any]:
    """References, and of several choices the first that is not null, or all together."""
    for _ in range(_DEEPEST):
        if not isinstance(part, Mapping):
            return {}
        if isinstance(part.get("$ref"), str):
            found: Any = whole
            for step in filter(None, part["$ref"].lstrip("#").split("/")):
                key = step.replace("~1", "/").replace("~0", "~")
                found = found.get(key, {}) if isinstance(found, Mapping) else {}
            part = found
            continue
        choices = part.get("anyOf") or part.get("oneOf")
        if choices:
            real = [c for c in choices if not (isinstance(c, Mapping) and c.get("type") == "null")]
            part = (real or choices)[0]
            continue
        if part.get("allOf"):
            merged: dict[str, Any] = {k: v for k, v in part.items() if k != "allOf"}
            for one in part["allOf"]:
                merged |= dict(_followed(one, whole))
            part = merged
            continue
        return part
    return {}


def _kind(part: Mapping[str, Any], depth: int) -> str:
    kind = part.get("type")
    if isinstance(kind, list):
        kind = "null" if depth > _DEEPEST and "null" in kind else next((k for k in kind if k != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in part else "array" if "items" in part else "string"
    return str(kind)


def _object(part: Mapping[str, Any], whole: Any, known: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = part.get("properties") or {}
    required = part.get("required") or []
    wanted = [name for name in properties if name in required or depth < _DEEPEST // 4]
    made = {name: _value(properties[name], whole, name, known, depth + 1) for name in wanted}
    more = part.get("additionalProperties")
    for name in required:
        if name not in made:
            made[name] = _value(more if isinstance(more, Mapping) else {}, whole, name, known, depth + 1)
    return made


def _array(part: Mapping[str, Any], whole: Any, name: str | None, known: Mapping[str, Any], depth: int) -> list[Any]:
    least, most = int(part.get("minItems", 0)), part.get("maxItems")
    given = known.get(name or "")
    items = part.get("items", {})
    if isinstance(given, (list, tuple)) and _followed(items, whole).get("type", "string") == "string":
        texts = [value for value in map(str, given) if _fits(_followed(items, whole), value)]
        made: list[Any] = texts[: most if isinstance(most, int) else None]
    else:
        made = []
    while len(made) < max(least, 1 if depth < _DEEPEST // 4 and most != 0 else 0):
        value = _value(items, whole, name, known, depth + 1)
        if part.get("uniqueItems") and value in made:
            value = f"{value} {len(made)}" if isinstance(value, str) else value + len(made)
        made.append(value)
    return made


def _fits(part: Mapping[str, Any], value: str) -> bool:
    allowed = part.get("enum")
    return allowed is None or value in allowed


def _number(part: Mapping[str, Any], given: Any, *, whole_number: bool) -> int | float:
    low, high = part.get("minimum"), part.get("maximum")
    if part.get("exclusiveMinimum") is not None:
        low = part["exclusiveMinimum"] + (1 if whole_number else 0.5)
    if part.get("exclusiveMaximum") is not None:
        high = part["exclusiveMaximum"] - (1 if whole_number else 0.5)
    value = given if isinstance(given, (int, float)) and not isinstance(given, bool) else low if low is not None else 0
    value = value if low is None else max(value, low)
    value = value if high is None else min(value, high)
    step = part.get("multipleOf")
    if step:
        value = -(-value // step) * step
    return int(value) if whole_number else value


def _text(part: Mapping[str, Any], given: Any) -> str:
    text = str(given) if given is not None else ""
    formats = {"date": "2026-01-01", "date-time": "2026-01-01T00:00:00Z", "email": "nobody@example.org"}
    text = formats.get(str(part.get("format")), text)
    text = text.ljust(int(part.get("minLength", 0)), _LETTERS[0])
    most = part.get("maxLength")
    return text if most is None else text[: int(most)]
