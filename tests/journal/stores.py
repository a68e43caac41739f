"""Journals opened as a run opens them, on SQLite and PostgreSQL, and what is recorded in them."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import create_engine, text

from mediamill.tasks.domain import Cost, Item, Result
from mediamill.tasks.journal.asks import ClaimResult
from mediamill.tasks.journal.claim_owners import LEASE_SECONDS, ClaimOwners
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_binding import Binding
from mediamill.tasks.journal.transitions import NewAttempt

NOW = 1_800_000_000_000_000
"""A time of day in microseconds since the epoch."""
StartProcess = Callable[..., subprocess.Popen[str]]
"""Starts ``tests.journal.journal_process`` with its arguments."""
SQLITE, POSTGRESQL = "sqlite", "postgresql"


class Store:
    """One database that several OUTs share; with None as its address, one in each OUT."""

    def __init__(self, root: Path, url: str | None) -> None:
        self.root = root
        self.url = url
        self.journals: list[Journal] = []
        self.seconds = 0.0
        """The monotonic clock by which these journals judge the owners of claims; only tests advance it."""

    async def open(self, out: str = "a", *, replace: bool = False, **bound: Any) -> Journal:
        """The journal of the OUT ``out`` at the start of a new run; ``bound`` are fields of its binding."""
        journal = Journal.open(self.root / out, self.url)
        self.journals.append(journal)
        journal.asks.owners = ClaimOwners(lambda: self.seconds)
        await self.start(journal, out, replace=replace, **bound)
        return journal

    async def start(self, journal: Journal, out: str, *, replace: bool = False, **bound: Any) -> None:
        """Start a run in an open journal of the OUT ``out``."""
        values = {"root": "recordings", "capability": "transcribe", "provider": "p", "model": "m", "params": {}} | bound
        await start_run(journal, self.root / out, Binding.from_values(**values), replace=replace)

    def reopen(self, out: str) -> Journal:
        """The journal of an OUT as it is, before a run has started."""
        journal = Journal.open(self.root / out, self.url)
        self.journals.append(journal)
        journal.output.load_id(self.root / out)
        return journal

    async def take_over(self, heir: Journal, key: str) -> ClaimResult:
        """Claim an Ask whose owner gives no sign of life any more."""
        assert (await claim(heir, key)).state == "busy"
        self.seconds += LEASE_SECONDS
        return await claim(heir, key)

    async def record_paid(self, journal: Journal, item: Item, call_id: str, usd: Decimal) -> None:
        """Record an item's answer, its cost and its result."""
        await send(journal, f"key of {call_id}", call_id)
        await reply(journal, [f"key of {call_id}"], call_id)
        await journal.asks.record_cost(call_id, {}, Cost(usd, "metered", "prices"))
        payload = {"item_id": item.item_id, "cost_usd": usd, "cached": False, "cost_basis": "metered"}
        await journal.outcomes.record(item, 0, Result(item.item_id, payload), payload)

    def close(self) -> None:
        for journal in self.journals:
            journal.close()


async def start_run(journal: Journal, out: Path, binding: Binding, *, replace: bool = False) -> None:
    """Bind OUT and start a run in its journal; claims of earlier runs end."""
    await journal.output.bind(out, binding, {"source": "x"}, replace=replace)
    await journal.runs.start(f"run-{uuid.uuid4().hex[:12]}")
    await journal.asks.recover()


def create_schema(server: str) -> tuple[str, str]:
    """Create a new schema on the server: its name, and the URL of a journal in it."""
    name = f"journal_{uuid.uuid4().hex[:12]}"
    _execute(server, f"CREATE SCHEMA {name}")
    separator = "&" if "?" in server else "?"
    return name, f"{server}{separator}options={quote(f'-csearch_path={name}')}"


def drop_schema(server: str, name: str) -> None:
    _execute(server, f"DROP SCHEMA {name} CASCADE")


def _execute(server: str, statement: str) -> None:
    engine = create_engine(server.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def make_item(number: int, **changed: Any) -> Item:
    values: dict[str, Any] = {
        "item_id": f"i{number:06d}",
        "index": number,
        "source": f"{number}.wav",
        "fingerprint": "f",
    } | changed
    return Item(**values)


def new_attempt(journal: Journal, call_id: str, *, cost_max: Decimal | None = Decimal(1), **changed: Any) -> NewAttempt:
    values: dict[str, Any] = {
        "call_id": call_id,
        "out_id": journal.out_id,
        "run_id": journal.run_id,
        "capability": "transcribe",
        "provider": "p",
        "model": "m",
        "operation": "transcription",
        "item_ids": ("i000000",),
        "attempt": 1,
        "started_at": NOW,
        "wait_ms": 3,
        "cost_max": cost_max,
    }
    return NewAttempt(**(values | changed))


async def claim(journal: Journal, key: str, now: int = NOW) -> ClaimResult:
    return await journal.asks.claim(key, owner=journal.run_id, now=now)


async def send(journal: Journal, key: str, call_id: str, cost_max: Decimal | None = Decimal(1)) -> ClaimResult:
    """Claim an Ask and record that its attempt is being sent."""
    claim_result = await claim(journal, key)
    await journal.asks.record_sending(new_attempt(journal, call_id, cost_max=cost_max), [key])
    return claim_result


async def reply(journal: Journal, keys: Sequence[str], call_id: str, body: bytes = b'{"text": "hello"}') -> None:
    headers = {"content-type": "application/json", "x-request-id": "req-1", "set-cookie": "session=SECRET"}
    await journal.asks.record_reply(
        call_id, keys, status=200, headers=headers, body=body, latency_ms=12, request_id="req-1"
    )


async def reject(journal: Journal, key: str, call_id: str) -> None:
    await journal.asks.record_rejection(
        call_id, [key], kind="rate_limit", message="slow\0 down", status=429, latency_ms=1, request_id=None
    )


async def lose_reply(journal: Journal, key: str, call_id: str) -> None:
    await journal.asks.record_unknown(call_id, [key], kind="reset", message="reset", status=None, latency_ms=1)


def find_attempt_row(journal: Journal, call_id: str) -> dict[str, Any]:
    return next(row for row in journal.attempts.stream_all() if row["call_id"] == call_id)
