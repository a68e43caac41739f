"""What the built-in server answers to prompts: any request gets an answer or an error, any schema its object."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.local.chat.asked import Asked, check_sampling, read_asked
from tasks.local.chat.engines import answer
from tasks.local.chat.filling import filled
from tasks.local.chat.wording import cut, spent, stream, usage, whole
from tasks.local.dialects import dialect
from tasks.local.options import DIALECTS
from tasks.local.refusal import Refusal
from tests.repeatable import repeatable

NAMES = st.text("abcxyz", min_size=1, max_size=4)


def bounded(kind: str) -> Any:
    low = st.integers(-50, 50)
    return low.flatmap(
        lambda least: st.fixed_dictionaries(
            {"type": st.just(kind)}, optional={"minimum": st.just(least), "maximum": st.just(least + 7)}
        )
    )


SCHEMAS: Any = st.recursive(
    st.sampled_from([{"type": "string"}, {"type": "boolean"}, {"type": "null"}, {"enum": ["a", 3, None]}, {"const": 5}])
    | bounded("integer")
    | bounded("number")
    | st.integers(0, 9).map(lambda n: {"type": "string", "minLength": n, "maxLength": n + 5}),
    lambda inner: (
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 3))
        | st.dictionaries(NAMES, inner, max_size=4).flatmap(
            lambda named: st.lists(st.sampled_from(sorted(named) or ["q"]), unique=True).map(
                lambda wanted: {"type": "object", "properties": named, "required": wanted, "additionalProperties": True}
            )
        )
        | st.lists(inner, min_size=1, max_size=2).map(lambda some: {"anyOf": [*some, {"type": "null"}]})
        | inner.map(lambda one: {"$defs": {"one": one}, "properties": {"a": {"$ref": "#/$defs/one"}}, "type": "object"})
    ),
    max_leaves=8,
)


@repeatable
@given(SCHEMAS.filter(lambda schema: "$defs" not in str(schema)[8:]), st.dictionaries(NAMES, st.text(max_size=3)))
def test_what_is_filled_in_fits_the_schema(schema: dict[str, Any], known: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(schema).validate(filled(schema, known))


TREE = {
    "type": "object",
    "$defs": {"node": {"type": "object", "properties": {"of": {"$ref": "#/$defs/node"}, "n": {"type": "integer"}}}},
    "properties": {"root": {"$ref": "#/$defs/node"}},
    "required": ["root"],
}


def test_a_schema_that_holds_itself_ends() -> None:
    jsonschema.Draft202012Validator(TREE).validate(filled(TREE, {}))


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["model", "messages", "role", "content", "type", "image_url", "url", "tools", "n", "stop", "response_format"]
SHAPED: Any = st.recursive(
    JSON | st.sampled_from(["user", "text", "image_url", "function", "json_schema"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=20,
)


@repeatable
@given(SHAPED, st.sampled_from(DIALECTS), st.data())
def test_any_request_is_read_or_refused(told: Any, name: str, data: st.DataObject) -> None:
    if isinstance(told, dict) and data.draw(st.booleans()):
        told = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **told}
    try:
        asked = read_asked(told, dialect(name), frozenset({"m"}))
        check_sampling(told)
    except Refusal:
        return
    said, finish = cut(answer("measure", asked, [], 0), asked)
    assert finish
    for body in (whole(asked, [said], spent([said], 3), name, "r"), stream(asked, [said], spent([said], 3), name, "r")):
        assert body


@pytest.mark.parametrize(("most", "finish"), [(2, "length"), (1000, "stop")])
def test_an_answer_is_no_longer_than_asked_for(most: int, finish: str) -> None:
    asked = Asked("m", "One sentence. Another one. Which one?", "", most=most)
    said, why = cut(answer("measure", asked, [], 0), asked)
    assert (why, len(said.text) <= 4 * most) == (finish, True)
    assert usage(spent([said], 5), "openai")["completion_tokens"] <= most
