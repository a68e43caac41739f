"""Transcription over WebSockets on the command line: transcripts, costs, and what survives a crash."""

from __future__ import annotations

import signal
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.capabilities.realtime_runs import PRICES, STREAMING, WHISPER, transcribe_realtime
from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.paths import RECORDINGS
from tests.helpers.run_checks import assert_bill_within_ledger_bounds, assert_no_key_in
from tests.helpers.tiers import mark_tiers
from tests.helpers.transcription_requests import tone_wav

IN_FLIGHT = 16


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"price": PRICES}


def test_a_model_without_uploads_transcribes_through_its_socket(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 12, twins=2)
    done = transcribe_realtime(tmp_path / "in", tmp_path / "out", local_server, "--set", "language=en", "--budget", "1")
    assert done.returncode == 0, done.stderr
    results = read_rows(tmp_path / "out")
    assert len(results) == 12
    assert {(r["recipe"], r["engine"], r["language"], r["pieces"]) for r in results} == {
        ("pcm-16000-mono", "echo-1", "en", 1)
    }
    assert all(len(r["text"].split()) == 4 and r["segments"][0]["end"] == 0.1 for r in results)
    bill = local_server.bill()
    assert bill["requests"] == 10, "equal recordings are sent once"
    assert sum((r["cost_usd"] for r in read_rows(tmp_path / "out", "calls")), Decimal(0)) == Decimal(bill["usd"])
    assert bill["usd"] == "0.000025"
    assert {c["path"] for c in bill["calls"]} == {"/together/v1/realtime"}
    rerun = transcribe_realtime(tmp_path / "in", tmp_path / "out", local_server, "--set", "language=en")
    assert rerun.returncode == 0, rerun.stderr
    assert local_server.bill()["requests"] == 10
    assert_no_key_in(tmp_path, done.stdout, done.stderr)


@pytest.mark.long
def test_a_long_recording_goes_through_the_socket_in_pieces(local_server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "long.wav").write_bytes(tone_wav(47.0, rate=8000))
    done = transcribe_realtime(tmp_path / "in", tmp_path / "out", local_server, "--set", "piece_seconds=20")
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(tmp_path / "out")
    assert row["pieces"] == 3
    assert (row["duration_s"], row["segments"][-1]["end"]) == (47.0, 47.0)
    assert sum(Decimal(c["seconds"]) for c in local_server.bill()["calls"]) == 47


@pytest.mark.long
@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("compatible", "any"),
        ("xai", "grok-voice-transcribe-2.0"),
        pytest.param("together", WHISPER, marks=pytest.mark.long),
        pytest.param("local", "pocketsphinx", marks=pytest.mark.long),
    ],
)
def test_a_socket_can_be_requested(provider: str, model: str, local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 2)
    prefix = {"local": "/v1"}.get(provider, f"/{provider}/v1")
    options = ["--provider", provider, "--model", model, "--base-url", local_server.origin + prefix, "--yes"]
    done = mediamill(
        "transcribe",
        tmp_path / "in",
        "--out",
        tmp_path / "out",
        *(*options, "--set", "transport=socket"),
        home=tmp_path / "home",
        env={"XAI_API_KEY": "some-key-1234567890"},
    )
    assert done.returncode == 0, done.stderr
    assert all(len(row["text"].split()) == 4 for row in read_rows(tmp_path / "out"))
    assert {c["status"] for c in local_server.bill()["calls"]} == {101}


@pytest.mark.long
def test_uploading_to_a_model_without_uploads_names_the_setting(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 2)
    stopped = transcribe_realtime(tmp_path / "in", tmp_path / "out", local_server, "--set", "transport=http")
    assert stopped.returncode == 4
    assert "only supports WebSocket streaming" in stopped.stdout
    assert "--set transport=socket" in stopped.stdout
    assert local_server.bill()["billed"] == 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["openai", pytest.param("groq", marks=pytest.mark.long)])
def test_a_socket_at_a_provider_without_sockets_is_a_clear_error(
    name: str, local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 1)
    options = ["--provider", name, "--base-url", local_server.origin, "--yes", "--set", "transport=socket"]
    refused = mediamill(
        "transcribe",
        tmp_path / "in",
        "--out",
        tmp_path / "out",
        *options,
        home=tmp_path / "home",
        env={"OPENAI_API_KEY": "k" * 20, "GROQ_API_KEY": "k" * 20},
    )
    assert refused.returncode == 3
    (failure,) = read_rows(tmp_path / "out", "failures")
    assert f"{name} has no socket for transcription" in failure["error_message"]
    assert "Traceback" not in refused.stderr


