"""A run on several processes: the same results and bill, whatever becomes of its workers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from mediamill.tasks.job_loading import make_job
from mediamill.tasks.run.run import Run
from tests.helpers.cli_runs import bare_environment, read_rows
from tests.helpers.local_server import RunningServer

pytestmark = pytest.mark.long
MODEL = "openai/gpt-oss-20b"
ITEMS = 240
WORKER_MODULE = "mediamill.tasks.workers.process"


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "latency": "50ms", "price": [f"{MODEL}=0.05/0.20"]}


def command(folder: Path, server: RunningServer, *options: str) -> list[str]:
    """A command that completes ITEMS prompts in six shards with two workers."""
    manifest = folder / "prompts.jsonl"
    if not manifest.exists():
        manifest.write_text("".join(json.dumps({"text": f"prompt {n}"}) + "\n" for n in range(ITEMS)))
    job = ["complete", str(manifest), "--prompt", "{{ text }}", "--provider", "together", "--model", MODEL]
    target = ["--base-url", server.origin, "--out", str(folder / "out"), "--no-prefect", "--json", "--yes"]
    pace = ["--processes", "2", "--shard-size", "40", "--concurrency", "16", *options]
    return [sys.executable, "-m", "mediamill.flows.cli", *job, *target, *pace]


def start(folder: Path, server: RunningServer, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(folder, server, *options),
        env=bare_environment(folder / "home"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """Its exit code, summary and messages."""
    output, messages = process.communicate(timeout=120)
    return process.returncode, json.loads(output or "{}"), messages


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def list_workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children(recursive=True) if WORKER_MODULE in child.cmdline()]


def test_two_workers_do_what_one_process_does(local_server: RunningServer, tmp_path: Path) -> None:
    process = start(tmp_path, local_server)
    wait_until(lambda: local_server.bill()["requests"] > 0)
    assert len(list_workers(process)) == 2
    code, summary, _ = finish(process)
    assert (code, summary["done"], summary["failed"], summary["calls"]) == (0, ITEMS, 0, ITEMS)
    bill = local_server.bill()
    assert bill["requests"] == ITEMS
    assert Decimal(summary["cost_usd"]) == Decimal(bill["usd"]) > 0
    rows = read_rows(tmp_path / "out")
    assert [row["in_text"] for row in rows] == [f"prompt {n}" for n in range(ITEMS)]
    assert len(list((tmp_path / "out" / "results").iterdir())) == ITEMS // 40
    code, summary, _ = finish(start(tmp_path, local_server))
    assert (code, summary["done"], local_server.bill()["requests"]) == (0, 0, ITEMS)


def test_a_worker_that_is_killed_takes_nobody_with_it(local_server: RunningServer, tmp_path: Path) -> None:
    process = start(tmp_path, local_server)
    wait_until(lambda: local_server.bill()["requests"] > 20)
    list_workers(process)[0].kill()
    code, summary, messages = finish(process)
    assert (code, summary["done"], summary["failed"], summary["left"]) == (0, ITEMS, 0, 0)
    assert "ended by signal 9" in messages
    bill = local_server.bill()
    assert ITEMS <= bill["requests"] <= ITEMS + 16
    known, unknown = Decimal(summary["cost_usd"]), Decimal(summary["unknown_max_usd"])
    assert known <= Decimal(bill["usd"]) <= known + unknown
    assert sorted(row["in_text"] for row in read_rows(tmp_path / "out")) == sorted(f"prompt {n}" for n in range(ITEMS))


def test_what_is_in_flight_when_the_run_is_killed_is_kept(local_server: RunningServer, tmp_path: Path) -> None:
    """Its workers store the replies; the next run waits for them and asks for nothing twice."""
    process = start(tmp_path, local_server)
    wait_until(lambda: local_server.bill()["requests"] > 20)
    workers = list_workers(process)
    process.kill()
    process.communicate()
    code, summary, _ = finish(start(tmp_path, local_server))
    assert (code, summary["out_done"], summary["out_failed"]) == (0, ITEMS, 0)
    assert local_server.bill()["requests"] == ITEMS
    assert Decimal(summary["out_cost_usd"]) == Decimal(local_server.bill()["usd"])
    assert not psutil.wait_procs(workers, timeout=10)[1]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drains_every_worker(number: int, code: int, local_server: RunningServer, tmp_path: Path) -> None:
    process = start(tmp_path, local_server)
    wait_until(lambda: local_server.bill()["requests"] > 20)
    process.send_signal(number)
    ended, summary, _ = finish(process)
    assert (ended, summary["state"], summary["failed"]) == (code, "cancelled", 0)
    assert summary["done"] + summary["left"] == ITEMS
    assert summary["left"]
    code, summary, _ = finish(start(tmp_path, local_server))
    assert (code, summary["out_done"]) == (0, ITEMS)
    assert local_server.bill()["requests"] == ITEMS


def test_a_budget_holds_over_all_workers_and_is_used_up(local_server: RunningServer, tmp_path: Path) -> None:
    code, summary, _ = finish(start(tmp_path, local_server, "--budget", "0.0003", "--set", "max_tokens=20"))
    spent = Decimal(local_server.bill()["usd"])
    assert (code, summary["stopped_by"], summary["failed"]) == (4, "budget", 0)
    assert spent == Decimal(summary["out_cost_usd"])
    assert Decimal("0.00029") < spent <= Decimal("0.0003")
    code, summary, _ = finish(start(tmp_path, local_server, "--budget", "1", "--set", "max_tokens=20"))
    assert (code, summary["out_done"], local_server.bill()["requests"]) == (0, ITEMS, ITEMS)
    assert Decimal(summary["out_cost_usd"]) == Decimal(local_server.bill()["usd"])


def test_a_refused_account_stops_every_worker(local_server: RunningServer, tmp_path: Path) -> None:
    local_server.faults({"match": {}, "fault": {"kind": "status", "status": 402}})
    code, summary, _ = finish(start(tmp_path, local_server))
    assert (code, summary["stopped_by"], summary["failed"], summary["left"]) == (4, "credits", 0, ITEMS)
    assert len(local_server.bill()["calls"]) <= 16


def test_a_worker_that_stands_still_is_replaced(
    local_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediamill.tasks.workers.pool._MAX_SILENT_SECONDS", 10.0)
    monkeypatch.setenv("TOGETHER_API_KEY", "key")
    (tmp_path / "prompts.jsonl").write_text("".join(f'{{"text": "prompt {n}"}}\n' for n in range(ITEMS)))
    target = {"provider": "together", "model": MODEL, "base_url": local_server.origin, "out": str(tmp_path / "out")}
    pace: dict[str, Any] = {"processes": 2, "shard_size": 40, "concurrency": 16, "confirmed": True}
    job = make_job(
        capability="complete", source=str(tmp_path / "prompts.jsonl"), params={"prompt": "{{ text }}"}, **target, **pace
    )
    with ThreadPoolExecutor(1) as pool:
        summary = pool.submit(Run(job).execute)
        wait_until(lambda: local_server.bill()["requests"] > 20)
        workers = [child for child in psutil.Process().children() if WORKER_MODULE in child.cmdline()]
        workers[0].suspend()
        ended = summary.result(timeout=120)
    assert (ended.done, ended.failed, ended.left) == (ITEMS, 0, 0)
    assert not workers[0].is_running()
