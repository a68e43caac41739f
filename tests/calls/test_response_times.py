"""From when on a request is overdue: by the size of its work, and by what is remembered."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.calls.response_times import MIN_DEADLINE_SECONDS, ResponseTimes, estimate_seconds, measure_work
from mediamill.tasks.domain import Usage

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["answered", "3", "-5", "x"]), inner),
    max_leaves=5,
)


def learn(times: ResponseTimes, size: float, seconds: float, count: int = 100) -> ResponseTimes:
    for _ in range(count):
        times.record_answer(size, seconds)
    return times


def find_seconds(times: ResponseTimes, size: float) -> float | None:
    deadline = times.find_deadline(size)
    return None if deadline is None else deadline.seconds


def test_the_deadline_is_three_times_what_nearly_all_answers_took() -> None:
    times = learn(ResponseTimes(), 10, 4.0, 990)
    learn(times, 10, 40.0, 9)
    assert find_seconds(times, 10) == pytest.approx(12.0, rel=0.11)


def test_the_deadline_has_a_floor() -> None:
    assert find_seconds(learn(ResponseTimes(), 10, 0.2), 10) == MIN_DEADLINE_SECONDS


def test_smaller_requests_never_decide_and_larger_ones_do_where_there_are_few() -> None:
    times = learn(ResponseTimes(), 10, 0.5)
    learn(times, 1200, 90.0, 40)
    assert find_seconds(times, 2400) is None
    assert find_seconds(times, 300) == pytest.approx(270.0, rel=0.11)
    assert find_seconds(times, 10) == MIN_DEADLINE_SECONDS


def test_abandoned_requests_lengthen_the_deadline_but_not_for_ever() -> None:
    times = learn(ResponseTimes(), 10, 2.0)
    for seconds in (6.0, 18.0, 50.0, 150.0, 400.0):
        for _ in range(20):
            times.record_abandoned(10, seconds)
    assert find_seconds(times, 10) == pytest.approx(12.0, rel=0.11)


def test_the_latest_answers_decide() -> None:
    times = learn(ResponseTimes(), 10, 30.0, 3000)
    learn(times, 10, 2.0, 20_000)
    assert find_seconds(times, 10) == pytest.approx(6.0, rel=0.11)


def test_late_answers_count_for_more() -> None:
    times = learn(ResponseTimes(), 10, 0.5, 1500)
    for _ in range(2):
        times.record_answer(10, 12.0, is_late=True)
    assert find_seconds(times, 10) == pytest.approx(36.0, rel=0.11)


@pytest.mark.parametrize(("hours", "expected"), [(0, 9.0), (12, 9.0), (24 * 7, None), (-5, 9.0)])
def test_what_was_learned_ages(hours: float, expected: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    state = json.loads(json.dumps(learn(ResponseTimes(), 10, 3.0, 5000).export_state()))
    later = time.time() + hours * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    times = ResponseTimes()
    times.restore_state(state)
    assert find_seconds(times, 10) == (None if expected is None else pytest.approx(expected, rel=0.11))
    learn(times, 10, 10.0, 20)
    if expected:
        assert find_seconds(times, 10) == pytest.approx(30.0, rel=0.11)  # the new run's own answers soon decide


@given(JSON_VALUES, JSON_VALUES)
def test_a_state_that_is_not_one_is_ignored(at: Any, classes: Any) -> None:
    times = ResponseTimes()
    times.restore_state({"at": at, "classes": {"4": classes, "x": classes} if isinstance(at, float) else classes})
    assert (find_seconds(times, 10) or MIN_DEADLINE_SECONDS) >= MIN_DEADLINE_SECONDS
    learn(times, 10, 1.0)
    json.dumps(times.export_state())


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e5), st.booleans()), max_size=200), st.floats(0, 1e6))
def test_a_deadline_never_lies_below_the_usual_answer(records: list[tuple[float, float, bool]], size: float) -> None:
    times = ResponseTimes()
    for work, seconds, answered in records:
        (times.record_answer if answered else times.record_abandoned)(work, seconds)
    deadline = times.find_deadline(size)
    assert deadline is None or deadline.seconds >= max(MIN_DEADLINE_SECONDS, deadline.usual or 0.0)


def test_before_anything_is_known_the_work_tells_how_long_it_takes() -> None:
    usages = [Usage(audio_seconds=Decimal(1200)), Usage(input_tokens=2000, output_tokens=400), Usage(characters=500)]
    assert estimate_seconds(usages) == 60 + 600 + 2 + 40 + 5
    assert estimate_seconds([Usage()]) == 60


def test_work_is_seconds_of_audio_else_tokens_else_characters() -> None:
    usages = [
        Usage(audio_seconds=Decimal(90), output_tokens=5),
        Usage(input_tokens=100, output_tokens=400),
        Usage(characters=7),
        Usage(),
    ]
    assert measure_work(usages) == 90 + 500 + 7
