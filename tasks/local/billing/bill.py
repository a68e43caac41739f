"""The bill: the requests the server got and what it charges. The ledger is checked against it; they share no code."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, fields
from decimal import Context, Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from mediamill.tasks.local.billing.record_file import RecordFile

MAX_KEPT_CALLS = 1_000_000
"""Calls that are kept individually; the totals include all."""

_EXACT = Context(prec=50)


@dataclass(slots=True)
class PaidCall:
    """One request to a paid endpoint.

    Attributes:
        n: number, from 1, in order of arrival.
        status: HTTP status of the reply; 0 before there is one, and when the connection was broken before it.
        billed: the call is charged, whether or not the reply arrived.
        provider: the provider in whose dialect it was asked.
        seconds: charged seconds, as a decimal string.
        usd: charged US dollars, as a decimal string; None when nothing is charged, or nobody knows what it costs.
        price_source: the price, and where and when it was read; ``--price`` for that of the option.
        characters: charged characters of speech; ``file_sha256`` is then the hash of the text.
        input_tokens, output_tokens: charged tokens of a prompt and its answer.
        searches, sessions: charged searches of a reranker, sessions of an interpreter.
        images, videos: charged generated images and videos; ``file_sha256`` is then of their prompt and inputs.
        pictures: hashes of the images and videos in a prompt, in its order.
        body_sha256, file_sha256: SHA-256 of the whole body and of the file in it.
        params_sha256: SHA-256 of the other fields, sorted by name.
        key_seen: the request had a bearer token.
        fault: kind of the fault that was applied, if any.
    """

    n: int
    path: str
    provider: str = ""
    model: str | None = None
    status: int = 0
    billed: bool = False
    seconds: str | None = None
    characters: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    images: int | None = None
    videos: int | None = None
    pictures: list[str] | None = None
    searches: int | None = None
    sessions: int | None = None
    usd: str | None = None
    price_source: str | None = None
    body_sha256: str | None = None
    file_sha256: str | None = None
    params_sha256: str | None = None
    key_seen: bool = False
    fault: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields by name; `dataclasses.asdict` copies deeply, which is slow at thousands of calls per second."""
        return {name: getattr(self, name) for name in _FIELD_NAMES}


_FIELD_NAMES = tuple(f.name for f in fields(PaidCall))


class Bill:
    """Totals and calls, optionally in a file of JSON lines that outlives the server.

    A line is written before the reply is sent, so every reply that a client has is in the file. Polls of jobs and
    downloads are only counted: ``polls``, ``downloads``, ``download_bytes``, and ``key_leaked``, the downloads by link
    that carried the key.

    Args:
        file: calls are appended to it; those already in it are part of the bill.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file: RecordFile | None = None
        self.in_flight = 0
        self.reset()
        if file is not None:
            self._open_file(file)

    def reset(self) -> None:
        """Clear all calls; the file keeps its lines."""
        self._last_number = 0
        self._calls: deque[PaidCall] = deque(maxlen=MAX_KEPT_CALLS)
        self._requests = 0
        self._usd = Decimal(0)
        self._by_model: dict[str, dict[str, Any]] = {}
        self._by_status: Counter[int] = Counter()
        self._sent_keys: Counter[bytes] = Counter()
        self._billed_keys: Counter[bytes] = Counter()
        self.max_in_flight = self.in_flight
        self.polls = self.downloads = self.download_bytes = self.key_leaked = 0

    def begin(self, path: str, provider: str = "") -> PaidCall:
        """Begin a call for a request that has arrived."""
        self._last_number += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        return PaidCall(self._last_number, path, provider)

    def settle(self, call: PaidCall, status: int) -> None:
        """Enter a call with its status, just before its reply is sent."""
        call.status = status
        self._add_call(call)
        if self._file is not None:
            self._file.append(call.to_dict())

    def end(self) -> None:
        """Count a request as over, answered or not."""
        self.in_flight -= 1

    def read_page(self, offset: int = 0, limit: int = 10_000) -> dict[str, Any]:
        """The totals, and at most ``limit`` calls from index ``offset`` on."""
        return {
            "requests": self._requests,
            "billed": sum(m["billed"] for m in self._by_model.values()),
            "usd": f"{self._usd.normalize():f}",
            "unpriced": sum(m["unpriced"] for m in self._by_model.values()),
            "by_model": {
                name: {**m, "seconds": str(m["seconds"]), "usd": f"{m['usd'].normalize():f}"}
                for name, m in self._by_model.items()
            },
            "by_status": {str(status): n for status, n in sorted(self._by_status.items())},
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "sent_again": self._sent_keys.total() - len(self._sent_keys),
            "billed_again": self._billed_keys.total() - len(self._billed_keys),
            "polls": self.polls,
            "downloads": self.downloads,
            "download_bytes": self.download_bytes,
            "key_leaked": self.key_leaked,
            "offset": offset,
            "calls": [call.to_dict() for call in islice(self._calls, offset, offset + limit)],
        }

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _add_call(self, call: PaidCall) -> None:
        self._calls.append(call)
        self._requests += 1
        self._by_status[call.status] += 1
        totals = self._by_model.setdefault(
            call.model or "",
            {
                "requests": 0,
                "billed": 0,
                "unpriced": 0,
                "seconds": Decimal(0),
                "input_tokens": 0,
                "output_tokens": 0,
                "usd": Decimal(0),
            },
        )
        totals["requests"] += 1
        if call.file_sha256 is not None:
            key = bytes.fromhex(call.file_sha256)[:16] + bytes.fromhex(call.params_sha256 or "")[:8]
            self._sent_keys[key] += 1
            if call.billed:
                self._billed_keys[key] += 1
        if call.billed:
            usd = Decimal(call.usd or 0)
            totals["billed"] += 1
            totals["unpriced"] += call.usd is None
            totals["seconds"] = _EXACT.add(totals["seconds"], Decimal(call.seconds or 0))
            totals["input_tokens"] += call.input_tokens or 0
            totals["output_tokens"] += call.output_tokens or 0
            totals["usd"] = _EXACT.add(totals["usd"], usd)
            self._usd = _EXACT.add(self._usd, usd)

    def _open_file(self, file: Path) -> None:
        self._file, lines = RecordFile.open(file, "the bill")
        for line in lines:
            try:
                entry = orjson.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and {"n", "path"} <= entry.keys() <= set(_FIELD_NAMES):
                self._add_call(PaidCall(**entry))
                self._last_number = max(self._last_number, entry["n"])
