"""What is promised when something fails, checked against the server's own count."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.helpers.cli_runs import SENTINEL, bare_environment, make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.paths import ROOT
from tests.helpers.run_checks import assert_bill_within_ledger_bounds, assert_ledger_equals_bill
from tests.helpers.tiers import mark_rest_long, mark_tiers

PRICE = "openai/whisper-large-v3=0.0015"


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": [PRICE]}


@pytest.fixture(scope="module")
def thirty_recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("thirty_recordings")
    make_wavs(folder, 30)
    return folder


def test_equal_files_in_two_shards_are_sent_once(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 40, twins=20)
    done = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin, "--shard-size", "10")
    assert done.returncode == 0, done.stderr
    assert local_server.bill()["requests"] == 20
    results = read_rows(tmp_path / "out")
    assert len(results) == 40
    assert sum(bool(row["cached"]) for row in results) == 20
    assert sum((row["cost_usd"] for row in results), Decimal(0)) == Decimal(local_server.bill()["usd"])
    assert_ledger_equals_bill(tmp_path / "out", local_server)


@pytest.mark.long
def test_only_new_and_changed_files_are_sent_again(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    make_wavs(source, 10)
    assert transcribe(source, out, local_server.origin).returncode == 0
    make_wavs(tmp_path / "more", 13)
    for name in ("0010.wav", "0011.wav", "0012.wav"):
        (tmp_path / "more" / name).rename(source / name)
    (source / "0003.wav").write_bytes((source / "0003.wav").read_bytes()[:-2] + b"\x01\x00")
    assert transcribe(source, out, local_server.origin).returncode == 0
    assert local_server.bill()["requests"] == 14
    assert sorted(str(row["item_id"]) for row in read_rows(out)) == [f"{n:04d}.wav" for n in range(13)]


def test_the_api_key_is_never_printed_or_stored(
    thirty_recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    local_server.faults(
        {"match": {"every": 5}, "fault": {"kind": "status", "status": 500, "body": f"bad {SENTINEL}"}},
        {"match": {"every": 7}, "fault": {"kind": "reset"}},
    )
    done = transcribe(thirty_recordings, out, local_server.origin, "--debug", "--retries", "1")
    transcribe(thirty_recordings, out, local_server.origin + "/nowhere", "--debug", "--replace")
    printed = done.stdout + done.stderr
    assert SENTINEL not in printed
    for path in filter(Path.is_file, out.rglob("*")):
        assert SENTINEL.encode() not in path.read_bytes(), path


@pytest.mark.long
def test_a_second_run_on_the_same_out_is_refused(thirty_recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with running_server(engine="echo", dialect="together", latency="1s") as slow:
        command = [
            sys.executable,
            "-m",
            "mediamill.flows.cli",
            "transcribe",
            str(thirty_recordings),
            "--provider",
            "together",
        ]
        command += ["--base-url", slow.origin, "--out", str(out), "--yes", "--concurrency", "4"]
        first = subprocess.Popen(command, env=bare_environment(tmp_path / "home"), stderr=subprocess.PIPE, text=True)
        try:
            while not (out / ".journal" / "lock").exists() or not (out / ".journal" / "lock").stat().st_size:
                assert first.poll() is None
            second = transcribe(thirty_recordings, out, slow.origin)
            assert second.returncode == 5
            assert f"pid {first.pid}" in second.stderr
            assert "Traceback" not in second.stderr
        finally:
            first.send_signal(signal.SIGINT)
            first.communicate(timeout=60)
    assert first.returncode == 130


@pytest.mark.long
def test_sigterm_drains_the_run_and_a_rerun_completes_it(thirty_recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with running_server(engine="echo", dialect="together", latency="300ms", price=[PRICE]) as slow:
        command = [
            sys.executable,
            "-m",
            "mediamill.flows.cli",
            "transcribe",
            str(thirty_recordings),
            "--provider",
            "together",
        ]
        command += ["--base-url", slow.origin, "--out", str(out), "--yes", "--concurrency", "4"]
        run = subprocess.Popen(command, env=bare_environment(tmp_path / "home"), stderr=subprocess.PIPE, text=True)
        while slow.bill()["requests"] < 5:
            assert run.poll() is None
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=30)
        assert run.returncode == 143
        finished = len(read_rows(out))
        assert 0 < finished < 30
        again = transcribe(thirty_recordings, out, slow.origin)
        assert again.returncode == 0, again.stderr
        assert len(read_rows(out)) == 30
        assert slow.bill()["requests"] == 30
        assert_ledger_equals_bill(out, slow)


@pytest.mark.parametrize(
    "point",
    mark_rest_long(
        ["call.parse:3:raise", "shard.outcome.before:3:raise", "part.write.before:1:enospc"], ["call.parse:3:raise"]
    ),
)
def test_a_crash_after_a_paid_reply_does_not_buy_it_again(
    point: str, thirty_recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    broken = transcribe(thirty_recordings, out, local_server.origin, env={"MEDIAMILL_FAULTS": point})
    assert broken.returncode != 0
    assert "Traceback" not in broken.stderr
    paid = local_server.bill()["requests"]
    again = transcribe(thirty_recordings, out, local_server.origin)
    assert again.returncode == 0, again.stderr
    assert local_server.bill()["requests"] == max(paid, 30) == 30
    assert len(read_rows(out)) == 30
    assert_ledger_equals_bill(out, local_server)


DISK_MESSAGES = {
    ("journal.commit.before", "enospc"): "the disk is full",
    ("journal.commit.before", "erofs"): "the disk is mounted read-only",
    ("part.write.before", "enospc"): "the disk is full",
    ("part.write.before", "erofs"): "the disk is mounted read-only",
}


DISK_FAULTS = [(nth, error) for error in ("enospc", "erofs") for nth in range(1, 9)]


@pytest.mark.parametrize(
    ("nth", "error"),
    mark_tiers(DISK_FAULTS, quick=[(1, "enospc")], long=[(2, "enospc"), (1, "erofs")]),
)
def test_writes_that_fail_end_the_run_and_a_rerun_completes_it(
    nth: int, error: str, thirty_recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    point = ("journal.commit.before", "part.write.before")[nth % 2]
    fault = f"{point}:{(nth + 1) // 2 if point.startswith('part') else nth}:{error}"
    broken = transcribe(
        thirty_recordings, out, local_server.origin, "--shard-size", "10", env={"MEDIAMILL_FAULTS": fault}
    )
    assert broken.returncode == 1, broken.stderr
    assert "Traceback" not in broken.stderr
    failed_file = "journal.sqlite" if point.startswith("journal") else ".parquet"
    assert f"{failed_file}: {DISK_MESSAGES[point, error]}" in broken.stderr, "the fault has not happened"
    again = transcribe(thirty_recordings, out, local_server.origin, "--shard-size", "10")
    assert again.returncode == 0, again.stderr
    assert len(read_rows(out)) == 30


FULL_DISK = """
mkdir -p "$OUT" && mount -t tmpfs -o size=500k tmpfs "$OUT" || exit 99
"$@"; echo "exit code $?"; df --output=pcent "$OUT" | tail -1
mount -o remount,size=64m "$OUT"; "$@"; echo "exit code $?"
cp -r "$OUT" "$KEPT"
"""
READ_ONLY_DISK = """
mkdir -p "$OUT" && mount -t tmpfs -o size=64m tmpfs "$OUT" || exit 99
"$@" --limit 10; mount -o remount,ro "$OUT"
"$@"; echo "exit code $?"; touch "$OUT/x" 2>&1
mount -o remount,rw "$OUT"; "$@"; echo "exit code $?"
cp -r "$OUT" "$KEPT"
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "proof", "message"),
    [
        (FULL_DISK, "100%", "journal.sqlite: the disk is full"),
        pytest.param(READ_ONLY_DISK, "Read-only file system", "the disk is mounted read-only", marks=pytest.mark.proof),
    ],
    ids=["full", "read-only"],
)
def test_a_real_full_or_read_only_file_system_fails_the_run_and_a_rerun_completes_it(
    script: str, proof: str, message: str, thirty_recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    """OUT is on a file system of this test's own processes; the script shows that nothing more can be written to it."""
    out, kept = tmp_path / "out", tmp_path / "kept"
    where = ("--provider", "together", "--base-url", local_server.origin, "--out", str(out))
    command = [sys.executable, "-m", "mediamill.flows.cli", "transcribe", str(thirty_recordings), *where, "--yes"]
    namespace = ["unshare", "--map-root-user", "--mount", "bash", "-c", script, "bash"]
    try:
        ran = subprocess.run(
            [*namespace, *command, "--shard-size", "10"],
            env=bare_environment(tmp_path / "home", OUT=str(out), KEPT=str(kept)),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("this machine has no unshare, so no file system of a test's own")
    if ran.returncode == 99 or ran.stderr.startswith("unshare:"):
        pytest.skip(f"this machine lets no test mount a file system: {ran.stderr.strip()[-200:]}")
    assert proof in ran.stdout, "the disk was not full or read-only"
    assert [line for line in ran.stdout.splitlines() if line.startswith("exit code")] == ["exit code 1", "exit code 0"]
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert len(read_rows(kept)) == 30
    assert_bill_within_ledger_bounds(kept, local_server.bill()["usd"])


@pytest.mark.long
def test_a_torn_part_is_written_again_for_free(
    thirty_recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert transcribe(thirty_recordings, out, local_server.origin).returncode == 0
    part = next((out / "results").glob("part-*.parquet"))
    whole = part.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        part.write_bytes(whole[:size])
        assert transcribe(thirty_recordings, out, local_server.origin).returncode == 0
        assert len(read_rows(out)) == 30
    part.unlink()
    assert transcribe(thirty_recordings, out, local_server.origin).returncode == 0
    assert len(read_rows(out)) == 30
    assert local_server.bill()["requests"] == 30


@pytest.mark.long
def test_permanent_errors_cost_one_attempt(
    thirty_recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    statuses = {1: 400, 2: 413, 3: 415, 4: 422}
    local_server.faults(*({"match": {"nth": n}, "fault": {"kind": "status", "status": s}} for n, s in statuses.items()))
    done = transcribe(thirty_recordings, out, local_server.origin, "--concurrency", "1")
    assert done.returncode == 3, done.stderr
    assert local_server.bill()["requests"] == 30
    failures = read_rows(out, "failures")
    assert Counter(row["last_http_status"] for row in failures) == Counter(statuses.values())
    assert all(row["attempts"] == 1 for row in failures)
    assert transcribe(thirty_recordings, out, local_server.origin).returncode == 3
    assert local_server.bill()["requests"] == 30
    retried = mediamill("retry", out, "--yes", home=tmp_path / "home")
    assert retried.returncode == 0, retried.stderr
    assert local_server.bill()["requests"] == 34
    assert not read_rows(out, "failures")
    assert_ledger_equals_bill(out, local_server)


@pytest.mark.long
@pytest.mark.parametrize("status", mark_rest_long([401, 402], [402]))
def test_an_account_error_stops_the_run_after_the_requests_in_flight(
    status: int, thirty_recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    local_server.faults({"match": {"every": 1}, "fault": {"kind": "status", "status": status}})
    stopped = transcribe(thirty_recordings, out, local_server.origin, "--concurrency", "4")
    assert stopped.returncode == 4, stopped.stderr
    assert local_server.bill()["requests"] <= 4
    local_server.faults()
    assert transcribe(thirty_recordings, out, local_server.origin).returncode == 0
    assert len(read_rows(out)) == 30


def test_a_budget_is_never_exceeded_and_a_higher_one_continues(
    thirty_recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    stopped = transcribe(thirty_recordings, out, local_server.origin, "--budget", "0.00005")
    assert stopped.returncode == 4, stopped.stderr
    assert "budget" in stopped.stdout
    assert 0 < Decimal(local_server.bill()["usd"]) <= Decimal("0.00005")
    assert transcribe(thirty_recordings, out, local_server.origin, "--budget", "1").returncode == 0
    assert local_server.bill()["requests"] == 30
    assert_ledger_equals_bill(out, local_server)


FAULTS = {
    "status-500": {"kind": "status", "status": 500},
    "status-503-lying": {"kind": "status", "status": 503, "headers": {"Retry-After": "1e309"}},
    "status-429-negative": {"kind": "status", "status": 429, "headers": {"Retry-After": "-5"}},
    "status-429-nan": {"kind": "status", "status": 429, "headers": {"Retry-After": "NaN"}},
    "status-529": {"kind": "status", "status": 529},
    "html": {"kind": "status", "status": 502, "body": "<html><title>Bad Gateway</title></html>"},
    "reset": {"kind": "reset"},
    "reset-mid-body": {"kind": "reset_mid_body"},
    "short-body": {"kind": "short_body"},
    "bad-json": {"kind": "bad_json"},
    "error-in-200": {"kind": "error_in_200"},
    "empty": {"kind": "empty"},
}


@pytest.mark.parametrize("name", mark_rest_long(FAULTS, ["reset-mid-body"]))
def test_every_item_becomes_a_result_or_a_failure_whatever_the_server_does(
    name: str, local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    make_wavs(source, 8)
    local_server.faults({"match": {"nth": 2}, "fault": FAULTS[name]}, {"match": {"nth": 5}, "fault": FAULTS[name]})
    done = transcribe(source, out, local_server.origin, "--concurrency", "2")
    assert done.returncode in (0, 3), done.stderr
    assert "Traceback" not in done.stderr
    ended = [str(row["item_id"]) for row in (*read_rows(out), *read_rows(out, "failures"))]
    assert sorted(ended) == [f"{n:04d}.wav" for n in range(8)]
    ledger = read_rows(out, "calls")
    known = sum((row["cost_usd"] for row in ledger if row["cost_usd"] is not None), Decimal(0))
    unknown = sum((row["cost_max_usd"] for row in ledger if row["cost_usd"] is None), Decimal(0))
    assert known <= Decimal(local_server.bill()["usd"]) <= known + unknown


@pytest.mark.long
def test_a_redirect_is_not_followed(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 4)
    with running_server(engine="echo") as elsewhere:
        local_server.faults(
            {"match": {"every": 1}, "fault": {"kind": "redirect", "location": f"{elsewhere.origin}/v1"}}
        )
        stopped = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin)
        assert stopped.returncode == 3, stopped.stdout
        assert elsewhere.bill()["requests"] == 0


@pytest.mark.long
def test_an_attempt_that_exceeds_its_timeout_is_retried(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    make_wavs(source, 3)
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "drip", "interval": 0.3}})
    done = transcribe(source, out, local_server.origin, "--timeout", "1s", "--concurrency", "1", "--retries", "1")
    assert done.returncode == 0, done.stderr
    assert len(read_rows(out)) == 3


@pytest.mark.long
def test_another_model_needs_replace(thirty_recordings: Path, local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert transcribe(thirty_recordings, out, local_server.origin).returncode == 0
    other = "nvidia/parakeet-tdt-0.6b-v3"
    refused = transcribe(thirty_recordings, out, local_server.origin, "--model", other)
    assert refused.returncode == 2
    assert "--replace" in refused.stderr
    replaced = transcribe(thirty_recordings, out, local_server.origin, "--model", other, "--replace")
    assert replaced.returncode == 0, replaced.stderr
    assert {row["model"] for row in read_rows(out)} == {other}
    assert local_server.bill()["requests"] == 60


@pytest.mark.long
def test_no_cache_buys_every_answer_again(thirty_recordings: Path, local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert transcribe(thirty_recordings, out, local_server.origin).returncode == 0
    assert transcribe(thirty_recordings, out, local_server.origin, "--no-cache").returncode == 0
    assert local_server.bill()["requests"] == 60
    assert len(read_rows(out)) == 30
    assert_ledger_equals_bill(out, local_server)


@pytest.mark.long
def test_two_outs_with_a_shared_journal_pay_once(
    thirty_recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    shared = str(tmp_path / "shared")
    for name in ("one", "two"):
        assert transcribe(thirty_recordings, tmp_path / name, local_server.origin, "--journal", shared).returncode == 0
    assert local_server.bill()["requests"] == 30
    assert all(row["cached"] and row["cost_usd"] == 0 for row in read_rows(tmp_path / "two"))
    status = mediamill("status", tmp_path / "two", home=tmp_path / "home")
    assert "30 done" in status.stdout
    assert "$0.00" in status.stdout


def test_a_password_in_a_journal_url_is_refused(thirty_recordings: Path, tmp_path: Path) -> None:
    url = "postgresql://me:hunter2@127.0.0.1/journal"
    refused = transcribe(thirty_recordings, tmp_path / "out", "http://127.0.0.1:9", "--journal", url)
    assert refused.returncode == 2
    assert "PGPASSWORD" in refused.stderr
    assert "hunter2" not in refused.stderr


def test_published_parts_can_be_read_after_a_kill(
    thirty_recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    out, fault = tmp_path / "out", {"MEDIAMILL_FAULTS": "part.rename.after:3:kill"}
    killed = transcribe(thirty_recordings, out, local_server.origin, "--shard-size", "7", env=fault)
    assert killed.returncode == -signal.SIGKILL
    parts = list(out.rglob("part-*.parquet"))
    assert 3 <= len(parts) <= 5  # shards are published side by side
    assert all(pq.read_table(part).num_rows for part in parts)


@pytest.mark.long
def test_a_retry_stays_within_the_budget(thirty_recordings: Path, local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    local_server.faults({"match": {"every": 2}, "fault": {"kind": "status", "status": 422}})
    assert transcribe(thirty_recordings, out, local_server.origin, "--budget", "0.00007").returncode == 3
    local_server.faults()
    stopped = mediamill("retry", out, home=tmp_path / "home")
    assert stopped.returncode == 4, stopped.stdout
    assert Decimal(local_server.bill()["usd"]) <= Decimal("0.00007")
    assert mediamill("retry", out, "--budget", "1", home=tmp_path / "home").returncode == 0
    assert len(read_rows(out)) == 30
