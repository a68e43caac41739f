"""Summaries of failures."""

from __future__ import annotations

import pytest

from mediamill.tasks.summary import FailureGroup


@pytest.mark.parametrize(
    ("item_id", "message", "example"),
    [
        ("d", "FLUX does not take size 100x100", "d: FLUX does not take size 100x100"),
        ("5", "p.csv row 2 (line 3): takes seconds 5, not 7", "5: p.csv row 2 (line 3): takes seconds 5, not 7"),
        ("a", "together answered 400: no", "a: together answered 400: no"),
        ("sub/a.mp3", "in/sub/a.mp3: cannot be read", "in/sub/a.mp3: cannot be read"),
    ],
)
def test_the_example_of_a_failure_group_names_its_item(item_id: str, message: str, example: str) -> None:
    assert FailureGroup("bad_request", 1, item_id, message, None).example == example
