"""Expressions over a row: what they can express, and that they have access to nothing else."""

from __future__ import annotations

import ast
import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.bounded.expression_language import is_linear
from mediamill.tasks.bounded.expressions import Expression
from mediamill.tasks.errors import BadInput
from tests.helpers.hypothesis_profile import make_repeatable

ROW = {"language": "de", "seconds": 7.5, "text": "Hello there, World", "tags": ["cat", "dog"], "size": {"w": 3}}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("language != 'en'", True),
        ("language == 'en' or seconds > 7", True),
        ("missing == None and not missing", True),
        ("len(missing) == 0", True),
        ("'cat' in tags and contains(text, 'WORLD')", True),
        ("size.w == 3 and size['w'] == 3", True),
        ("matches(text, '^Hello')", True),
        ("similarity(text, 'hello THERE world!') == 1", True),
        ("similarity(text, 'something else') < 0.5", True),
        ("len(words(text)) == 4", False),
    ],
)
def test_expressions_are_true_or_false_for_a_row(text: str, holds: bool) -> None:
    assert Expression(text).is_true_for(ROW) is holds


@pytest.mark.parametrize("text", ["", "a b", "language ==", "import os", "x = 1"])
def test_invalid_expressions_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        Expression(text)


@pytest.mark.parametrize(
    "text",
    ["text.__class__", "open('/etc/passwd')", "9**9**9", "text * 10**9", "seconds > text", "1/0", "__import__('os')"],
)
def test_expressions_have_no_access_beyond_the_row(text: str) -> None:
    with pytest.raises(BadInput, match=r"row 3: .*cannot be evaluated"):
        Expression(text).is_true_for(ROW, "row 3")


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("round(size, digits) == 0", {"size": 5, "digits": -(10**8)}),
        ("sum(lists, []) == []", {"lists": [[1]] * 400_000}),
        ("sum(texts) == 0", {"texts": "a"}),
    ],
)
def test_no_value_of_a_row_makes_an_expression_take_for_ever(text: str, row: dict[str, Any]) -> None:
    begun = time.monotonic()
    with pytest.raises(BadInput, match="cannot be evaluated"):
        Expression(text).is_true_for(row)
    assert time.monotonic() - begun < 30


def test_rounding_to_fixed_digits_and_sums_need_no_worker() -> None:
    for text in ("round(seconds, 1) == 7.5", "round(seconds) == 8", "sum(numbers) > 1", "max(seconds, 3) > 3"):
        assert is_linear(ast.parse(text, mode="eval").body), text
        assert Expression(text).is_true_for({**ROW, "numbers": [1, 2]})


def test_column_names_of_an_expression() -> None:
    assert Expression("len(text) > 3 and heard_language != 'en'").column_names == {"text", "heard_language"}
    assert Expression("any([one['start'] > limit for one in segments])").column_names == {"limit", "segments"}


@make_repeatable()
@given(st.text(max_size=40))
def test_any_text_is_an_expression_or_a_clear_error(text: str) -> None:
    row: dict[str, Any] = {"a": 1}
    try:
        expression = Expression(text)
    except ValueError:
        return
    with contextlib.suppress(BadInput):
        assert expression.is_true_for(row) in (True, False)
