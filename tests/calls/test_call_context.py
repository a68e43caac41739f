"""The estimate of how long a run of jobs will take."""

from __future__ import annotations

import pytest

from mediamill.tasks.calls.call_context import CallStats


def test_there_is_no_estimate_before_a_job_has_ended() -> None:
    assert CallStats(running_jobs=50).estimate_seconds_left(1000, 600) is None


def test_the_estimate_is_the_time_to_create_the_rest_plus_one_mean_job() -> None:
    stats = CallStats(running_jobs=90, jobs_ended=10, job_seconds=10 * 120.0)
    assert stats.estimate_seconds_left(990, 600) == pytest.approx(900 * 6 + 120)


def test_once_all_jobs_are_created_the_estimate_is_one_mean_job() -> None:
    assert CallStats(running_jobs=5, jobs_ended=95, job_seconds=95 * 60.0).estimate_seconds_left(
        5, 4000
    ) == pytest.approx(60)
