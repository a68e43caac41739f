"""Asks: claimed, sending, accepted, replied, rejected or unknown; each transition durable before the next step.

claimed (lease) -> sending (reserved) -> replied
                                      -> accepted (remote id) -> replied
                                      -> rejected (unbilled)  -> claimed again
                                      -> unknown (may be billed) -> claimed again, if repeatable
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, RowMapping, select

from mediamill.tasks.domain import Cost
from mediamill.tasks.journal import claims, transitions
from mediamill.tasks.journal.blobs import BlobStore
from mediamill.tasks.journal.claim_owners import ClaimOwners
from mediamill.tasks.journal.claims import ClaimRequest, HeldAsks
from mediamill.tasks.journal.database import JournalDatabase
from mediamill.tasks.journal.db_errors import to_storage_error
from mediamill.tasks.journal.sql_dialect import split_values
from mediamill.tasks.journal.tables import asks, attempts
from mediamill.tasks.journal.transitions import AttemptEnd, NewAttempt
from mediamill.tasks.wire import Reply

_MAX_INLINE_BYTES = 64 * 1024
_STORED_HEADERS = frozenset(
    {
        "content-type",
        "x-request-id",
        "x-together-request-id",
        "x-together-traceid",
        "cf-ray",
        "x-mediamill-engine",
        "x-mediamill-simulated",
        "x-mediamill-socket",
    }
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A stored attempt and its raw reply. ``cost`` None means its reply was never parsed."""

    call_id: str
    out_id: str
    item_ids: tuple[str, ...]
    request_keys: tuple[str, ...]
    attempt: int
    started_at: int
    latency_ms: int | None
    cost: Cost | None
    cost_max: Decimal | None
    reply_status: int | None
    reply_headers: Mapping[str, str] = field(default_factory=dict)
    reply_body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """The result of claiming an Ask.

    ``mine``: send it. ``hit``: it has a reply already. ``busy``: another live owner works on it. ``accepted``: the
    job ``remote_id`` runs at the provider; poll it. ``unknown``: it was sent before, and its outcome is not known; its
    attempt may have a reply that no one could read.
    """

    state: Literal["mine", "hit", "busy", "accepted", "unknown"]
    attempt: Attempt | None = None
    remote_id: str | None = None


