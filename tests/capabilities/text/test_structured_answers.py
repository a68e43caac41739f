"""Answers: JSON found in text, checked against schemas, and converted to typed columns."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.bounded.limits import WorkFailed
from mediamill.tasks.bounded.schema_check import find_violation
from mediamill.tasks.bounded.templates import fill_template
from mediamill.tasks.capabilities.complete import CompleteParams
from mediamill.tasks.capabilities.text.json_schema import load_schema
from mediamill.tasks.capabilities.text.reply_parsing import parse_json, split_reasoning
from mediamill.tasks.capabilities.text.schema_columns import (
    RESERVED_COLUMNS,
    fit_to_type,
    to_arrow_fields,
    to_column_name,
)
from mediamill.tasks.sinks.results import build_results_schema
from tests.helpers.hypothesis_profile import make_repeatable

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)
OBJECTS: Any = st.dictionaries(st.text(max_size=6), VALUES, min_size=1, max_size=4)


@make_repeatable()
@given(OBJECTS, st.sampled_from(["{}", "```json\n{}\n```", "Here it is: {} I hope it helps.", "\n{}\n"]))
def test_json_is_found_in_a_models_text(value: dict[str, Any], words: str) -> None:
    text = words.replace("{}", orjson.dumps(value).decode(), 1)
    assert parse_json(text) == value


def test_an_answer_of_line_feeds_after_a_fence_is_parsed_in_linear_time() -> None:
    with pytest.raises(ValueError, match="no JSON"):
        parse_json("```" + "\n" * 100_000)
    assert parse_json("```json\n" + "\n" * 100_000 + "[1]\n```") == [1]


@make_repeatable()
@given(OBJECTS, st.data())
def test_no_part_of_a_cut_off_object_is_taken_for_the_answer(value: dict[str, Any], data: st.DataObject) -> None:
    text = orjson.dumps(value).decode()
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    with pytest.raises(ValueError, match="JSON"):
        parse_json(cut)


@pytest.mark.parametrize(
    ("reply", "answer", "reasoning"),
    [
        ("<think>hm\n{1}</think>\n\nYes", "Yes", "hm\n{1}"),
        ("hm</think>Yes", "Yes", "hm"),
        ("<think>never ends", "", "never ends"),
        ("  plain <think>words</think> ", "plain <think>words</think>", None),
    ],
)
def test_reasoning_is_split_from_the_answer(reply: str, answer: str, reasoning: str | None) -> None:
    assert split_reasoning(reply) == (answer, reasoning)


SCHEMA = {
    "type": "object",
    "$defs": {"tree": {"type": "object", "properties": {"of": {"$ref": "#/$defs/tree"}, "n": {"type": "integer"}}}},
    "properties": {
        "title": {"type": "string"},
        "count": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "score": {"type": ["integer", "number"]},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
        "size": {"type": "object", "properties": {"w": {"type": "integer"}}},
        "tree": {"$ref": "#/$defs/tree"},
        "any": {},
        "text": {"const": "x"},
    },
    "required": ["title"],
}


def test_a_schema_becomes_typed_columns() -> None:
    types = {field.name: field.type for field in to_arrow_fields(SCHEMA)}
    assert types == {
        "title": pa.string(),
        "count": pa.int64(),
        "score": pa.float64(),
        "tags": pa.list_(pa.string()),
        "size": pa.struct([("w", pa.int64())]),
        "tree": pa.struct([("of", pa.string()), ("n", pa.int64())]),
        "any": pa.string(),
        "text": pa.string(),
    }
    assert to_column_name("text") == "answer_text"
    assert to_arrow_fields({"type": "array", "items": {"type": "integer"}})[0].name == "answer"


SCHEMAS: Any = st.recursive(
    st.sampled_from([{"type": name} for name in ("string", "integer", "number", "boolean")] + [{}]),
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.text(min_size=1, max_size=4), inner)}
        )
        | inner.map(lambda one: {"anyOf": [one, {"type": "null"}]})
    ),
    max_leaves=8,
)


@make_repeatable()
@given(SCHEMAS, VALUES)
def test_what_fits_a_schema_fits_its_column(schema: dict[str, Any], value: Any) -> None:
    (field,) = to_arrow_fields({"type": "object", "properties": {"v": schema}})
    if find_violation(value, schema) is None:
        held = pa.array([fit_to_type(value, field.type)], field.type)
        assert len(held) == 1


def test_reserved_columns_are_those_of_every_result() -> None:
    assert set(build_results_schema(pa.schema([]), pa.schema([])).names) <= RESERVED_COLUMNS


def test_a_schema_whose_references_stand_for_millions_of_parts_is_refused() -> None:
    pairs = {
        f"level{n}": {"type": "object", "properties": {name: {"$ref": f"#/$defs/level{n + 1}"} for name in "ab"}}
        for n in range(30)
    }
    schema = {"$defs": {**pairs, "level30": {"type": "string"}}, "$ref": "#/$defs/level0"}
    with pytest.raises(ValueError, match=r"more than 5,000 parts, with what its references point to"):
        CompleteParams(json_schema=schema)
    with pytest.raises(ValueError, match=r"more than 20,000 parts"):
        CompleteParams(json_schema={"enum": list(range(20_000))})
    recursive = {"type": "object", "properties": {"more": {"$ref": "#"}}}
    assert CompleteParams(json_schema=recursive).json_schema == recursive


def test_schemas_come_from_files_models_and_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.json").write_bytes(orjson.dumps(SCHEMA))
    assert load_schema(str(tmp_path / "s.json")) == SCHEMA
    (tmp_path / "shop_models.py").write_text("from pydantic import BaseModel\nclass Tag(BaseModel):\n    name: str\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_schema("shop_models:Tag")["required"] == ["name"]
    sys.modules.pop("shop_models")


@pytest.mark.parametrize(
    ("given_schema", "message"),
    [
        ({"type": "objekt"}, "not a JSON Schema"),
        ({"$ref": "#/nowhere"}, "points to nothing"),
        ({"$ref": "https://example.org/schema.json"}, "points to nothing"),
        ("nothing.json", "No such file"),
        ("neither", "neither a file"),
    ],
)
def test_an_invalid_schema_is_refused_with_a_reason(given_schema: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_schema(given_schema)


def test_templates_are_filled_from_the_row_in_a_sandbox() -> None:
    assert fill_template("{{ title|upper }}: {{ n }}", {"title": "a", "n": 3}) == "A: 3"
    for template in ("{{ missing }}", "{{ ''.__class__.__mro__ }}", "{{ 1/0 }}"):
        with pytest.raises(WorkFailed, match=r"undefined|invalid"):
            fill_template(template, {"title": "a"})
    with pytest.raises(ValueError, match="template"):
        CompleteParams(prompt="{{ open")
