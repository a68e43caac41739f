"""A chat server that fails as its plan says, logs each request and bills: ``python -m tests.helpers.chaos.server LOG``.

It reads a plan (one line of JSON) from stdin and prints its port; each further line is a new plan, and the end of
stdin is its own. LOG gets a line of JSON for each request. It is a process of its own, so that it has a clock and an
event loop that the client does not hold up, and it has no code of mediamill.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

from tests.helpers.chaos.plan import BILLED_FAULTS, Limit, Plan, compute_price, count_tokens
from tests.helpers.chaos.windows import LimitWindows

_HALF_BODY_SECONDS = 0.02
"""How long a connection with half a body lives, so that the half arrives."""
_REFUSAL = b'{"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}'
_ERRORS = {
    "503": (503, b'{"error": {"message": "overloaded", "type": "server_error"}}'),
    "500": (500, b'{"error": {"message": "internal error", "type": "server_error"}}'),
    "error_in_200": (200, b'{"error": {"message": "the model broke", "type": "server_error", "code": "500"}}'),
}


class ChaosServer:
    """The server: its plan, its windows and its log."""

    def __init__(self, plan: Plan, log: TextIO) -> None:
        self.plan = plan
        self._log = log
        self._began_at: float | None = None
        self._requests: Counter[str] = Counter()  # by prompt
        self._windows = LimitWindows()
        self._writers: set[asyncio.StreamWriter] = set()
        self._listener: asyncio.Server | None = None
        self._port = 0

    @property
    def now(self) -> float:
        """Seconds since the first request."""
        return 0.0 if self._began_at is None else time.monotonic() - self._began_at

    async def open(self) -> int:
        """Listen; returns the port, which stays the same."""
        self._listener = await asyncio.start_server(self._serve_connection, "127.0.0.1", self._port, backlog=4096)
        self._port = int(self._listener.sockets[0].getsockname()[1])
        return self._port

    async def close(self) -> None:
        """Refuse connections from now on, and break those that there are."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in list(self._writers):
            _reset(writer)

    async def watch_door(self) -> None:
        """Close the door while a phase says ``refused``, and open it again."""
        while True:
            is_shut = any(p.kind == "refused" and p.begin <= self.now < p.end for p in self.plan.phases)
            if is_shut and self._listener is not None:
                await self.close()
            elif not is_shut and self._listener is None:
                await self.open()
            await asyncio.sleep(0.02)

    async def _serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
                )
                body = await reader.readexactly(length)
                if head.startswith(b"GET "):
                    if not await self._answer_unpaid(reader, writer):
                        return
                    continue
                if not await self._answer(json.loads(body), reader, writer):
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or this server ends
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self, request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; whether the connection goes on."""
        if self._began_at is None:
            self._began_at = time.monotonic()
        arrived_at = self.now
        prompt, model = request["messages"][-1]["content"], request["model"]
        self._requests[prompt] += 1
        nth = self._requests[prompt]
        limits = self.plan.find_limits(arrived_at, model)
        kind = self._find_outage(prompt, nth, arrived_at)
        if kind is None:
            tokens = sum(count_tokens(prompt))
            accepted = self._windows.accept(limits, arrived_at, {"requests": 1, "tokens": tokens})
            kind = self.plan.choose_fault(prompt, nth, arrived_at) if accepted else "limit"
        if kind == "hang":
            is_billed = self.plan.bills_hung(prompt, nth)
            self._write_log(arrived_at, None, kind, prompt, model, nth, is_billed=is_billed)
            await reader.read()  # until the client leaves
            return False
        await asyncio.sleep(0 if kind == "limit" else self.plan.draw_latency(prompt, nth, kind))
        is_billed = kind in ("ok", "slow", *BILLED_FAULTS)
        self._write_log(arrived_at, self.now, kind, prompt, model, nth, is_billed=is_billed)
        headers = _state_limits(limits) if self.plan.is_stated else {}
        if kind in ("reset", "refused", "reset_in_body"):
            if kind == "reset_in_body":
                writer.write(_build_ok_reply(prompt, headers)[:-40])
                await asyncio.sleep(_HALF_BODY_SECONDS)
            _reset(writer)
            return False
        writer.write(self._build_reply_of(kind, prompt, headers))
        await writer.drain()
        return True

    async def _answer_unpaid(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer what asks for nothing that is sold, and is not logged; whether the connection goes on."""
        kind = self._find_outage("", 0, self.now)
        if kind == "hang":
            await reader.read()
            return False
        if kind == "reset":
            _reset(writer)
            return False
        writer.write(_build_reply(503 if kind else 404, b"{}", {}))
        await writer.drain()
        return True

    def _find_outage(self, prompt: str, nth: int, now: float) -> str | None:
        """An outage takes no notice of limits."""
        phase = next((p for p in self.plan.phases if p.is_outage and p.begin <= now < p.end), None)
        return phase.kind if phase else None

    def _write_log(
        self,
        arrived_at: float,
        ended_at: float | None,
        kind: str,
        prompt: str,
        model: str,
        nth: int,
        *,
        is_billed: bool,
    ) -> None:
        assert self._began_at is not None
        record = {
            "began_at": round(self._began_at, 3),
            "arrived_at": round(arrived_at, 3),
            "ended_at": None if ended_at is None else round(ended_at, 3),
            "kind": kind,
            "prompt": prompt,
            "model": model,
            "nth": nth,
            "billed_usd": str(compute_price(prompt)) if is_billed else "0",
        }
        self._log.write(json.dumps(record) + "\n")

    def _build_reply_of(self, kind: str, prompt: str, headers: dict[str, str]) -> bytes:
        if kind in ("rate_limit", "rate_limit_hint", "limit"):
            hint = {"Retry-After": f"{self.plan.retry_after:g}"} if kind == "rate_limit_hint" else {}
            return _build_reply(429, _REFUSAL, headers | hint)
        if kind in _ERRORS:
            status, error = _ERRORS[kind]
            return _build_reply(status, error, headers)
        if kind == "empty":
            return _build_reply(200, b"", headers)
        if kind == "bad_json":
            return _build_reply(200, json.dumps(_build_answer(prompt)).encode()[:-10], headers)
        return _build_ok_reply(prompt, headers)


def _build_ok_reply(prompt: str, headers: dict[str, str]) -> bytes:
    return _build_reply(200, json.dumps(_build_answer(prompt)).encode(), headers)


def _build_answer(prompt: str) -> dict[str, Any]:
    sent, received = count_tokens(prompt)
    return {
        "id": "chaos",
        "object": "chat.completion",
        "created": 1,
        "model": "chaos",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": f"answer to {prompt}"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received},
    }


def _build_reply(status: int, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _state_limits(limits: list[Limit]) -> dict[str, str]:
    return {f"x-ratelimit-limit-{limit.unit}": str(math.floor(limit.per_minute)) for limit in limits}


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _main(log_path: Path) -> None:
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    with log_path.open("a", buffering=1, encoding="utf-8") as log:
        server = ChaosServer(Plan.from_json((await stdin.readline()).decode()), log)
        print(await server.open(), flush=True)  # noqa: T201 - how whoever started it learns the port
        door = asyncio.create_task(server.watch_door())
        while line := await stdin.readline():
            server.plan = Plan.from_json(line.decode())
        door.cancel()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
