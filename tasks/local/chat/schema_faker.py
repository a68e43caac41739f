"""Values that conform to a JSON Schema, filled with known values."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from mediamill.tasks.local.chat.json_schemas import find_schema_error
from mediamill.tasks.local.chat.regex_example import make_regex_example
from mediamill.tasks.local.server.api_error import ApiError

KnownValues = Mapping[str, Any]

_MAX_DEPTH = 40
_MAX_OPTIONAL_DEPTH = 6
"""Depth down to which optional properties are filled, too."""
_MAX_ITEMS = 10_000
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_FORMATS = {
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "date-time": "2026-01-01T00:00:00Z",
    "duration": "P1D",
    "email": "nobody@example.org",
    "hostname": "example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}


def fill_schema(schema: Mapping[str, Any], known: KnownValues) -> Any:
    """A value that conforms to ``schema``; properties named like a value of ``known`` get it when it conforms.

    Raises:
        ApiError: when no such value is found.
    """
    try:
        value = _SchemaFiller(schema, known).make_value(schema, None, 0)
    except (ArithmeticError, ValueError):
        raise ApiError(
            "bad_value", "the built-in engine cannot fill this schema: its numbers are too large or too small"
        ) from None
    error = find_schema_error(value, schema)
    if error is not None:
        raise ApiError("bad_value", f"the built-in engine cannot fill this schema: {error}", param="response_format")
    return value


class _SchemaFiller:
    """Makes values for the parts of one schema.

    Args:
        root: the whole schema, in which references are followed.
        known: values by property name.
    """

    def __init__(self, root: Mapping[str, Any], known: KnownValues) -> None:
        self.root = root
        self.known = known

    def make_value(self, part: Any, name: str | None, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ApiError("bad_value", "the built-in engine cannot fill this schema: it is nested endlessly")
        part = self.resolve(part, depth)
        preferred = _find_known_value(name, self.known)
        if "const" in part:
            return part["const"]
        if "enum" in part:
            allowed = [
                one
                for one in part["enum"]
                if find_schema_error(one, {k: v for k, v in part.items() if "$" not in k}) is None
            ]
            return preferred if preferred in allowed and preferred is not None else next(iter(allowed), None)
        kind = _guess_type(part)
        result: Any = None
        if kind == "object":
            result = self.make_object(part, depth)
        elif kind == "array":
            result = self.make_array(part, name, depth)
        elif kind in ("integer", "number"):
            result = _make_number(part, preferred, integer=kind == "integer")
        elif kind == "boolean":
            result = preferred if isinstance(preferred, bool) else True
        elif kind == "string":
            result = _make_text(part, preferred if preferred is not None else self.known.get("text", ""))
        return result

    def resolve(self, part: Any, depth: int) -> dict[str, Any]:
        """A schema with references followed, ``allOf`` merged, and one of ``anyOf`` or ``oneOf`` chosen."""
        for _ in range(_MAX_DEPTH):
            part = {**part} if isinstance(part, Mapping) else {}
            if isinstance(part.get("$ref"), str):
                part = _merge_schemas(self.follow_reference(part.pop("$ref")), part)
            elif part.get("allOf"):
                for one in part.pop("allOf"):
                    part = _merge_schemas(part, one)
            elif "anyOf" in part or "oneOf" in part:
                choices = part.pop("anyOf", None) or part.pop("oneOf", None) or [{}]
                part = _merge_schemas(part, self.choose(choices, depth))
            else:
                return dict(part)
        raise ApiError("bad_value", "the built-in engine cannot fill this schema: it refers to itself")

    def choose(self, choices: list[Any], depth: int) -> Any:
        """The first choice that is not null; deep down, the first that has no inner schemas."""
        not_null = [one for one in choices if one not in ({"type": "null"}, False)]
        if depth < _MAX_OPTIONAL_DEPTH:
            return (not_null or choices)[0]
        simple = [c for c in choices if isinstance(c, Mapping) and c.get("type") not in (None, "object", "array")]
        return (simple or not_null or choices)[0]

    def follow_reference(self, reference: str) -> Any:
        found: Any = self.root
        for step in filter(None, reference.removeprefix("#").split("/")):
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, (Mapping, bool)) else {}

    def make_object(self, part: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties, required = part.get("properties") or {}, part.get("required") or []
        maximum = part.get("maxProperties", math.inf)
        optional = [name for name in properties if name not in required and depth < _MAX_OPTIONAL_DEPTH]
        wanted = [*required, *optional][: max(len(required), int(min(maximum, _MAX_ITEMS)))]
        more = part.get("additionalProperties")
        result = {}
        for name in [*(name for name in properties if name in wanted), *(n for n in required if n not in properties)]:
            inner = properties.get(name, more if isinstance(more, Mapping) else {})
            if inner is not False:
                result[name] = self.make_value(inner, name, depth + 1)
        while len(result) < min(part.get("minProperties", 0), _MAX_ITEMS):
            name = f"property{len(result) + 1}"
            result[name] = self.make_value(more if isinstance(more, Mapping) else {}, name, depth + 1)
        return result

    def make_array(self, part: Mapping[str, Any], name: str | None, depth: int) -> list[Any]:
        maximum = min(part.get("maxItems", _MAX_ITEMS), _MAX_ITEMS)
        first = part.get("prefixItems") or []
        items = part.get("items", {})
        result = [self.make_value(inner, name, depth + 1) for inner in first[:maximum]]
        preferred = _find_known_value(name, self.known)
        if not first and isinstance(preferred, (list, tuple)):
            plain = {k: v for k, v in self.resolve(items, depth).items() if k not in ("$defs", "definitions")}
            result = [one for one in preferred if find_schema_error(one, plain) is None][:maximum]
        wanted = 1 if depth < _MAX_OPTIONAL_DEPTH and items is not False and not first else 0
        minimum = min(max(int(part.get("minItems", 0)), min(wanted, maximum)), _MAX_ITEMS)
        if len(result) < minimum and "contains" in part:
            result.append(self.make_value(part["contains"], name, depth + 1))
        while len(result) < minimum:
            result.append(self.make_value(items, name, depth + 1))
        return self.make_unique(result, items, depth) if part.get("uniqueItems") else result

    def make_unique(self, result: list[Any], items: Any, depth: int) -> list[Any]:
        """Items changed until they differ from each other, where their type permits that."""
        choices = self.resolve(items, depth).get("enum") or []
        unique: list[Any] = []
        for n, value in enumerate(result):
            other = value
            if other in unique:
                unused = [one for one in choices if one not in unique]
                other = unused[0] if unused else f"{value}{n}" if isinstance(value, str) else value
                other = value + n if isinstance(value, (int, float)) and not isinstance(value, bool) else other
            unique.append(other)
        return unique


def _merge_schemas(first: Any, second: Any) -> dict[str, Any]:
    """Merge two schemas into one that requires both."""
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        return dict(first if isinstance(first, Mapping) else second if isinstance(second, Mapping) else {})
    result = {**first, **second}
    if "properties" in first and "properties" in second:
        result["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        result["required"] = list(dict.fromkeys([*first["required"], *second["required"]]))
    for name, chosen in (("minimum", max), ("minLength", max), ("minItems", max), ("maximum", min), ("maxLength", min)):
        if name in first and name in second:
            result[name] = chosen(first[name], second[name])
    if "allOf" in first and "allOf" in second:
        result["allOf"] = [*first["allOf"], *second["allOf"]]
    return result


def _find_known_value(name: str | None, known: KnownValues) -> Any:
    """The known value for a property, by its name or by the last known word in it: imageWidth, dominant_colors."""
    if name is None:
        return None
    if name in known:
        return known[name]
    for word in reversed(_WORDS.findall(name)):
        lowered = word.lower()
        for one in (lowered, lowered + "s", lowered.removesuffix("s")):
            if one in known:
                return known[one]
    return None


def _guess_type(part: Mapping[str, Any]) -> str:
    kind = part.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is not None:
        return str(kind)
    if part.keys() & {"properties", "required", "additionalProperties", "minProperties"}:
        return "object"
    if part.keys() & {"items", "minItems", "prefixItems", "contains"}:
        return "array"
    return "number" if part.keys() & {"minimum", "maximum", "multipleOf", "exclusiveMinimum"} else "string"


def _make_number(part: Mapping[str, Any], preferred: Any, *, integer: bool) -> int | float:
    low, high = part.get("minimum", -math.inf), part.get("maximum", math.inf)
    step = part.get("multipleOf")
    step_inside = step or (1 if integer else None)
    below, above = part.get("exclusiveMinimum"), part.get("exclusiveMaximum")
    if below is not None:
        low = max(low, below + (step_inside or _choose_gap(below, min(high, above if above is not None else math.inf))))
    if above is not None:
        high = min(
            high, above - (step_inside or _choose_gap(max(low, below if below is not None else -math.inf), above))
        )
    value = preferred if isinstance(preferred, (int, float)) and not isinstance(preferred, bool) else 0
    value = min(max(value, low), high)
    if integer:
        value = math.ceil(value) if value == low else math.floor(value)
    if step:
        value = math.ceil(value / step) * step if math.ceil(value / step) * step <= high else value // step * step
    return int(value) if integer and value == int(value) else value


def _choose_gap(low: float, high: float) -> float:
    """A step from one bound that stays within both."""
    return (high - low) / 2 if math.isfinite(high - low) and high > low else 0.5


def _make_text(part: Mapping[str, Any], preferred: Any) -> str:
    text = (
        preferred
        if isinstance(preferred, str)
        else " ".join(map(str, preferred))
        if isinstance(preferred, (list, tuple))
        else str(preferred)
    )
    pattern = part.get("pattern")
    if isinstance(pattern, str) and find_schema_error(text, {"pattern": pattern}) is not None:
        text = make_regex_example(pattern) or text
    text = _FORMATS.get(str(part.get("format")), text)
    text = text.ljust(min(int(part.get("minLength", 0)), 1_000_000), "a")
    maximum = part.get("maxLength")
    return text if maximum is None else text[: int(maximum)]
