"""A SIGKILL loses nothing and pays nothing twice, by the server's own count."""

from __future__ import annotations

import random
import signal
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.fault_injection import FAILPOINTS
from tests.helpers.cli_runs import make_wavs, read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.tiers import mark_tiers

ITEMS, IN_FLIGHT = 300, 16
PRICE = ("openai/whisper-large-v3", "0.0015")
_PER_ITEM = ("call.", "shard.outcome")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    make_wavs(folder, ITEMS)
    return folder


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"latency": "20ms", "dialect": "together", "price": [PRICE]}


def choose_random_faults(count: int) -> list[str]:
    """Random failpoints, and how often they are passed before the kill; the same in every run."""
    rng = random.Random(20261120)
    points = [p for p in FAILPOINTS if p.startswith(_PER_ITEM) and "accepted" not in p]
    return [f"{rng.choice(points)}:{rng.randint(1, ITEMS - 1)}:kill" for _ in range(count)]


def list_every_failpoint() -> list[str]:
    """Each failpoint that transcription passes, at its first pass."""
    not_passed = ("call.accepted.", "collect.")  # jobs that are waited for
    return [f"{point}:1:kill" for point in FAILPOINTS if not point.startswith(not_passed)]


QUICK_FAILPOINTS = ("call.replied.after",)


def list_faults() -> list[Any]:
    """Every failpoint, nearly all long, and random faults: three are long, the others are proof."""
    first_passes, instants = list_every_failpoint(), choose_random_faults(20)
    return mark_tiers(
        [*first_passes, *instants],
        quick=[f"{point}:1:kill" for point in QUICK_FAILPOINTS],
        long=[*first_passes, *instants[:3]],
    )


@pytest.mark.parametrize("fault", list_faults())
def test_sigkill_loses_nothing_and_pays_nothing_twice(
    fault: str, recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    killed = transcribe(recordings, out, local_server.origin, "--shard-size", "100", env={"MEDIAMILL_FAULTS": fault})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = transcribe(recordings, out, local_server.origin, "--shard-size", "100")
    assert resumed.returncode == 0, resumed.stderr

    results = read_rows(out)
    assert sorted(str(r["item_id"]) for r in results) == [f"{n:04d}.wav" for n in range(ITEMS)]
    assert not read_rows(out, "failures")

    bill = local_server.bill()
    sent = Counter(call["file_sha256"] for call in bill["calls"] if call["billed"])
    assert len(sent) == ITEMS
    assert sum(n - 1 for n in sent.values()) <= IN_FLIGHT

    ledger = read_rows(out, "calls")
    known = sum((r["cost_usd"] for r in ledger if r["cost_usd"] is not None), Decimal(0))
    unknown = [r for r in ledger if r["cost_usd"] is None]
    max_cost = known + sum((r["cost_max_usd"] for r in unknown), Decimal(0))
    assert known <= Decimal(bill["usd"]) <= max_cost
    if not unknown:
        assert known == Decimal(bill["usd"])

    before = bill["requests"]
    again = transcribe(recordings, out, local_server.origin)
    assert again.returncode == 0, again.stderr
    assert local_server.bill()["requests"] == before
