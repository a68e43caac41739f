"""What must hold of an OUT, with the server's own bill as the judge."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.helpers.cli_runs import SENTINEL, rows
from tests.helpers.local_server import RunningServer


def ledger_equals_bill(out: Path, server: RunningServer) -> None:
    """The ledger is the server's bill to the last digit."""
    ledger = rows(out, "calls")
    assert all(row["cost_usd"] is not None for row in ledger)
    assert sum((row["cost_usd"] for row in ledger), Decimal(0)) == Decimal(server.bill()["usd"])


def within_the_promise(out: Path, bill: str) -> None:
    """Known cost <= the server's bill <= known cost and the most the unknowns can cost."""
    ledger = rows(out, "calls")
    known = sum((row["cost_usd"] for row in ledger if row["cost_usd"] is not None), Decimal(0))
    most = known + sum((row["cost_max_usd"] for row in ledger if row["cost_usd"] is None), Decimal(0))
    assert known <= Decimal(bill) <= most


def no_key_in(folder: Path, *printed: str) -> None:
    """The sentinel key is in no file and in nothing that was printed."""
    assert not any(SENTINEL in text for text in printed)
    for path in filter(Path.is_file, folder.rglob("*")):
        assert SENTINEL.encode() not in path.read_bytes(), path
