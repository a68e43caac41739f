"""Which templates are filled without a worker, and that their bound holds for any row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.bounded.limits import WorkFailed
from mediamill.tasks.bounded.template_cost import TemplateCost, find_cost
from mediamill.tasks.bounded.templates import build_environment, fill_template
from tests.helpers.hypothesis_profile import make_repeatable


def cost_of(template: str) -> TemplateCost | None:
    return find_cost(build_environment().parse(template))


@pytest.mark.parametrize(
    "template",
    [
        "Describe it.",
        "{{ title }}: {{ text|trim|upper }}",
        "{{ meta.author.name }} {{ tags[0] }} {{ tags|join(', ') }} {{ n|default('none') }}",
        "{% if title is defined and title != '' %}{{ title }}{% else %}untitled{% endif %}",
        "{% for m in messages %}{{ loop.index }}. {{ m.role }}: {{ m.content|e }}\n{% endfor %}",
        "{{ meta|tojson }}",
    ],
)
def test_templates_that_only_insert_columns_need_no_worker(template: str) -> None:
    cost = cost_of(template)
    assert cost is not None
    assert cost.is_cheap_for({"title": "a", "text": "b" * 1000, "tags": ["x"], "meta": {"author": {"name": "c"}}})


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * n }}",
        "{{ 9 ** n }}",
        "{{ '%9999999d' % n }}",
        "{{ text.ljust(10 ** 9) }}",
        "{{ text|center(999999999) }}",
        "{{ text|replace('', text) }}",
        "{% for a in range(9) %}{% endfor %}",
        "{% for a in xs %}{% for b in xs %}x{% endfor %}{% endfor %}",
        "{% for a in xs %}{{ text }}{% endfor %}",
        "{% for a in xs recursive %}{{ loop(xs) }}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set a = text ~ text %}{{ a }}",
    ],
)
def test_any_other_template_needs_one(template: str) -> None:
    assert cost_of(template) is None


@pytest.mark.parametrize("template", ["{{ text }}" * 1000, "{{ text" + "|tojson" * 8 + " }}", "{{ xs }}"])
def test_so_does_a_template_whose_text_might_become_long(template: str) -> None:
    cost = cost_of(template)
    assert cost is not None
    assert not cost.is_cheap_for({"text": "x" * 10_000, "xs": list(range(20_000))})


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab'\"\\<&\n\x00ßŉ\u2028\U0010ffff", max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
_FILTERS = st.lists(
    st.sampled_from(["upper", "title", "e", "tojson", "trim", "string", "length", "join('--')", "default('none')"]),
    max_size=3,
).map(lambda names: "".join(f"|{name}" for name in names))
_NAMES = st.sampled_from(["x", "x.a", "y"])
_INSERTIONS = st.builds(lambda name, filters: "{{ " + name + filters + " }}", _NAMES, _FILTERS)
_LOOPS = st.builds(
    lambda filters, text: "{% for each in x %}" + text + "{{ each" + filters + " }}{{ loop.index }}{% endfor %}",
    _FILTERS,
    st.text("ab ", max_size=5),
)


@pytest.mark.long
@make_repeatable()
@given(st.lists(_INSERTIONS | _LOOPS | st.text("ab ", max_size=9), max_size=5).map("".join), _VALUES, _VALUES)
def test_no_text_is_longer_than_its_bound(template: str, x: Any, y: Any) -> None:
    cost = cost_of(template)
    assert cost is not None
    row = {"x": x, "y": y}
    try:
        text = fill_template(template, row)
    except WorkFailed:
        return
    bound = cost.max_characters(row)
    assert bound is None or len(text) <= bound
