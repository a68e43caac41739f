"""Which built-in servers are taken for standing still, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from mediamill.tasks.calls.server_watch import LOOK_SECONDS, ServerWatch
from tests.calls.virtual_time import run_virtual


@dataclass
class _Server:
    """A server that answers looks until ``silent_from``, and gets on until ``still_from``, both in seconds."""

    silent_from: float
    still_from: float
    is_known: bool = True
    looks: int = 0
    ended_at: float | None = None
    began_at: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time() - self.began_at

    async def look(self, _: str) -> bool:
        self.looks += 1
        if self.now < self.silent_from:
            return True
        await asyncio.sleep(LOOK_SECONDS)
        return False

    def read_processor_time(self) -> str | None:
        return str(min(self.now, self.still_from)) if self.is_known else None

    def end_still(self) -> None:
        self.ended_at = self.now


async def wait_for_answer(server: _Server, seconds: float) -> None:
    watch = ServerWatch(server.look, lambda _: server)
    with watch.wait_for("origin"):
        await asyncio.sleep(seconds)
    await asyncio.sleep(600.0)


@pytest.mark.parametrize("still_from", [0.0, 100.0])
def test_a_server_that_answers_nothing_and_stands_still_is_ended(still_from: float) -> None:
    async def main() -> None:
        server = _Server(still_from, still_from)
        await wait_for_answer(server, 500.0)
        assert server.ended_at is not None
        assert still_from + 3 * LOOK_SECONDS <= server.ended_at <= still_from + 8 * LOOK_SECONDS

    run_virtual(main)


@pytest.mark.parametrize(
    ("silent_from", "still_from", "is_known"),
    [(0.0, 1e9, True), (1e9, 0.0, True), (0.0, 0.0, False)],
    ids=["busy", "waiting for work", "nobody can tell"],
)
def test_a_server_that_may_get_on_is_left_alone(silent_from: float, still_from: float, is_known: bool) -> None:
    async def main() -> None:
        server = _Server(silent_from, still_from, is_known)
        await wait_for_answer(server, 500.0)
        assert server.ended_at is None
        assert server.looks

    run_virtual(main)


def test_nobody_looks_when_no_request_waits() -> None:
    async def main() -> None:
        server = _Server(0.0, 0.0)
        for _ in range(50):
            await wait_for_answer(server, LOOK_SECONDS / 2)
        assert server.looks == 0

    run_virtual(main)


def test_several_requests_are_watched_as_one() -> None:
    async def main() -> None:
        server = _Server(1e9, 0.0)
        watch = ServerWatch(server.look, lambda _: server)

        async def wait() -> None:
            with watch.wait_for("origin"):
                await asyncio.sleep(101.0)

        await asyncio.gather(*(wait() for _ in range(64)))
        assert server.looks == 101.0 // LOOK_SECONDS

    run_virtual(main)


def test_a_request_that_begins_as_the_last_one_ends_is_watched_too() -> None:
    async def main() -> None:
        server = _Server(0.0, 0.0)
        watch = ServerWatch(server.look, lambda _: server)
        with watch.wait_for("origin"):
            await asyncio.sleep(1.0)
        with watch.wait_for("origin"):
            await asyncio.sleep(500.0)
        assert server.ended_at is not None

    run_virtual(main)
