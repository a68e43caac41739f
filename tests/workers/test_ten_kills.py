"""The proof that workers may die: 5,000 items, 5 % faults, a limit of requests a minute, and ten SIGKILLs in one run.

    uv run pytest -m proof -n 0 tests/workers

``MEDIAMILL_PROOF_FIGURES`` names a file to which the figures are added, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import bare_environment, read_rows
from tests.helpers.local_server import RunningServer
from tests.workers.test_processes import MODEL, list_workers

pytestmark = pytest.mark.proof
ITEMS, KILLS, IN_FLIGHT, RPM = 5000, 10, 64, 3000
WINDOW_SECONDS = 10


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "latency": "200ms", "price": [f"{MODEL}=0.05/0.20"], "fail": 0.05}


@pytest.mark.parametrize("seed", [1])
def test_ten_kills_lose_nothing_and_double_nothing(seed: int, own_local_server: RunningServer, tmp_path: Path) -> None:
    server, chance = own_local_server, random.Random(seed)
    manifest = tmp_path / "prompts.jsonl"
    manifest.write_text("".join(json.dumps({"text": f"prompt {n}"}) + "\n" for n in range(ITEMS)))
    job = ["complete", str(manifest), "--prompt", "{{ text }}", "--provider", "together", "--model", MODEL]
    target = ["--base-url", server.origin, "--out", str(tmp_path / "out"), "--no-prefect", "--json", "--yes"]
    pace = ["--processes", "2", "--shard-size", "200", "--concurrency", str(IN_FLIGHT), "--rpm", str(RPM)]
    process = subprocess.Popen(
        [sys.executable, "-m", "mediamill.flows.cli", *job, *target, *pace],
        env=bare_environment(tmp_path / "home"),
        stdout=subprocess.PIPE,
        stderr=(tmp_path / "messages").open("w"),
        text=True,
    )
    instants = sorted(chance.sample(range(100, ITEMS - 500), KILLS))
    counts: list[tuple[float, int]] = []
    while process.poll() is None:
        bill = read_totals(server)
        counts.append((time.monotonic(), bill["requests"]))
        if instants and bill["billed"] >= instants[0] and (workers := list_workers(process)):
            chance.choice(workers).kill()
            instants.pop(0)
        time.sleep(0.1)
    summary, bill = json.loads(process.communicate()[0]), read_totals(server)
    assert not instants, (summary, (tmp_path / "messages").read_text()[-3000:])
    texts = [row["in_text"] for row in read_rows(tmp_path / "out")]
    most = max(
        max(number for end, number in counts if end < start + WINDOW_SECONDS) - before for start, before in counts
    )
    busy = [at for (at, number), (_, later) in pairwise(counts) if later > number]
    known, unknown = Decimal(summary["cost_usd"]), Decimal(summary["unknown_max_usd"])
    figures = {
        "items": ITEMS,
        "kills": KILLS,
        "done": summary["done"],
        "billed_twice": bill["billed"] - ITEMS,
        "bill": bill["usd"],
        "known": str(known),
        "unknown_max": str(unknown),
        "most_in_10_s": most,
        "allowed_in_10_s": RPM / 60 * WINDOW_SECONDS,
        "seconds": summary["seconds"],
        "requests": bill["requests"],
        "used": round(bill["requests"] / (RPM / 60 * (busy[-1] - busy[0])), 3),
        "longest_gap": round(max(after - before for before, after in pairwise(busy)), 1),
    }
    if path := os.environ.get("MEDIAMILL_PROOF_FIGURES"):
        with Path(path).open("a") as file:
            file.write(json.dumps(figures) + "\n")
    assert process.returncode == 0
    assert sorted(texts) == sorted(f"prompt {n}" for n in range(ITEMS))
    assert (summary["done"], summary["failed"], summary["left"]) == (ITEMS, 0, 0)
    assert 0 <= bill["billed"] - ITEMS <= KILLS * IN_FLIGHT // 2
    assert known <= Decimal(bill["usd"]) <= known + unknown
    assert most <= 1.01 * figures["allowed_in_10_s"]


def read_totals(server: RunningServer) -> dict[str, Any]:
    """The bill without its calls."""
    bill: dict[str, Any] = server.bill(first_call=10**9)
    return bill
