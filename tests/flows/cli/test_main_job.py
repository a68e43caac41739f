"""The main job from the command line."""

from __future__ import annotations

import csv
import functools
import http.server
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jiwer
import pandas as pd
import pytest

from tests.helpers.cli_runs import bare_environment, make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.paths import RECORDINGS, ROOT, SAMPLES
from tests.helpers.plain_words import to_plain_words
from tests.helpers.tiers import mark_rest_long


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": ["openai/whisper-large-v3=0.0015"]}


@pytest.mark.long
def test_without_a_key_a_folder_becomes_transcripts_a_bill_and_a_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    home = tmp_path / "home"
    environment = {**bare_environment(home), "TOGETHER_API_KEY": ""}
    command = [
        sys.executable,
        "-m",
        "mediamill.flows.cli",
        "transcribe",
        str(RECORDINGS),
        "--out",
        str(out),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "local" in done.stderr.splitlines()[0]
    assert "inline run" in done.stderr.splitlines()[0]
    assert "8 done" in done.stdout
    assert "free" in done.stdout
    frame = pd.read_parquet(out / "results")
    assert len(frame) == 8
    results = read_rows(out)
    for row in results:
        starts = [word["start"] for word in row["words"]]
        assert starts == sorted(starts)
        assert all(0 <= word["start"] <= word["end"] <= row["audio_seconds"] + 0.5 for word in row["words"])
    with (SAMPLES / "texts.csv").open(encoding="utf-8") as file:
        texts = {Path(row["file"]).name: row["text"] for row in csv.DictReader(file)}
    transcripts = {Path(row["item_id"]).name: row["text"] for row in results}
    names = sorted(transcripts)
    error_rate = jiwer.wer(
        [to_plain_words(texts[name]) for name in names], [to_plain_words(transcripts[name]) for name in names]
    )
    assert error_rate <= 0.10
    assert {path.name for path in out.iterdir()} >= {"results", "calls", "runs", "report.html", "costs.csv"}
    record = json.loads(next((out / "runs").glob("*.json")).read_text())
    assert record["summary"]["done"] == 8
    assert all((out / part["path"]).stat().st_size == part["bytes"] for part in record["parts"])


@pytest.mark.parametrize("kind", mark_rest_long(["csv", "tsv", "jsonl", "parquet"], ["csv", "parquet"]))
def test_a_manifests_columns_are_carried_into_the_results(
    kind: str, tmp_path: Path, local_server: RunningServer
) -> None:
    make_wavs(tmp_path, 3)
    table = pd.DataFrame(
        {"id": ["a", "b", "c"], "path": [f"000{n}.wav" for n in range(3)], "language": ["en", "de", ""], "topic": "x"}
    )
    path = tmp_path / f"list.{kind}"
    if kind == "parquet":
        table.to_parquet(path)
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    done = transcribe(path, tmp_path / "out", local_server.origin)
    assert done.returncode == 0, done.stderr
    results = {row["item_id"]: row for row in read_rows(tmp_path / "out")}
    assert set(results) == {"a", "b", "c"}
    assert all(row["in_topic"] == "x" and "in_language" not in row for row in results.values())


@pytest.mark.long
def test_a_glob_a_file_and_a_list_on_stdin_are_sources(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 4)
    assert transcribe(tmp_path / "in" / "000[12].wav", tmp_path / "glob", local_server.origin).returncode == 0
    assert len(read_rows(tmp_path / "glob")) == 2
    assert transcribe(tmp_path / "in" / "0003.wav", tmp_path / "one", local_server.origin).returncode == 0
    assert len(read_rows(tmp_path / "one")) == 1
    listed = subprocess.run(
        [
            *(sys.executable, "-m", "mediamill.flows.cli", "transcribe", "-", "--provider", "together", "--yes"),
            *("--allow-paths", "--base-url", local_server.origin, "--out", str(tmp_path / "list")),
        ],
        input="".join(f"{path}\n" for path in sorted((tmp_path / "in").iterdir())),
        env=bare_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    assert len(read_rows(tmp_path / "list")) == 4


class _SilentHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.mark.long
def test_a_private_url_is_fetched_only_with_its_host_allowed(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 1)
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_SilentHandler, directory=tmp_path / "in")
    ) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{web.server_address[1]}"
        url = f"http://{host}/0000.wav"
        arguments = (
            *("transcribe", url, "--provider", "together", "--base-url", local_server.origin, "--yes"),
            "--out",
        )
        refused = mediamill(*arguments, tmp_path / "no", home=tmp_path / "home")
        assert refused.returncode == 3, refused.stderr
        assert local_server.bill()["requests"] == 0
        fetched = mediamill(*arguments, tmp_path / "yes", "--allow-host", host, home=tmp_path / "home")
        assert fetched.returncode == 0, fetched.stderr + fetched.stdout
        web.shutdown()
    assert len(read_rows(tmp_path / "yes")) == 1
    assert not [path for path in (tmp_path / "yes" / ".tmp").rglob("*") if path.is_file()]


