"""What the server was asked and what it charges: the judge of the ledger, and independent of it."""

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
"""Calls that are kept one by one; the totals count all."""

_EXACT = Context(prec=50)


@dataclass(slots=True)
class PaidCall:
    """One request to a paid endpoint.

    Attributes:
        n: its number, from 1, in order of arrival.
        status: what was answered; 0 while it is unanswered or when the connection was broken off first.
        billed: it is charged, whether or not the reply arrived.
        seconds, usd: what is charged, as decimal strings; None when nothing is.
        characters: charged for, of a text that was spoken; its hash then stands as ``file_sha256``.
        input_tokens, output_tokens: charged for, of a prompt and its answer.
        searches, sessions: charged for, of a reranker and of an interpreter.
        images, videos: charged for, of those that were made; ``file_sha256`` is then of their prompt and inputs.
        pictures: hashes of the pictures and videos in a prompt, in its order.
        body_sha256, file_sha256: of the whole body and of the file in it.
        params_sha256: of the form's other fields, in order of their names.
        key_seen: it carried a bearer token.
        fault: the kind of fault that was played, if any.
    """

    n: int
    path: str
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
    body_sha256: str | None = None
    file_sha256: str | None = None
    params_sha256: str | None = None
    key_seen: bool = False
    fault: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """By name; `dataclasses.asdict` copies deeply, which is slow at thousands a second."""
        return {name: getattr(self, name) for name in _FIELD_NAMES}


_FIELD_NAMES = tuple(f.name for f in fields(PaidCall))


class Bill:
    """Totals and calls, optionally in a file of JSON lines that outlives the server.

    A line is written before the reply goes out, so the file never knows less than a client does. Polls of jobs and
    downloads are counted only: ``polls``, ``downloads``, ``download_bytes``, and ``key_leaked``, downloads from where a
    link or its redirect led that carried the key.

    Args:
        file: appended to; what is in it counts from the start.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file: RecordFile | None = None
        self.in_flight = 0
        self.reset()
        if file is not None:
            self._open_file(file)

    def reset(self) -> None:
        """Forget all calls; the file keeps what it has."""
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

    def begin(self, path: str) -> PaidCall:
        """A request has arrived."""
        self._last_number += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        return PaidCall(self._last_number, path)

    def settle(self, call: PaidCall, status: int) -> None:
        """Enter a call, just before its reply goes out."""
        call.status = status
        self._add_call(call)
        if self._file is not None:
            self._file.append(call.to_dict())

    def end(self) -> None:
        """A request is over, answered or not."""
        self.in_flight -= 1

    def read_page(self, offset: int = 0, limit: int = 10_000) -> dict[str, Any]:
        """The totals, and ``limit`` calls from the ``offset``-th on."""
        return {
            "requests": self._requests,
            "billed": sum(m["billed"] for m in self._by_model.values()),
            "usd": f"{self._usd.normalize():f}",
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
