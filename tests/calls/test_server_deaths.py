"""What happens to requests whose built-in server died."""

from __future__ import annotations

import asyncio

import pytest

from mediamill.tasks.calls.server_deaths import ServerDeaths
from mediamill.tasks.calls.transport_errors import NotSent, ReplyLost, TransportError
from tests.calls.virtual_time import run_virtual

RESET = ReplyLost("reset", "h: the connection was closed before the reply came")


async def find_exit(origin: str) -> str | None:
    return None if origin == "alive" else "killed"


async def test_a_request_that_three_processes_died_with_fails() -> None:
    deaths = ServerDeaths(find_exit)
    problems = [await deaths.explain_loss(f"dead {n}", "key", RESET) for n in range(3)]
    assert [problem and problem.verdict for problem in problems] == ["retry", "retry", "fail"]
    assert {problem and problem.kind for problem in problems} == {"server_died"}


async def test_an_answer_clears_a_request() -> None:
    deaths = ServerDeaths(find_exit)
    for n in range(6):
        problem = await deaths.explain_loss(f"dead {n}", "key", RESET)
        assert problem
        assert problem.verdict == "retry"
        deaths.record_answer("key")


async def test_a_request_that_never_reached_the_process_is_not_blamed() -> None:
    deaths = ServerDeaths(find_exit)
    for n in range(6):
        problem = await deaths.explain_loss(f"dead {n}", "key", NotSent("refused", "h: no connection"))
        assert problem
        assert problem.verdict == "retry"


@pytest.mark.parametrize(
    ("origin", "error"),
    [("alive", RESET), ("dead", ReplyLost("deadline", "late")), ("dead", ReplyLost("overdue", "late"))],
)
async def test_other_losses_are_not_the_servers_death(origin: str, error: TransportError) -> None:
    assert await ServerDeaths(find_exit).explain_loss(origin, "key", error) is None


async def test_processes_that_die_one_after_another_stop_the_run() -> None:
    deaths = ServerDeaths(find_exit)
    for n in range(9):
        await deaths.explain_loss(f"dead {n}", f"key {n}", RESET)
        await deaths.explain_loss(f"dead {n}", f"other {n}", RESET)
    problem = await deaths.explain_loss("dead 9", "key 9", RESET)
    assert problem
    assert (problem.verdict, problem.kind) == ("stop", "server_died")
    assert "ended 10 times" in problem.message


def test_what_two_processes_died_with_is_sent_alone() -> None:
    in_flight: set[str] = set()
    together: list[frozenset[str]] = []

    async def send(deaths: ServerDeaths, key: str) -> None:
        async with deaths.admit(key):
            in_flight.add(key)
            together.append(frozenset(in_flight))
            await asyncio.sleep(1.0)
            in_flight.discard(key)

    async def main() -> None:
        deaths = ServerDeaths(find_exit)
        for n in range(2):
            for key in ("a", "b"):
                await deaths.explain_loss(f"dead {n}", key, RESET)
        waiting = [asyncio.ensure_future(send(deaths, key)) for key in ("x", "a", "y", "b", "z", "cancelled")]
        await asyncio.sleep(0.5)
        waiting[-1].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await asyncio.gather(*(send(deaths, key) for key in ("u", "v")))

    run_virtual(main)
    alone = [group for group in together if group & {"a", "b"}]
    assert alone == [frozenset("a"), frozenset("b")]
    assert frozenset("uv") in together
    assert not in_flight
