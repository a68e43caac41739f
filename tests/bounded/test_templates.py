"""Templates fail where a cell is empty: a prompt without its words would be paid for."""

from __future__ import annotations

import pytest

from mediamill.tasks.bounded.limits import WorkFailed
from mediamill.tasks.bounded.templates import fill_template


@pytest.mark.parametrize("value", [None, "", " \t\n"], ids=["null", "empty", "blank"])
@pytest.mark.parametrize(
    "template",
    [
        "{{ note }}",
        "About {{ note | trim }}",
        "{{ note | upper | replace('A', 'B') }}",
        "{% if x %}{{ note }}{% endif %}",
    ],
)
def test_a_cell_without_text_is_not_printed(template: str, value: str | None) -> None:
    with pytest.raises(WorkFailed) as caught:
        fill_template(template, {"note": value, "x": "y"})
    assert (caught.value.kind, caught.value.message) == ("undefined", "'note' is empty there")


@pytest.mark.parametrize("value", [None, "", "  "], ids=["null", "empty", "blank"])
@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ note or 'no note' }}", "no note"),
        ("{{ note or '' }}.", "."),
        ("{{ note | default('none', true) | upper }}", "NONE"),
        ("{% if note %}{{ note }}{% else %}nothing{% endif %}", "nothing"),
        ("{{ name }}", "Ann"),
    ],
)
def test_what_allows_an_empty_cell_is_filled(template: str, text: str, value: str | None) -> None:
    assert fill_template(template, {"note": value, "name": "Ann"}) == text


def test_a_column_that_is_missing_is_told_before_others_that_are_empty() -> None:
    with pytest.raises(WorkFailed) as caught:
        fill_template("{{ note or 'x' }} {{ nam }}", {"note": "", "name": "Ann"})
    assert caught.value.message == "'nam' is undefined"


def test_a_filter_that_its_own_check_stops_cannot_be_filled() -> None:
    with pytest.raises(WorkFailed, match="invalid"):
        fill_template("{{ name | truncate(1) }}", {"name": "Ann"})
