"""The judge of items and money: what an OUT says, held against what the server logged."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.helpers.chaos.process import Request
from tests.helpers.cli_runs import read_rows

UNSEEN_KINDS = frozenset({"refused", "connect_timeout"})
"""Error kinds of attempts that never reached the server."""
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Ledger:
    """An OUT's rows, with what the judge reads of them."""

    results: Rows
    failures: Rows
    calls: Rows

    @classmethod
    def read(cls, out: Path) -> Ledger:
        """The rows of all parts of OUT."""
        return cls(read_rows(out), read_rows(out, "failures"), read_rows(out, "calls"))

    @property
    def known_usd(self) -> Decimal:
        """What is known to be paid."""
        return sum((row["cost_usd"] for row in self.calls if row["cost_usd"] is not None), Decimal(0))

    @property
    def unknown_usd(self) -> Decimal:
        """What the calls of unknown cost can cost at most."""
        return sum((row["cost_max_usd"] for row in self.calls if row["cost_usd"] is None), Decimal(0))


def find_item_faults(ledger: Ledger, item_ids: Iterable[str]) -> list[str]:
    """What is wrong with the items: each must have ended once, as a result or as a failure."""
    expected, ended = Counter(item_ids), Counter(row["item_id"] for row in (*ledger.results, *ledger.failures))
    faults = _list_some("items without an end", expected - ended)
    return faults + _list_some("items that ended twice, or that nobody wanted", ended - expected)


def find_money_faults(ledger: Ledger, requests: Sequence[Request]) -> list[str]:
    """What is wrong with the ledger, item by item: nothing is sent unrecorded, paid unknown or bought twice."""
    calls: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in ledger.calls:
        for item_id in row["item_ids"]:
            calls[item_id].append(row)
    seen: dict[str, list[Request]] = defaultdict(list)
    for request in requests:
        seen[get_item_id(request)].append(request)
    faults: dict[str, list[str]] = defaultdict(list)
    for item_id in {*calls, *seen}:
        for fault in _judge_item(calls[item_id], seen[item_id]):
            faults[fault].append(item_id)
    found = [text for fault, ids in faults.items() for text in _list_some(fault, ids)]
    bill = sum((request.billed_usd for request in requests), Decimal(0))
    if not ledger.known_usd <= bill <= ledger.known_usd + ledger.unknown_usd:
        found.append(f"the bill is {bill}, the ledger {ledger.known_usd} and up to {ledger.unknown_usd} more")
    return found


def get_item_id(request: Request) -> str:
    """The item a request was for: the last word of its prompt."""
    return request.prompt.rsplit(" ", 1)[-1]


def _judge_item(calls: Rows, requests: Sequence[Request]) -> Iterable[str]:
    unknown = [row for row in calls if row["cost_usd"] is None]
    if len(requests) > sum(row["error_kind"] not in UNSEEN_KINDS for row in calls):
        yield "more requests than the ledger has"
    if sum(row["outcome"] == "replied" for row in calls) > 1:
        yield "an answer was recorded twice"
    if sum(request.is_answered for request in requests) > 1 + len(unknown):
        yield "bought again though the answer was there"
    known = sum((row["cost_usd"] for row in calls if row["cost_usd"] is not None), Decimal(0))
    bill = sum((request.billed_usd for request in requests), Decimal(0))
    if bill < known:
        yield "the ledger has more than the bill"
    if bill > known + sum((row["cost_max_usd"] for row in unknown), Decimal(0)):
        yield "the bill has more than the ledger"


def _list_some(fault: str, item_ids: Iterable[str]) -> list[str]:
    ids = sorted(item_ids)
    return [f"{fault}: {len(ids)}, e.g. {', '.join(ids[:3])}"] if ids else []
