"""A provider that stops answering in mid-run: the run stops, nothing is failed, and the next run goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.helpers.chaos.jobs import ChaosJob
from tests.helpers.chaos.money import Ledger, find_item_faults, find_money_faults
from tests.helpers.chaos.plan import Phase, Plan
from tests.helpers.chaos.process import running_chaos_server
from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.helpers.video_runs import SMALL, check_video_files, generate_videos, write_prompts

pytestmark = pytest.mark.long

GONE_SECONDS = 1.0


@pytest.mark.parametrize(
    "kind", ["refused", *(pytest.param(kind, marks=pytest.mark.proof) for kind in ("503", "reset"))]
)
def test_a_provider_that_is_gone_stops_the_run_and_the_next_one_goes_on(kind: str, tmp_path: Path) -> None:
    with running_chaos_server(Plan(phases=(Phase(GONE_SECONDS, 10**9, kind),)), tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, 600, in_flight=32)
        assert job.run("--wait-for-provider", "2s", timeout=120) == 4
        stopped = Ledger.read(job.out)
        assert stopped.failures == []
        assert 0 < len(stopped.results) < 600

        status = json.loads(mediamill("status", job.out, "--json", home=tmp_path / "home").stdout)
        assert (status["last_state"], status["stopped_by"]) == ("stopped", "provider_gone")
        assert "compatible does not answer since" in status["message"]
        assert "--wait-for-provider" in status["hint"]
        assert status["pending"] == 600 - len(stopped.results)
        events = [record.get("event") for record in job.read_log()]
        assert events.count("provider_out") == 1
        assert len(server.read_requests()) - len(stopped.results) <= 250

        server.follow(Plan())
        assert job.run(timeout=120) == 0
        ledger = Ledger.read(job.out)
        assert find_item_faults(ledger, job.item_ids) == []
        assert find_money_faults(ledger, server.read_requests()) == []


def test_a_run_goes_on_when_the_provider_is_back(tmp_path: Path) -> None:
    phase = Phase(GONE_SECONDS, GONE_SECONDS + 6, "503")
    with running_chaos_server(Plan(phases=(phase,)), tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, 600, in_flight=32)
        assert job.run("--retries", "1", timeout=120) == 0
        ledger, requests = Ledger.read(job.out), server.read_requests()
        assert find_item_faults(ledger, job.item_ids) == []
        assert find_money_faults(ledger, requests) == []
        assert len(requests) <= 1.5 * 600
        events = [record.get("event") for record in job.read_log()]
        assert (events.count("provider_out"), events.count("provider_back")) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "kind"), [({"kind": "short_body"}, "short_body"), ({"kind": "status", "status": 500}, "server_error")]
)
def test_items_that_fail_each_time_are_no_outage_when_nothing_else_is_left(
    fault: dict[str, object], kind: str, tmp_path: Path, local_server: RunningServer
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    make_wavs(source, 40)
    paths = sorted(source.iterdir())[::3]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    local_server.faults(*({"match": {"file_sha256": each}, "fault": fault} for each in hashes))
    done = transcribe(source, out, local_server.origin, timeout=150)
    assert done.returncode == 3, done.stderr
    assert {row["error_kind"] for row in read_rows(out, "failures")} == {kind}
    assert (len(read_rows(out)), len(read_rows(out, "failures"))) == (26, 14)
    assert len(read_rows(out, "calls")) == 26 + 14 * 6


def test_a_login_page_in_place_of_the_provider_stops_the_run_and_fails_nothing(
    tmp_path: Path, local_server: RunningServer
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    make_wavs(source, 80)
    local_server.faults({"match": {"after": 30}, "fault": {"kind": "redirect", "location": "/login"}})
    stopped = transcribe(source, out, local_server.origin, timeout=150)
    assert stopped.returncode == 4, stopped.stderr
    assert "20 requests in a row failed" in stopped.stdout
    assert "--max-failures-in-a-row" in stopped.stdout
    assert (len(read_rows(out)), len(read_rows(out, "failures"))) == (30, 0)
    local_server.faults()
    assert transcribe(source, out, local_server.origin, timeout=150).returncode == 0
    assert len(read_rows(out)) == 80


@pytest.mark.parametrize(
    ("kind", "items"),
    [
        ("refused", 1),
        ("reset", 2),
        *(pytest.param(*case, marks=pytest.mark.proof) for case in (("reset", 1), ("hang", 1))),
    ],
)
def test_the_only_items_are_left_where_nothing_at_the_address_answers(kind: str, items: int, tmp_path: Path) -> None:
    with running_chaos_server(Plan(), tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, items, options=("--retries", "2", "--timeout", "2s"))
        server.follow(Plan(phases=(Phase(0.0, 10**9, kind),)))
        assert job.run("--wait-for-provider", "6s", timeout=60) == 4
        assert Ledger.read(job.out).failures == []
        server.follow(Plan())
        assert job.run(timeout=60) == 0
        ledger = Ledger.read(job.out)
        assert find_item_faults(ledger, job.item_ids) == []
        assert find_money_faults(ledger, server.read_requests()) == []


def test_the_only_item_fails_by_its_retries_where_the_address_answers_others(tmp_path: Path) -> None:
    with running_chaos_server(Plan(shares={"reset": 1.0}), tmp_path) as server:
        job = ChaosJob(tmp_path, server.origin, 1, options=("--retries", "2"))
        assert job.run("--wait-for-provider", "6s", timeout=60) == 3
        assert [row["error_kind"] for row in Ledger.read(job.out).failures] == ["reset"]
        assert len(server.read_requests()) == 3


def test_jobs_that_cannot_be_looked_up_wait_for_the_provider_and_are_not_bought_again(
    tmp_path: Path, local_server: RunningServer
) -> None:
    source = write_prompts(
        tmp_path / "prompts.csv", [{"prompt": f"a red square {n}", "size": SMALL} for n in range(12)]
    )
    local_server.faults({"match": {"path": "*/videos/*"}, "fault": {"kind": "status", "status": 503}})
    stopped = generate_videos(source, tmp_path / "out", local_server, "--wait-for-provider", "1s")
    assert stopped.returncode == 4, stopped.stdout + stopped.stderr
    assert "together does not answer since" in stopped.stdout
    assert read_rows(tmp_path / "out", "failures") == []
    local_server.faults()
    done = generate_videos(source, tmp_path / "out", local_server)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(check_video_files(tmp_path / "out")) == 12
    assert local_server.bill()["requests"] == len(read_rows(tmp_path / "out", "calls")) == 12
