"""Workers: any template ends within its limits, and a worker that was ended leaves nothing behind."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediamill.tasks.bounded.limits import MAX_RENDERED_CHARACTERS, MAX_WALL_SECONDS, WorkFailed
from mediamill.tasks.bounded.worker_pool import run_bounded, run_bounded_async
from mediamill.tasks.errors import BudgetReached
from tests.helpers.hypothesis_profile import count_examples

ROW: dict[str, Any] = {"n": 100_000, "text": "word " * 1000, "xs": ["x" * 100] * 1000}
ENDLESS = "{% for a in range(n) %}{% for b in range(n) %}{% for c in range(n) %}{% endfor %}{% endfor %}{% endfor %}"

_LEAVES = st.sampled_from(
    [
        *("{{ text }}", "{{ xs }}", "{{ text * n }}", "{{ n ** n }}", "{{ '%' ~ n ~ 'd' }}", "{{ '%999999999d' % n }}"),
        *("{{ text|center(n * n) }}", "{{ text|replace('', text) }}", "{{ xs|join(text) }}", "{{ text|wordwrap(1) }}"),
        *("{{ '{:>999999999}'.format(n) }}", "{{ text.ljust(n * n) }}", "{{ xs|tojson|tojson|tojson }}"),
        *("{{ range(n)|list }}", "{{ text|indent(n) }}", "{{ (1, 2)|batch(n * n, text)|list }}", "{{ 7|int(base=n) }}"),
        *("{{ lipsum(n=n) }}", "{{ xs|map('upper')|list|pprint }}", "{{ xs|sum(start=[]) }}", "{{ dict(a=xs) }}"),
    ]
)
_TEMPLATES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda body: "{% for a in range(n) %}" + body + "{% endfor %}"),
        inner.map(lambda body: "{% for a in xs recursive %}" + body + "{{ loop(xs) }}{% endfor %}"),
        inner.map(lambda body: "{% macro f() %}" + body + "{{ f() }}{% endmacro %}{{ f() }}"),
        inner.map(lambda body: "{% set big %}" + body + body + "{% endset %}{{ big ~ big ~ big }}"),
        st.tuples(inner, inner).map("".join),
    ),
    max_leaves=4,
)


@pytest.mark.long
@settings(derandomize=True, deadline=None, max_examples=count_examples(12), suppress_health_check=list(HealthCheck))
@given(_TEMPLATES)
def test_any_template_ends_within_its_limits(template: str) -> None:
    start, text, failure = time.monotonic(), "", None
    try:
        text = run_bounded("fill_template", template, ROW)
    except WorkFailed as error:
        failure = error
    assert len(text) <= MAX_RENDERED_CHARACTERS
    assert failure is None or failure.kind in ("over_limit", "invalid", "syntax", "undefined")
    assert failure is None or len(failure.message.splitlines()) == 1
    assert time.monotonic() - start < MAX_WALL_SECONDS + 5


@pytest.mark.long
def test_a_worker_that_was_ended_is_replaced_and_no_worker_holds_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "tgp_v1_secret")
    with pytest.raises(WorkFailed, match="it takes"):
        run_bounded("fill_template", ENDLESS, ROW)
    assert run_bounded("fill_template", "{{ n * 2 }}", ROW) == "200000"
    workers = [child for child in psutil.Process().children() if "bounded.worker" in " ".join(child.cmdline())]
    assert workers
    assert not any("TOGETHER_API_KEY" in worker.environ() for worker in workers)


@pytest.mark.long
def test_a_stop_ends_what_a_worker_does_at_once() -> None:
    stops_at = time.monotonic() + 1

    def raise_if_stopped() -> None:
        if time.monotonic() > stops_at:
            raise BudgetReached("enough")

    with pytest.raises(BudgetReached):
        asyncio.run(run_bounded_async("fill_template", ENDLESS, ROW, raise_if_stopped=raise_if_stopped))
    assert time.monotonic() < stops_at + 5


@pytest.mark.long
def test_many_requests_at_once_get_their_own_replies() -> None:
    async def double(n: int) -> str:
        text: str = await run_bounded_async("fill_template", "{{ n * 2 }}", {"n": n})
        return text

    async def double_all() -> list[str]:
        return await asyncio.gather(*(double(n) for n in range(200)))

    assert asyncio.run(double_all()) == [str(n * 2) for n in range(200)]
