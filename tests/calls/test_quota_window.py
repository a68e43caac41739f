"""A quota for each minute is measured when it is used up."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from mediamill.tasks.calls.quota_window import QuotaPace, QuotaWindow


def record(
    window: QuotaWindow, requests: Iterable[tuple[float, bool]], hint: float | None = None, min_refusals: int = 3
) -> list[int]:
    """Take in requests by when they were sent and whether they were accepted; the quotas that were found."""
    quotas = []
    for number, (sent_at, is_accepted) in enumerate(requests):
        if not is_accepted:
            window.record_refusal(number, sent_at, hint)
        elif (quota := window.record_accepted(number, sent_at, min_refusals)) is not None:
            quotas.append(quota)
    return quotas


BURST: list[tuple[float, bool]] = [(100 + 0.01 * n, True) for n in range(120)]


def test_a_quota_that_is_used_up_early_is_what_was_accepted_in_its_minute() -> None:
    refused = [(at, False) for at in (101.3, 101.4, 104.0, 112.0, 127.0, 142.0, 157.0)]
    assert record(QuotaWindow(), [*BURST, *refused, (160.5, True)]) == [120]


def test_a_wait_that_the_server_stated_needs_no_refusals_all_through() -> None:
    refused = [(101.3 + n / 100, False) for n in range(5)]
    assert record(QuotaWindow(), [*BURST, *refused, (160.4, True)], hint=59.0) == [120]
    assert record(QuotaWindow(), [*BURST, *refused, (102.4, True)], hint=59.0) == []


@pytest.mark.parametrize("is_accepted_between", [True, False])
def test_refusals_among_accepted_requests_or_within_a_second_are_no_quota(is_accepted_between: bool) -> None:
    if is_accepted_between:
        later = [(102.0 + n, n % 3 == 0) for n in range(60)]
    else:
        later = [(101.3 + n / 10, n == 8) for n in range(9)]
    assert record(QuotaWindow(), [*BURST, *later]) == []


def test_answers_out_of_order_do_not_hide_a_block() -> None:
    window = QuotaWindow()
    for number in range(50):
        window.record_accepted(number, 100.0, 3)
    for number, sent_at in enumerate([100.6, 100.7, 103.0, 110.0], 60):
        window.record_refusal(number, sent_at, None)
    for number in range(50, 60):  # sent before the refused ones, and answered after them
        assert window.record_accepted(number, 100.5, 3) is None
    assert window.record_accepted(64, 160.2, 3) == 60


def test_growth_beyond_a_measured_quota_waits_for_its_minute() -> None:
    quota = QuotaPace()
    assert quota.limit_growth(9.0, 1.0, 0.0) == 9.0  # none was measured
    pace = quota.measure(60)
    assert quota.limit_growth(9.0, pace, 100.0) == pytest.approx(1.05 * pace)
    assert quota.limit_growth(9.0, pace, 150.0) == pytest.approx(1.05 * pace)
    assert quota.limit_growth(9.0, pace, 170.0) == pytest.approx(1.2 * pace)
    quota.end_growth()
    assert quota.limit_growth(9.0, pace, 171.0) == pytest.approx(1.05 * pace)


def test_a_measured_quota_is_believed_until_it_is_refused_three_times_apart() -> None:
    quota = QuotaPace()
    assert quota.limit_cut(0.5, 0.9, 0.0) == 0.5
    pace = quota.measure(60)
    assert [quota.limit_cut(0.5, pace, at) for at in (1.0, 1.1, 1.2, 7.0, 13.0)] == [pace] * 4 + [0.5]


def test_two_refusals_show_a_quota_where_the_wait_that_was_stated_went_by() -> None:
    refused = [(101.3, False), (101.4, False)]
    assert record(QuotaWindow(), [*BURST, *refused, (160.4, True)], hint=59.0, min_refusals=5) == [120]
    assert record(QuotaWindow(), [*BURST, *refused, (160.4, True)], min_refusals=5) == []


def test_a_wait_ends_when_the_first_requests_of_a_used_up_minute_are_a_minute_old() -> None:
    window = QuotaWindow()
    assert window.limit_wait(15.0, 99.0) == 15.0
    record(window, [*BURST, (101.3, False), (157.0, False)])
    assert window.limit_wait(2.0, 157.0) == 2.0
    assert window.limit_wait(15.0, 157.0) == pytest.approx(4.0)  # what came in second 100 is given back by 161
    assert window.limit_wait(15.0, 161.5) == 15.0
