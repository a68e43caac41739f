"""The built-in server fills a requested schema with a conforming value, or refuses it."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.local.chat.json_schemas import check_schema
from mediamill.tasks.local.chat.regex_example import make_regex_example
from mediamill.tasks.local.chat.schema_faker import fill_schema
from mediamill.tasks.local.server.api_error import ApiError
from tests.helpers.hypothesis_profile import make_repeatable

NAMES = st.text("abcxyz", min_size=1, max_size=4)
REFERS = {"$ref": "#/$defs/shared"}
SHARED = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}


def numbers(kind: str) -> Any:
    bounds = {"minimum": 0, "maximum": 7, "exclusiveMinimum": -1, "exclusiveMaximum": 8}
    return st.tuples(st.integers(-50, 50), st.sets(st.sampled_from(sorted(bounds))), st.sampled_from([None, 2, 3])).map(
        lambda drawn: (
            {"type": kind}
            | {name: drawn[0] + bounds[name] for name in drawn[1]}
            | ({"multipleOf": drawn[2]} if drawn[2] else {})
        )
    )


def objects(inner: Any) -> Any:
    return st.dictionaries(NAMES, inner, max_size=4).flatmap(
        lambda properties: st.lists(st.sampled_from(sorted(properties) or ["q"]), unique=True).map(
            lambda required: {"type": "object", "properties": properties, "required": required}
        )
    )


def arrays(inner: Any) -> Any:
    options = {"items": inner, "minItems": st.integers(0, 3), "maxItems": st.integers(3, 5)}
    return st.fixed_dictionaries({"type": st.just("array")}, optional=options)


LEAVES: Any = (
    st.sampled_from([{"type": "string"}, {"type": "boolean"}, {"type": "null"}, {"enum": ["a", 3, None]}, {"const": 5}])
    | st.sampled_from([REFERS, {}, {"type": ["string", "null"]}, {"type": "string", "pattern": "^#[0-9a-f]{6}$"}])
    | st.sampled_from(["date", "email", "uuid"]).map(lambda form: {"type": "string", "format": form})
    | numbers("integer")
    | numbers("number")
    | st.integers(0, 9).map(lambda n: {"type": "string", "minLength": n, "maxLength": n + 5})
)
SCHEMAS: Any = st.recursive(
    LEAVES,
    lambda inner: (
        arrays(inner)
        | objects(inner)
        | st.lists(inner, min_size=1, max_size=2).map(lambda some: {"anyOf": [{"type": "null"}, *some]})
        | st.lists(objects(LEAVES), min_size=1, max_size=1).map(lambda some: {"allOf": some})
        | inner.map(lambda one: {"type": "object", "additionalProperties": one, "minProperties": 2})
    ),
    max_leaves=8,
)


@make_repeatable()
@given(SCHEMAS, st.dictionaries(NAMES, st.text(max_size=3) | st.integers() | st.lists(st.text(max_size=2))))
def test_filled_values_conform_to_the_schema(schema: dict[str, Any], known: dict[str, Any]) -> None:
    schema = {**schema, "$defs": {"shared": SHARED}}
    jsonschema.Draft202012Validator(schema).validate(fill_schema(check_schema(schema, "here"), known))


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WORDS = [
    "type",
    "properties",
    "items",
    "required",
    "enum",
    "anyOf",
    "allOf",
    "$ref",
    "minItems",
    "pattern",
    "not",
    "const",
]
VALUES = st.sampled_from(["object", "array", "string", "number", "#", "#/properties/a", "http://127.0.0.1:1/x", "(a"])


@make_repeatable()
@given(
    st.recursive(
        JSON | VALUES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_schema_is_filled_or_refused(schema: Any) -> None:
    try:
        value = fill_schema(check_schema(schema, "here"), {"text": "words"})
    except ApiError:
        return
    jsonschema.Draft202012Validator(schema).validate(value)


NODE = {"type": "object", "properties": {"of": {"$ref": "#/$defs/node"}, "n": {"type": "integer"}}, "required": ["n"]}
TREE = {"type": "object", "$defs": {"node": NODE}, "properties": {"root": {"$ref": "#/$defs/node"}}}
ENDLESS = {"$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"]}}}


def test_a_recursive_schema_is_filled_unless_it_is_endless() -> None:
    jsonschema.Draft202012Validator(TREE).validate(fill_schema(check_schema(TREE, "here"), {}))
    with pytest.raises(ApiError, match="cannot fill"):
        fill_schema(check_schema({**ENDLESS, "$ref": "#/$defs/a"}, "here"), {})


def test_known_values_fill_properties_of_like_names() -> None:
    known = {"width": 640, "colors": ["red", "blue"], "text": "words", "color": "red"}
    texts = {"type": "array", "items": {"type": "string"}}
    schema = {
        "type": "object",
        "properties": {
            "imageWidth": {"type": "integer"},
            "dominant_colors": {**texts, "maxItems": 1},
            "main_color": {"enum": ["green", "red"]},
            "inner": {"type": "object", "properties": {"width": {"type": "integer", "maximum": 100}}},
        },
    }
    assert fill_schema(check_schema(schema, "here"), known) == {
        "imageWidth": 640,
        "dominant_colors": ["red"],
        "main_color": "red",
        "inner": {"width": 100},
    }


PATTERNS = [
    "^#[0-9a-f]{6}$",
    r"^\d{4}-\d{2}$",
    "^(yes|no)$",
    "[^a]b+",
    r"^(\w)\1{2}$",
    "(?:ab){2,}?c?",
    "^.{3}$",
    "a|b",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_an_example_is_found_for_a_regex(pattern: str) -> None:
    example = make_regex_example(pattern)
    assert example is not None
    assert re.search(pattern, example)


@pytest.mark.parametrize("pattern", ["(", "(?<=a)b", "^a$b", "a{100000}"])
def test_an_invalid_or_unsupported_regex_has_no_example(pattern: str) -> None:
    assert make_regex_example(pattern) is None


STRICT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
UNSTRICT = [
    {**STRICT, "additionalProperties": True},
    {**STRICT, "required": []},
    {**STRICT, "anyOf": [{}]},
    {"type": "array", "items": {"type": "string"}},
    {**STRICT, "properties": {"a": {"type": "object", "properties": {}}}},
    {**STRICT, "properties": {"a": {"allOf": [{"type": "string"}]}}},
]


@pytest.mark.parametrize("schema", UNSTRICT)
def test_strict_schemas_must_follow_openais_rules(schema: dict[str, Any]) -> None:
    assert check_schema(STRICT, "here", strict=True) == STRICT
    assert check_schema(schema, "here") == schema
    with pytest.raises(ApiError, match="Invalid schema"):
        check_schema(schema, "here", strict=True)


def test_a_schema_nested_too_deeply_is_refused() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(300):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    with pytest.raises(ApiError, match="nested"):
        check_schema(deep, "here")