class Asks:
    """The states of every Ask in the journal; ``owners`` knows which other owners of claims are dead."""

    def __init__(self, journal: JournalDatabase, blobs: BlobStore | None) -> None:
        self.owners = ClaimOwners()
        self._journal = journal
        self._blobs = blobs

    async def claim(self, key: str, *, owner: str, now: int) -> ClaimResult:
        """Claim an Ask for ``owner``, or find out why it cannot be claimed.

        The claim is unique over every task, shard and process that uses this journal. A dead owner's claim is taken
        over: what it was sending becomes ``unknown``. A claim lasts until the reply is recorded or the claim is
        released, through rejections and retries, so that nobody else sends while its owner waits to retry.

        Args:
            key: the request key.
            owner: the id of the run that claims it.
            now: microseconds since the epoch.
        """
        state, row = await self._journal.write_batched(
            claims.claim, ClaimRequest(key, owner, self._journal.out_id, now, self.owners, self._journal.worker)
        )
        if state in ("hit", "accepted", "unknown") and row["call_id"]:
            attempt = await self._load_attempt(row["call_id"])
            return ClaimResult(state, attempt, row["remote_id"])
        return ClaimResult(state)

    def load_replies(self, keys: Sequence[str]) -> dict[str, Reply]:
        """The replies to those Asks that were sent alone and answered; of other Asks there is none."""
        names = ("request_keys", "reply_status", "reply_headers", "reply_body", "reply_blob")
        columns = (asks.c.key, *(attempts.c[name] for name in names))
        found: dict[str, Reply] = {}
        for chunk in split_values(keys):
            statement = select(*columns).join(attempts, attempts.c.call_id == asks.c.call_id)
            statement = statement.where(asks.c.key.in_(chunk), asks.c.state == "replied")
            for row in self._journal.read_blocking(partial(_fetch_all, statement=statement)):
                body = row["reply_body"]
                if row["reply_blob"] and self._blobs is not None:
                    body = self._blobs.get(row["reply_blob"])
                if len(orjson.loads(row["request_keys"])) == 1:
                    headers = orjson.loads(row["reply_headers"] or "{}")
                    found[row["key"]] = Reply(row["reply_status"] or 200, headers, bytes(body or b""))
        return found

    async def release(self, keys: Sequence[str]) -> None:
        """Release this run's claims on Asks that have no reply.

        A claimed Ask returns to its state before the claim. The next run to claim one that was being sent finds it
        unknown, and an accepted one still to be polled. Asks with a reply stay as they are.
        """
        await self._journal.write_batched(claims.release, HeldAsks(self._journal.run_id, tuple(keys)))

    async def record_sending(self, attempt: NewAttempt, keys: Sequence[str]) -> None:
        """Record an attempt that is about to be sent; durable before its first byte leaves.

        Raises:
            ClaimLost: when another run has claimed one of the Asks since; then nothing may be sent.
        """
        await self._journal.write_batched(transitions.record_sending, (attempt, tuple(keys)))

    async def record_accepted(self, call_id: str, keys: Sequence[str], remote_id: str) -> None:
        """Record that the provider runs the job ``remote_id``; durable before the first poll."""
        end = AttemptEnd(call_id, keys, self._bind_values(outcome="accepted"), "accepted", remote_id=remote_id)
        await self._journal.write_batched(transitions.record_accepted, end)

    async def record_reply(
        self,
        call_id: str,
        keys: Sequence[str],
        *,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        latency_ms: int,
        request_id: str | None,
    ) -> None:
        """Record the raw reply; durable before it is parsed.

        Raises:
            StorageError: when it cannot be stored.
        """
        blob = await self._store_large_body(body)
        columns = {
            "outcome": "replied",
            "http_status": status,
            "latency_ms": latency_ms,
            "request_id": request_id,
            "reply_status": status,
            "reply_headers": _to_stored_headers(headers),
            "reply_body": body if blob is None else None,
            "reply_blob": blob,
        }
        await self._journal.write_batched(
            transitions.record_replies, AttemptEnd(call_id, keys, self._bind_values(**columns), "replied")
        )

    async def record_rejection(
        self,
        call_id: str,
        keys: Sequence[str],
        *,
        kind: str,
        message: str,
        status: int | None,
        latency_ms: int,
        request_id: str | None,
    ) -> None:
        """Record that the request was refused or never arrived; nothing was billed."""
        columns = {
            "outcome": "rejected",
            "http_status": status,
            "error_kind": kind,
            "error_message": message,
            "latency_ms": latency_ms,
            "request_id": request_id,
            "cost_usd": "0",
            "cost_basis": "free",
        }
        await self._journal.write_batched(
            transitions.record_rejections,
            AttemptEnd(call_id, keys, self._bind_values(**columns), "claimed", "rejected"),
        )

    async def record_unknown(
        self,
        call_id: str,
        keys: Sequence[str],
        *,
        kind: str,
        message: str,
        status: int | None,
        latency_ms: int,
        request_id: str | None = None,
        reply: Reply | None = None,
    ) -> None:
        """Record that the request may have been carried out and billed; its ceiling stays charged.

        Args:
            call_id: the attempt's id.
            keys: the request keys of its Asks.
            kind: why there is no answer.
            message: the same in words.
            status: the HTTP status, if a reply came.
            latency_ms: how long it took.
            request_id: the provider's id of the request.
            reply: what came in place of an answer, to be looked at.

        Raises:
            StorageError: when it cannot be stored.
        """
        blob = None if reply is None else await self._store_large_body(reply.body)
        columns = {
            "outcome": "unknown",
            "http_status": status,
            "error_kind": kind,
            "error_message": message,
            "latency_ms": latency_ms,
            "request_id": request_id,
            "cost_basis": "unknown",
            "reply_status": None if reply is None else reply.status,
            "reply_headers": None if reply is None else _to_stored_headers(reply.headers),
            "reply_body": None if reply is None or blob is not None else reply.body,
            "reply_blob": blob,
        }
        await self._journal.write_batched(
            transitions.record_unknown, AttemptEnd(call_id, keys, self._bind_values(**columns), "claimed", "unknown")
        )

    async def record_cost(self, call_id: str, usage: Mapping[str, Any], cost: Cost) -> None:
        """Record the usage and the cost of an attempt."""
        columns = {
            "b_call": call_id,
            "usage": orjson.dumps(usage).decode(),
            "cost_usd": None if cost.usd is None else str(cost.usd),
            "cost_basis": cost.basis,
            "price_source": cost.source,
        }
        await self._journal.write_batched(transitions.record_costs, self._bind_values(**columns))

    def check_blob(self, name: str) -> None:
        """Read a large reply and compare it with its SHA-256.

        Raises:
            StorageError: when it is gone or has changed.
        """
        if self._blobs is not None:
            self._blobs.get(name)

    async def renew(self, owner: str) -> None:
        """Extend the leases of everything ``owner`` holds. The journal does so by itself for its own run."""
        await self._journal.write_batched(claims.renew, (self._journal.out_id, owner))

    async def recover(self) -> None:
        """End every claim of this OUT's earlier runs. The caller must hold OUT's lock."""
        journal = self._journal
        await journal.write(lambda connection: claims.recover(connection, journal.out_id, journal.run_id))

    async def recover_worker(self, worker: int) -> int:
        """End every claim of a dead worker process of this run; how many requests of unknown outcome it leaves."""
        journal = self._journal
        return await journal.write(
            lambda connection: claims.recover_worker(connection, journal.out_id, journal.run_id, worker)
        )

    def _bind_values(self, **columns: Any) -> dict[str, Any]:
        """The parameters of an update of an attempt: its new columns, and the OUT and run that change it."""
        if columns.get("error_message"):
            columns["error_message"] = columns["error_message"].replace("\0", "")  # PostgreSQL's text cannot hold NUL
        return {**columns, "b_out": self._journal.out_id, "b_run": self._journal.run_id}

    async def _store_large_body(self, body: bytes) -> str | None:
        """Store a large body as a blob and return its name; None for a body that fits in the attempt's row."""
        if self._blobs is None or len(body) <= _MAX_INLINE_BYTES:
            return None
        try:
            return await asyncio.to_thread(self._blobs.put, body)
        except OSError as error:
            raise (to_storage_error(error, str(error.filename or self._journal.where)) or error) from None

    async def _load_attempt(self, call_id: str) -> Attempt:
        row = await self._journal.write_batched(transitions.fetch_attempts, call_id)
        body = row["reply_body"]
        if self._blobs is not None and row["reply_blob"]:
            body = await asyncio.to_thread(self._blobs.get, row["reply_blob"])
        cost = None
        if row["cost_basis"] is not None:
            usd = None if row["cost_usd"] is None else Decimal(row["cost_usd"])
            cost = Cost(usd, row["cost_basis"], row["price_source"])
        return Attempt(
            call_id=call_id,
            out_id=row["out_id"],
            item_ids=tuple(orjson.loads(row["item_ids"])),
            request_keys=tuple(orjson.loads(row["request_keys"])),
            attempt=row["attempt"],
            started_at=row["started_at"],
            latency_ms=row["latency_ms"],
            cost=cost,
            cost_max=None if row["cost_max_usd"] is None else Decimal(row["cost_max_usd"]),
            reply_status=row["reply_status"],
            reply_headers=orjson.loads(row["reply_headers"] or "{}"),
            reply_body=body,
        )


def _fetch_all(connection: Connection, statement: Any) -> list[RowMapping]:
    return list(connection.execute(statement).mappings())


def _to_stored_headers(headers: Mapping[str, str]) -> str:
    return orjson.dumps({name: value for name, value in headers.items() if name in _STORED_HEADERS}).decode()
