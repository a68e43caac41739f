"""A server for the call patterns that counts its requests: its count is independent of the ledger."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web


class PatternServer:
    """Runs on a loopback port in a thread of the test process, so that it outlives killed clients."""

    def __init__(self, latency: float = 0.01) -> None:
        self.latency = latency
        self.names: Counter[str] = Counter()
        self.requests = 0
        self.polls = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self.jobs: dict[str, list[str]] = {}
        self.polls_by_job: Counter[str] = Counter()
        self.origin = ""

    async def send_texts(self, request: web.Request) -> web.Response:
        """Reply with a text for each name after the latency."""
        names = (await request.json())["names"]
        self._count(names)
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.in_flight -= 1
        return web.json_response({"texts": [f"text {name}" for name in names]})

    async def create_job(self, request: web.Request) -> web.Response:
        """Create a job; it counts as bought now."""
        names = (await request.json())["names"]
        self._count(names)
        self.in_flight -= 1
        job = f"job-{len(self.jobs)}"
        self.jobs[job] = names
        return web.json_response({"id": job}, status=202)

    async def poll(self, request: web.Request) -> web.Response:
        """The state of a job, which is completed at the third poll."""
        job = request.match_info["job"]
        self.polls += 1
        self.polls_by_job[job] += 1
        if self.polls_by_job[job] < 3:
            return web.json_response({"status": "in_progress"})
        return web.json_response({"status": "completed", "texts": [f"text {name}" for name in self.jobs[job]]})

    def _count(self, names: list[str]) -> None:
        self.requests += 1
        self.names.update(names)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)


@contextmanager
def running_pattern_server(latency: float = 0.01) -> Iterator[PatternServer]:
    """A running server; ``origin`` is its address."""
    server = PatternServer(latency)
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/piece", server.send_texts),
            web.post("/v1/packed", server.send_texts),
            web.post("/v1/jobs", server.create_job),
            web.get("/v1/jobs/{job}", server.poll),
        ]
    )
    runner = web.AppRunner(app)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
