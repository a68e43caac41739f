"""How long a run of jobs will take, told honestly."""

from __future__ import annotations

import pytest

from mediamill.tasks.calls.call_context import CallStats


def test_nobody_can_tell_before_a_job_has_ended() -> None:
    assert CallStats(running_jobs=50).estimate_seconds_left(1000, 600) is None


def test_what_waits_is_created_at_the_pace_so_far_and_the_last_one_takes_as_long_as_the_others() -> None:
    tally = CallStats(running_jobs=90, jobs_ended=10, job_seconds=10 * 120.0)
    assert tally.estimate_seconds_left(990, 600) == pytest.approx(900 * 6 + 120)


def test_once_all_are_created_only_their_own_time_is_left() -> None:
    assert CallStats(running_jobs=5, jobs_ended=95, job_seconds=95 * 60.0).estimate_seconds_left(
        5, 4000
    ) == pytest.approx(60)