@pytest.mark.long
def test_every_fault_ends_in_a_result(local_server: RunningServer, tmp_path: Path) -> None:
    faults: list[dict[str, Any]] = [
        *({"kind": kind} for kind in ("socket_close", "socket_failed", "socket_silence", "close", "reset_mid_body")),
        *({"kind": kind} for kind in ("bad_json", "wrong_type", "reset")),
        {"kind": "socket_failed", "body": {"event_type": "completed", "error": {"message": "lost"}}},
        {"kind": "socket_close", "billed": True},
        {"kind": "huge", "bytes": 9_000_000},
        {"kind": "drip", "interval": 0.2},
        {"kind": "status", "status": 429, "headers": {"x-ratelimit-reset": "0.1"}},
    ]
    make_wavs(tmp_path / "in", len(faults))
    local_server.faults(*({"match": {"nth": 2 * n + 1}, "fault": kind} for n, kind in enumerate(faults)))
    done = transcribe_realtime(
        tmp_path / "in", tmp_path / "out", local_server, "--concurrency", "1", "--timeout", "2s", "--debug"
    )
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "out")) == len(faults)
    bill = local_server.bill()
    assert Counter(c["fault"] for c in bill["calls"] if c["fault"]) == Counter(kind["kind"] for kind in faults)
    assert_bill_within_ledger_bounds(tmp_path / "out", bill["usd"])
    assert bill["requests"] == 2 * len(faults)
    assert_no_key_in(tmp_path, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "has no socket here"),
        pytest.param(401, "check the key", marks=pytest.mark.long),
        pytest.param(403, "no access", marks=pytest.mark.long),
    ],
)
def test_a_refused_handshake_stops_the_run_unbilled(
    status: int, message: str, local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 20)
    local_server.faults({"fault": {"kind": "status", "status": status}})
    stopped = transcribe_realtime(tmp_path / "in", tmp_path / "out", local_server, "--concurrency", "4")
    assert stopped.returncode == 4
    assert message in stopped.stdout
    assert "Traceback" not in stopped.stderr
    bill = local_server.bill()
    assert (bill["billed"], bill["requests"] <= 8) == (0, True)


LONG_FAILPOINTS = ["call.wire.after:6", "call.sending.after:9"]
PROOF_FAILPOINTS = [
    "call.claimed.after:3",
    "call.sending.before:7",
    "call.replied.after:11",
    "call.parse:5",
    "part.rename.after:1",
]


@pytest.mark.parametrize("point", mark_tiers([*LONG_FAILPOINTS, *PROOF_FAILPOINTS], quick=[], long=LONG_FAILPOINTS))
def test_sigkill_loses_nothing_and_pays_nothing_twice(point: str, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 40)
    out = tmp_path / "out"
    with running_server(price=PRICES, latency="20ms") as server:
        killed = transcribe_realtime(tmp_path / "in", out, server, env={"MEDIAMILL_FAULTS": f"{point}:kill"})
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        resumed = transcribe_realtime(tmp_path / "in", out, server)
        assert resumed.returncode == 0, resumed.stderr
        assert len(read_rows(out)) == 40
        bill = server.bill()
        purchases = Counter(c["file_sha256"] for c in bill["calls"] if c["billed"])
        assert len(purchases) == 40
        assert sum(n - 1 for n in purchases.values()) <= IN_FLIGHT
        assert_bill_within_ledger_bounds(out, bill["usd"])


@pytest.mark.long
def test_the_built_in_provider_transcribes_through_a_socket(tmp_path: Path) -> None:
    with running_server(engine="local", workers=1) as server:
        texts = []
        for transport in ("http", "socket"):
            out = tmp_path / transport
            options = ("--model", WHISPER, "--limit", "2", "--set", "language=en", "--set", f"transport={transport}")
            done = transcribe(RECORDINGS, out, server.origin + "/together", *options)
            assert done.returncode == 0, done.stderr
            texts.append(" ".join(str(row["text"]) for row in read_rows(out)).split())
    common = Counter(texts[0]) & Counter(texts[1])
    assert sum(common.values()) >= 0.7 * len(texts[0])


@pytest.mark.long
def test_models_that_need_a_socket_are_priced(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 3)
    options = ("--provider", "together", "--base-url", local_server.origin, "--model", STREAMING)
    quoted = mediamill("transcribe", tmp_path / "in", *options, "--quote", home=tmp_path / "home")
    assert quoted.returncode == 0, quoted.stderr
    assert "$0.0000075" in quoted.stdout
    assert local_server.bill()["requests"] == 0
