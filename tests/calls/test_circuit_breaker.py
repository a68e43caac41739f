"""The circuit breaker: what opens it, what does not, and that a success always closes it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.calls.circuit_breaker import OPENING_RULES, CircuitBreaker


def fail_often(
    breaker: CircuitBreaker, times: int, *, kind: str = "reset", requests: int = 1000, seconds: float = 0.0
) -> None:
    """That many failures, one after the other over ``seconds``."""
    for number in range(times):
        now = 100.0 + seconds * number / max(1, times - 1)
        breaker.fail(breaker.start(now), now, request=str(number % requests), kind=kind)


@pytest.mark.parametrize(("failures", "seconds"), OPENING_RULES)
def test_failures_in_a_row_open_it_and_a_success_closes_it(failures: int, seconds: float) -> None:
    breaker = CircuitBreaker()
    fail_often(breaker, failures - 1, seconds=seconds)
    assert not breaker.is_open
    now = 100.001 + seconds
    breaker.fail(breaker.start(now), now, request="last", kind="reset")
    assert breaker.is_open
    breaker.succeed(breaker.start(now), now + 1)
    assert not breaker.is_open


def test_a_success_between_failures_keeps_it_closed() -> None:
    breaker = CircuitBreaker()
    for _ in range(100):
        fail_often(breaker, 11, seconds=30)
        breaker.succeed(breaker.start(130.0), 130.0)
    assert not breaker.is_open


def test_few_requests_that_break_the_server_each_time_are_no_outage() -> None:
    breaker = CircuitBreaker()
    fail_often(breaker, 500, kind="server_error", requests=4, seconds=60)
    assert not breaker.is_open
    fail_often(breaker, 12, kind="server_error", requests=5, seconds=60)
    assert breaker.is_open


def test_one_request_that_cannot_reach_the_provider_is_enough() -> None:
    breaker = CircuitBreaker()
    fail_often(breaker, 12, kind="refused", requests=1, seconds=20)
    assert breaker.is_open


def test_slow_answers_that_may_still_come_speak_against_an_outage() -> None:
    breaker = CircuitBreaker()
    slow = [breaker.start(0.0) for _ in range(60)]
    fail_often(breaker, 300, seconds=10)  # three in ten fail at once, the others take a minute
    assert not breaker.is_open
    breaker.succeed(slow[0], 120.0)
    assert not breaker.is_open


def test_requests_that_hang_do_not_keep_it_closed() -> None:
    breaker = CircuitBreaker()
    breaker.succeed(breaker.start(0.0), 0.2)
    for _ in range(200):
        breaker.start(1.0)
    fail_often(breaker, 128, seconds=0.2)
    assert breaker.is_open


def hang_from_the_start(requests: int) -> CircuitBreaker:
    """Nothing was answered yet; of so many requests the one that was sent last hung, and another after 10 s."""
    breaker = CircuitBreaker()
    numbers = [breaker.start(n / 100) for n in range(requests)]
    breaker.fail(numbers.pop(), 70.0, request="last", kind="overdue")
    breaker.fail(numbers.pop(), 80.0, request="before", kind="overdue")
    return breaker


@pytest.mark.parametrize(("requests", "is_open"), [(64, True), (6, True), (4, False)])
def test_before_the_first_answer_those_that_hang_with_others_speak_too(requests: int, is_open: bool) -> None:
    breaker = hang_from_the_start(requests)
    assert breaker.is_open == is_open
    assert breaker.streak is not None
    assert breaker.confirm(breaker.streak, 80.0) == is_open


def test_the_first_answer_of_all_shows_that_the_others_do_not_hang() -> None:
    breaker = hang_from_the_start(64)
    assert breaker.is_open
    breaker.succeed(0, 81.0)
    assert not breaker.is_open


def test_an_answer_to_a_request_from_before_the_outage_does_not_hide_it() -> None:
    breaker = CircuitBreaker()
    before = [breaker.start(100.0) for _ in range(64)]
    sent = breaker.start(100.1)
    first = breaker.fail(sent, 100.101, request="first", kind="refused")
    assert first is not None
    for number in before:
        breaker.succeed(number, 100.3)
    assert breaker.fail(breaker.start(100.4), 100.401, request="first", kind="refused") is first
    assert breaker.confirm(first, 100.401)


def test_failures_older_than_a_success_say_nothing_of_now() -> None:
    breaker = CircuitBreaker()
    old = [breaker.start(0.0) for _ in range(200)]
    breaker.succeed(breaker.start(60.0), 60.2)
    for number in old:
        assert breaker.fail(number, 60.3, request=str(number), kind="overdue") is None
    assert not breaker.is_open


def _fail_beside_answers(breaker: CircuitBreaker, kind: str, times: int) -> None:
    """Ten requests fail so many times, each time beside others that are answered."""
    for number in range(10 * times):
        breaker.fail(breaker.start(number), number + 0.1, request=f"bad {number % 10}", kind=kind)
        if number % 10 == 9:
            breaker.succeed(breaker.start(number + 0.2), number + 0.3, f"good {number}")


@pytest.mark.parametrize(("kind", "times"), [("short_body", 1), ("server_error", 1), ("bad_body", 1), ("reset", 3)])
def test_requests_that_failed_while_others_were_answered_are_no_outage(kind: str, times: int) -> None:
    breaker = CircuitBreaker()
    for number in range(200):
        breaker.succeed(breaker.start(-1.0), -0.5, f"others {number}")
    _fail_beside_answers(breaker, kind, times)
    first = None
    for number in range(100):
        sent_at = 100.0 + number
        first = first or breaker.streak
        breaker.fail(breaker.start(sent_at), sent_at + 0.1, request=f"bad {number % 10}", kind=kind)
    assert first is not None
    assert not breaker.is_open
    assert not breaker.confirm(first, 201.0)
    for number in range(5):
        breaker.fail(breaker.start(201.0), 201.1, request=f"new {number}", kind=kind)
    assert breaker.is_open


def test_where_many_requests_fail_by_themselves_it_takes_more_than_come_by_chance() -> None:
    breaker = CircuitBreaker()
    for number in range(20):
        breaker.succeed(breaker.start(-1.0), -0.5, f"others {number}")
    _fail_beside_answers(breaker, "short_body", 2)  # 10 of 32
    first = None
    for number in range(40):
        breaker.fail(breaker.start(100.0 + number), 100.1 + number, request=f"new {number % 6}", kind="short_body")
        first = first or breaker.streak
    assert first is not None
    assert not breaker.is_open
    assert not breaker.confirm(first, 141.0)
    for number in range(4):
        breaker.fail(breaker.start(141.0), 141.1, request=f"newer {number}", kind="short_body")
    assert breaker.is_open


def test_requests_that_failed_in_an_outage_are_not_to_blame_in_the_next_one() -> None:
    breaker = CircuitBreaker()
    for began_at in (0.0, 100.0):
        for number in range(20):
            sent_at = began_at + number
            breaker.fail(breaker.start(sent_at), sent_at + 0.1, request=str(number % 5), kind="bad_body")
        assert breaker.is_open
        breaker.succeed(breaker.start(began_at + 50), began_at + 50.1, "other")


def test_a_request_that_was_answered_is_not_to_blame_any_more() -> None:
    breaker = CircuitBreaker()
    _fail_beside_answers(breaker, "server_error", 1)
    for number in range(10):
        breaker.succeed(breaker.start(90.0), 90.1, f"bad {number}")
    for number in range(16):
        breaker.fail(breaker.start(100.0 + number), 100.1 + number, request=f"bad {number % 10}", kind="server_error")
    assert breaker.is_open


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.9])
def test_faults_at_random_do_not_open_it(share: float) -> None:
    breaker, rng, opened = CircuitBreaker(), random.Random(5), 0
    for number in range(20_000):
        now = number / 64
        sent = breaker.start(now)
        if rng.random() < share:
            was_open = breaker.is_open
            breaker.fail(sent, now + 0.01, request=str(number), kind="reset")
            opened += breaker.is_open and not was_open
        else:
            breaker.succeed(sent, now + 0.01)
    assert opened == 0


_STEPS = st.lists(st.tuples(st.sampled_from(["send", "ok", "fail", "forget"]), st.floats(0, 5)), max_size=400)


@given(_STEPS, st.sampled_from(["refused", "overloaded", "reset", "bad_body"]))
def test_it_opens_by_a_failure_alone_and_closes_by_a_later_success(steps: list[tuple[str, float]], kind: str) -> None:
    breaker, now, sent = CircuitBreaker(), 0.0, list[int]()
    for number, (step, seconds) in enumerate(steps):
        now += seconds
        was_open = breaker.is_open
        if step == "send" or not sent:
            sent.append(breaker.start(now))
            assert breaker.is_open == was_open
        elif step == "ok":
            breaker.succeed(breaker.start(now), now)
            assert not breaker.is_open
        elif step == "fail":
            streak = breaker.fail(sent.pop(0), now, request=str(number), kind=kind)
            assert breaker.is_open or not was_open
            assert not breaker.is_open or (streak is not None and streak.failures >= min(n for n, _ in OPENING_RULES))
        else:
            breaker.forget(sent.pop())
            assert breaker.is_open == was_open
