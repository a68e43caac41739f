"""Journals opened as a run opens them, and the small things that go into them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from mediamill.tasks.domain import Item
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_binding import Binding
from mediamill.tasks.journal.transitions import NewAttempt

NOW = 1_700_000_000_000_000
LATER = NOW + 3600 * 1_000_000
BINDING = Binding.from_values("/in", "transcribe", "together", "m", {"language": "auto"})


async def opened(out: Path, run_id: str, shared: Path | None = None, binding: Binding = BINDING) -> Journal:
    """The journal of OUT at the start of a run."""
    journal = Journal.open(out, None if shared is None else str(shared))
    await journal.output.bind(out, binding, {"capability": binding.capability}, replace=False)
    await journal.runs.start(run_id)
    return journal


def attempt(journal: Journal, call_id: str, most: str | None = "0.5") -> NewAttempt:
    """An attempt of this run."""
    return NewAttempt(
        call_id=call_id,
        out_id=journal.out_id,
        run_id=journal.run_id,
        capability="transcribe",
        provider="together",
        model="m",
        operation="transcription",
        item_ids=("a.wav",),
        attempt=1,
        started_at=NOW,
        wait_ms=0,
        cost_max=None if most is None else Decimal(most),
    )


async def begin(journal: Journal, key: str, call_id: str) -> None:
    """Claim an Ask and send it."""
    claim = await journal.asks.claim(key, owner=journal.run_id, now=NOW)
    assert claim.state in ("mine", "unknown"), claim
    await journal.asks.record_sending(attempt(journal, call_id), [key])


async def reply(journal: Journal, key: str, call_id: str, body: bytes = b"{}", **headers: str) -> None:
    """The reply of an attempt."""
    told: dict[str, Any] = {"status": 200, "headers": headers, "latency_ms": 5, "request_id": "r"}
    await journal.asks.record_reply(call_id, [key], body=body, **told)


async def refuse(journal: Journal, key: str, call_id: str) -> None:
    """The refusal of an attempt."""
    await journal.asks.record_rejection(
        call_id, [key], kind="rate_limit", message="slow down", status=429, latency_ms=5, request_id=None
    )


async def lose(journal: Journal, key: str, call_id: str) -> None:
    """The attempt's outcome is not known."""
    await journal.asks.record_unknown(call_id, [key], kind="timeout", message="no reply", status=None, latency_ms=5)


def item(number: int, *, item_id: str | None = None, fingerprint: str = "1") -> Item:
    """An item of a folder."""
    name = item_id or f"{number:06d}.wav"
    return Item(item_id=name, index=number, source=name, location=f"/in/{name}", fingerprint=fingerprint)
