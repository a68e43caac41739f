"""A run's summary in Prefect: flags, and requests without a known price."""

from __future__ import annotations

from decimal import Decimal

from mediamill.flows.prefect_runtime.artifacts import format_summary
from mediamill.tasks.summary import Summary


def make_summary(flags: dict[str, int], unstated: int = 0) -> Summary:
    return Summary(
        run_id="r",
        out="/tmp/out",
        state="done",
        exit_code=0,
        capability="transcribe",
        provider="together",
        model="m",
        engine=None,
        simulated=False,
        total=3,
        done=3,
        failed=0,
        cached=0,
        skipped=0,
        left=0,
        calls=3,
        audio_seconds=Decimal(9),
        cost_usd=Decimal("0.1"),
        unknown_max_usd=Decimal(0),
        unstated=unstated,
        out_cost_usd=Decimal("0.1"),
        seconds=1.0,
        flags=flags,
    )


def test_flags_are_shown_only_where_there_are_some() -> None:
    assert "| worth a look | 2 repetition, 1 truncated |" in format_summary(
        make_summary({"repetition": 2, "truncated": 1})
    )
    assert "worth a look" not in format_summary(make_summary({}))


def test_requests_without_a_known_price_are_counted_beside_the_cost() -> None:
    assert "| cost of this run | $0\\.10 and 2 requests at no known price |" in format_summary(
        make_summary({}, unstated=2)
    )
