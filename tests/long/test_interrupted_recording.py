"""A recording whose run is interrupted: a rerun sends the same pieces and pays only for the missing ones."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import bare_environment, read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.long.numbered_recordings import NumberedWords, write_wav
from tests.long.transcribe_runs import ENGINE, get_word_positions

PRICE = ("openai/whisper-large-v3", "0.0015")
IN_FLIGHT = 3
PIECES = ("--set", "piece_seconds=10", "--concurrency", str(IN_FLIGHT))


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"engine": ENGINE, "dialect": "together", "price": [PRICE], "workers": 1, "latency": "100ms"}


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    [
        "call.wire.after:9:kill",
        pytest.param("call.replied.after:5:kill", marks=pytest.mark.long),
        pytest.param("call.sending.after:14:kill", marks=pytest.mark.long),
        pytest.param("shard.outcome.before:1:kill", marks=pytest.mark.long),
        pytest.param("part.write.before:1:kill", marks=pytest.mark.long),
    ],
)
def test_after_sigkill_only_missing_pieces_are_paid(fault: str, local_server: RunningServer, tmp_path: Path) -> None:
    numbered = NumberedWords(150)
    path, out = write_wav(tmp_path / "in" / "talk.wav", numbered), tmp_path / "out"
    killed = transcribe(path, out, local_server.origin, *PIECES, env={"MEDIAMILL_FAULTS": fault})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = transcribe(path, out, local_server.origin, *PIECES)
    assert resumed.returncode == 0, resumed.stderr
    (row,) = read_rows(out)
    assert get_word_positions(row) == numbered.words()
    bill = local_server.bill()
    purchases = Counter(call["file_sha256"] for call in bill["calls"] if call["billed"])
    assert len(purchases) == row["pieces"]
    assert sum(n - 1 for n in purchases.values()) <= IN_FLIGHT
    ledger = read_rows(out, "calls")
    known = sum((r["cost_usd"] for r in ledger if r["cost_usd"] is not None), Decimal(0))
    max_cost = known + sum((r["cost_max_usd"] for r in ledger if r["cost_usd"] is None), Decimal(0))
    assert known <= Decimal(bill["usd"]) <= max_cost
    assert not list((out / ".tmp").rglob("*.flac"))


@pytest.mark.long
def test_the_cuts_of_an_earlier_run_are_kept_even_when_the_cutting_has_changed(
    local_server: RunningServer, tmp_path: Path
) -> None:
    """A new release that would cut elsewhere: what was paid for stays paid for."""
    numbered = NumberedWords(150)
    path, out = write_wav(tmp_path / "in" / "talk.wav", numbered), tmp_path / "out"
    killed = transcribe(path, out, local_server.origin, *PIECES, env={"MEDIAMILL_FAULTS": "call.wire.after:9:kill"})
    assert killed.returncode == -signal.SIGKILL
    before = {call["file_sha256"] for call in local_server.bill()["calls"]}
    changed = (
        "import sys, mediamill.tasks.media.cut as cut\n"
        "assert cut.find_quietest_moment\ncut.find_quietest_moment = lambda audio, width: len(audio) // 2\n"
        "from mediamill.flows.cli.main import main\nsys.exit(main())\n"
    )
    command = ["transcribe", str(path), "--provider", "together", "--base-url", local_server.origin, "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", changed, *command, "--yes", *PIECES],
        env=bare_environment(tmp_path / "home"),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    purchases = Counter(call["file_sha256"] for call in local_server.bill()["calls"] if call["billed"])
    assert before <= set(purchases)
    assert sum(n - 1 for n in purchases.values()) <= IN_FLIGHT
    assert len(purchases) == read_rows(out)[0]["pieces"]


@pytest.mark.long
def test_a_signal_ends_the_decoding_thread(local_server: RunningServer, tmp_path: Path) -> None:
    """Forty minutes are being decoded when the signal comes; nothing is sent after what is in flight."""
    path, out = write_wav(tmp_path / "in" / "talk.wav", NumberedWords(2400)), tmp_path / "out"
    command = ["transcribe", str(path), "--provider", "together", "--base-url", local_server.origin, "--out", str(out)]
    with subprocess.Popen(
        [sys.executable, "-m", "mediamill.flows.cli", *command, "--yes", *PIECES],
        env=bare_environment(tmp_path / "home"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        until = time.monotonic() + 60
        while not local_server.bill()["requests"] and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        sent = local_server.bill()["requests"]
        assert process.wait(30) == 128 + signal.SIGTERM
    assert sent <= local_server.bill()["requests"] <= sent + 2 * IN_FLIGHT
    assert read_rows(out) == []
    assert not list((out / ".tmp").rglob("*.flac"))
