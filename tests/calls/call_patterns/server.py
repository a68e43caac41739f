"""A server for the test shapes that counts what it was asked: the judge, independent of the ledger."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web


class ShapesServer:
    """Runs on a loopback port in a thread of the test process, so that it outlives killed clients."""

    def __init__(self, latency: float = 0.01) -> None:
        self.latency = latency
        self.names: Counter[str] = Counter()
        self.requests = 0
        self.polls = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.jobs: dict[str, list[str]] = {}
        self.looks: Counter[str] = Counter()
        self.origin = ""

    async def answer(self, request: web.Request) -> web.Response:
        """Pieces and packs: a text for each name, once the latency is over."""
        names = (await request.json())["names"]
        self._count(names)
        try:
            await asyncio.sleep(self.latency)
        finally:
            self.in_flight -= 1
        return web.json_response({"texts": [f"text {name}" for name in names]})

    async def create(self, request: web.Request) -> web.Response:
        """Jobs: bought when created."""
        names = (await request.json())["names"]
        self._count(names)
        self.in_flight -= 1
        job = f"job-{len(self.jobs)}"
        self.jobs[job] = names
        return web.json_response({"id": job}, status=202)

    async def look(self, request: web.Request) -> web.Response:
        """Completed at the third look."""
        job = request.match_info["job"]
        self.polls += 1
        self.looks[job] += 1
        if self.looks[job] < 3:
            return web.json_response({"status": "in_progress"})
        return web.json_response({"status": "completed", "texts": [f"text {name}" for name in self.jobs[job]]})

    def _count(self, names: list[str]) -> None:
        self.requests += 1
        self.names.update(names)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)


@contextmanager
def shapes_server(latency: float = 0.01) -> Iterator[ShapesServer]:
    """A running server; ``origin`` is its address."""
    judge = ShapesServer(latency)
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.add_routes(
        [
            web.post("/v1/piece", judge.answer),
            web.post("/v1/packed", judge.answer),
            web.post("/v1/jobs", judge.create),
            web.get("/v1/jobs/{job}", judge.look),
        ]
    )
    runner = web.AppRunner(app)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        judge.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield judge
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
