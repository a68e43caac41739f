"""Checks of an OUT against the server's own bill."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.helpers.cli_runs import SENTINEL, read_rows
from tests.helpers.local_server import RunningServer


def assert_ledger_equals_bill(out: Path, server: RunningServer) -> None:
    """The ledger is the server's bill to the last digit."""
    ledger = read_rows(out, "calls")
    assert all(row["cost_usd"] is not None for row in ledger)
    assert sum((row["cost_usd"] for row in ledger), Decimal(0)) == Decimal(server.bill()["usd"])


def assert_bill_within_ledger_bounds(out: Path, bill: str) -> None:
    """Known cost <= the server's bill <= known cost plus the maximum of unknown costs."""
    ledger = read_rows(out, "calls")
    known = sum((row["cost_usd"] for row in ledger if row["cost_usd"] is not None), Decimal(0))
    max_cost = known + sum((row["cost_max_usd"] for row in ledger if row["cost_usd"] is None), Decimal(0))
    assert known <= Decimal(bill) <= max_cost


def assert_no_key_in(folder: Path, *printed: str) -> None:
    """The sentinel key is in no file and in nothing that was printed."""
    assert not any(SENTINEL in text for text in printed)
    for path in filter(Path.is_file, folder.rglob("*")):
        assert SENTINEL.encode() not in path.read_bytes(), path