def test_a_quote_sends_nothing_and_counts_what_is_done(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 5)
    arguments = ("--provider", "together", "--base-url", local_server.origin, "--out", tmp_path / "out", "--json")
    first = json.loads(mediamill("quote", tmp_path / "in", *arguments, home=tmp_path / "home").stdout)
    assert (first["items"], first["finished"], first["asks"]) == (5, 0, 5)
    assert float(first["audio_seconds"]) == pytest.approx(0.5)
    assert 0 < float(first["low_usd"]) <= float(first["high_usd"])
    assert first["price_source"]
    assert local_server.bill()["requests"] == 0
    assert transcribe(tmp_path / "in", tmp_path / "out", local_server.origin).returncode == 0
    second = json.loads(mediamill("quote", tmp_path / "in", *arguments, home=tmp_path / "home").stdout)
    assert (second["items"], second["finished"], second["asks"]) == (5, 5, 0)
    (tmp_path / "out" / ".journal" / "journal.sqlite").rename(tmp_path / "lost.sqlite")
    refused = mediamill("quote", tmp_path / "in", *arguments, home=tmp_path / "home")
    assert (refused.returncode, "nothing names it" in refused.stderr) == (2, True), "a run would not do all 5 again"


@pytest.mark.long
def test_limit_json_status_and_report_work_on_one_out(tmp_path: Path, local_server: RunningServer) -> None:
    make_wavs(tmp_path / "in", 5)
    out = tmp_path / "out"
    done = transcribe(tmp_path / "in", out, local_server.origin, "--json", "--limit", "2")
    summary = json.loads(done.stdout)
    assert (summary["state"], summary["done"], summary["exit_code"]) == ("done", 2, 0)
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["quote"]
    status = json.loads(mediamill("status", out, "--json", home=tmp_path / "home").stdout)
    assert (status["done"], status["failed"], status["pending"]) == (2, 0, 0)
    assert float(status["spent_usd"]) == float(local_server.bill()["usd"])
    (out / "report.html").unlink()
    assert mediamill("report", out, home=tmp_path / "home").returncode == 0
    assert "0000.wav" in (out / "report.html").read_text()


@pytest.mark.long
@pytest.mark.parametrize("job", ["transcribe.yaml", "manifest.yaml", "nightly.yaml"])
def test_the_example_jobs_run(job: str, tmp_path: Path) -> None:
    path = ROOT / "configs" / "jobs" / job
    done = mediamill("run", path, "--out", tmp_path / "out", "--limit", "1", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert len(read_rows(tmp_path / "out")) == 1


def test_models_lists_every_provider_and_doctor_finds_the_key(tmp_path: Path) -> None:
    models = json.loads(mediamill("models", "--json", home=tmp_path / "home").stdout)
    assert {m["provider"] for m in models} >= {"local", "together", "openai", "groq"}
    assert all(m["price"] for m in models if m["default"])
    doctor = mediamill("doctor", home=tmp_path / "home")
    assert doctor.returncode == 0, doctor.stdout
    assert "TOGETHER_API_KEY is set" in doctor.stdout
    with running_server(engine="echo", dialect="together") as running:
        live = mediamill(
            "models", "--live", "--provider", "together", "--base-url", running.origin, home=tmp_path / "home"
        )
        assert "openai/whisper-large-v3" in live.stdout


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m mediamill.flows.cli models | head -1"
    done = subprocess.run(
        command, shell=True, env=bare_environment(tmp_path), capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
