"""Runs on one machine share a limit: on the virtual clock, and what they show each other."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.calls.pace_exchange import PaceExchange, get_pace_folder, name_limit
from mediamill.tasks.calls.pace_sharing import RunPace
from mediamill.tasks.calls.rate_limiter import Limiter
from mediamill.tasks.system.live_files import LiveFile
from tests.bench.limiter import Case, Course, Run, compute_possible, simulate
from tests.helpers.tiers import mark_rest_long

TWO = (Run(), Run(60))


def measure_shares(course: Course, case: Case, begin: float, end: float) -> list[float]:
    """The share of the limit that each run used."""
    return [course.rate(begin, end, who) * 60 / case.limit for who in range(len(case.runs))]


@pytest.mark.parametrize("rpm", mark_rest_long([120, 600, 3000], [600]))
def test_two_runs_have_half_each_within_a_minute(rpm: float) -> None:
    case = Case(rpm, runs=TWO, is_sharing=True, seconds=240)
    course, _ = simulate(case, 970)
    shares = measure_shares(course, case, 120, 240)
    assert min(shares) >= 0.4 * sum(shares)
    assert sum(shares) >= 0.9
    assert course.refused_share(120, 240) <= 0.03


def test_a_run_that_ends_leaves_its_part_to_the_others_within_half_a_minute() -> None:
    case = Case(600, runs=(Run(), Run(60), Run(end=180)), is_sharing=True, seconds=240)
    course, _ = simulate(case, 971)
    assert min(measure_shares(course, case, 120, 180)) >= 0.25
    shares = measure_shares(course, case, 200, 240)
    assert min(shares[:2]) >= 0.4
    assert sum(shares) >= 0.9


def test_a_run_with_little_work_leaves_the_rest_to_others() -> None:
    case = Case(600, runs=(Run(), Run(60, rate=1.0)), is_sharing=True, seconds=300)
    course, _ = simulate(case, 972)
    first, second = measure_shares(course, case, 120, 300)
    assert second == pytest.approx(0.1, abs=0.03)
    assert first >= 0.65


@pytest.mark.parametrize("is_sharing", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_limit_that_is_stated_is_not_used_twice(is_sharing: bool) -> None:
    case = Case(600, stated_on="all", runs=TWO, is_sharing=is_sharing, seconds=180)
    course, _ = simulate(case, 973)
    if not is_sharing:
        assert course.refused_share(60, 180) > 0.03  # what sharing is for
        return
    shares = measure_shares(course, case, 120, 180)
    assert min(shares) >= 0.45
    assert course.refused_share(60, 180) <= 0.01


@pytest.mark.parametrize("noise", mark_rest_long([0.04, 0.2], [0.04]))
def test_refusals_at_random_slow_neither_run_down(noise: float) -> None:
    case = Case(noise=noise, runs=(Run(), Run()), is_sharing=True, in_flight=8, seconds=150)
    course, _ = simulate(case, 974)
    possible = compute_possible(case)
    assert all(course.rate(90, 150, who) >= 0.85 * possible for who in range(2))


def test_a_later_run_starts_at_the_pace_of_all_together() -> None:
    case = Case(600, runs=(Run(), Run()), is_sharing=True, seconds=120)
    _, limiter = simulate(case, 975)
    assert limiter.export_state()["rate"]["pace"] == pytest.approx(10.0, rel=0.15)


def test_a_run_that_begins_takes_a_part_of_what_others_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    limit, limiter = name_limit("https://p", "m", "chat", "key"), Limiter()
    neighbour = LiveFile(get_pace_folder(), limit)
    neighbour.show('{"pace": 10.0, "rate": 9.0, "is_held_back": true, "noise": 0.0}')

    async def main() -> list[str]:
        exchange = PaceExchange(limiter, limit)
        await exchange.begin()
        await exchange.begin()  # another run of this process
        await exchange.end()
        shown = list(neighbour.read_others().values())
        await exchange.end()
        return shown

    assert len(asyncio.run(main())) == 1
    assert limiter.pace is not None
    assert 0.5 <= limiter.pace <= 5.0
    assert neighbour.read_others() == {}
    neighbour.close()


def test_without_a_folder_that_can_be_written_nothing_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    limiter = Limiter()

    async def main() -> None:
        exchange = PaceExchange(limiter, "limit")
        await exchange.begin()
        await exchange.end()

    asyncio.run(main())
    assert limiter.pace is None


def test_a_limit_is_that_of_an_address_a_model_an_operation_and_a_key_and_does_not_tell_the_key() -> None:
    whose = {"origin": "https://p", "model": "m", "operation": "chat", "key": "key"}
    names = [name_limit(**(whose | change)) for change in ({}, *({part: "other"} for part in whose), {"key": ""})]
    assert len(set(names)) == len(names)
    assert name_limit(**whose) == names[0]
    public, _, secret = names[0].partition("-")
    assert names[4].startswith(f"{public}-")
    assert len(secret) == 4  # 16 bits: every 65,536th key has the same


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["pace", "rate", "is_held_back", "noise"]), x),
    )
)
def test_what_another_version_shows_is_a_pace_or_nothing(value: object) -> None:
    pace = RunPace.from_json(value)
    assert pace is None or (0 <= pace.claim < math.inf and RunPace.from_json(pace.to_json()) == pace)


def test_what_is_shown_is_read_as_it_was() -> None:
    pace = RunPace(1.5, 1.25, is_held_back=True, noise=0.02)
    assert RunPace.from_json(pace.to_json()) == pace
    idle = replace(pace, pace=None, is_held_back=False)
    assert RunPace.from_json(idle.to_json()) == idle
