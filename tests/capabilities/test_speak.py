"""Speech on the command line: texts to files, the exact bill, and words that can be recognised."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import jiwer
import pytest

from tests.helpers.cli_runs import bare_environment, mediamill, read_rows
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.paths import ROOT, SAMPLES
from tests.helpers.plain_words import to_plain_words
from tests.helpers.speak_runs import ORPHEUS, check_speech_files, speak, write_text_manifest

PRICES = {ORPHEUS: "15", "canopylabs/orpheus-v1-english": "22", "tts-1": "15", "grok-voice-tts-1.0": "15"}
LONG = " ".join(f"Sentence number {n} is said here, and then there is a pause." for n in range(12))


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"price": PRICES}


def sum_known_costs(out: Path) -> Decimal:
    return sum((row["cost_usd"] for row in read_rows(out, "calls")), Decimal(0))


@pytest.mark.long
@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not on PATH")
def test_generated_speech_is_transcribed_to_its_text(tmp_path: Path) -> None:
    spoken = mediamill(
        "speak", SAMPLES / "texts.csv", "--provider", "local", "--out", tmp_path / "a", home=tmp_path / "home"
    )
    assert spoken.returncode == 0, spoken.stderr
    results = check_speech_files(tmp_path / "a")
    assert {row["engine"].partition("-")[0] for row in results.values()} == {"flite"}
    options = ("--provider", "local", "--set", "language=en", "--out", tmp_path / "b")
    transcribed = mediamill("transcribe", tmp_path / "a" / "media", *options, home=tmp_path / "home")
    assert transcribed.returncode == 0, transcribed.stderr
    texts = {row["item_id"]: row["text"] for row in read_rows(tmp_path / "b")}
    pairs = [(row["in_text"], texts[Path(row["file"]).name]) for row in results.values()]
    assert jiwer.wer([to_plain_words(a) for a, _ in pairs], [to_plain_words(b) for _, b in pairs]) <= 0.10


@pytest.mark.parametrize(
    ("provider", "model", "form", "pieces"),
    [
        ("together", ORPHEUS, "mp3", 1),
        pytest.param("together", ORPHEUS, "flac", 1, marks=pytest.mark.long),
        pytest.param("openai", "tts-1", "opus", 1, marks=pytest.mark.long),
        pytest.param("groq", "canopylabs/orpheus-v1-english", "mp3", 4, marks=pytest.mark.long),
        pytest.param("xai", "grok-voice-tts-1.0", "wav", 1, marks=pytest.mark.long),
        pytest.param("compatible", "any", "flac", 1, marks=pytest.mark.long),
    ],
)
def test_every_provider_and_format(
    provider: str, model: str, form: str, pieces: int, local_server: RunningServer, tmp_path: Path
) -> None:
    out, source = tmp_path / "out", write_text_manifest(tmp_path / "m.csv", [LONG, "Short."], topic=["x", "y"])
    done = speak(source, out, local_server.origin, "--model", model, "--format", form, provider=provider)
    assert done.returncode == 0, done.stderr + done.stdout
    results = check_speech_files(out)
    assert results["t0"]["pieces"] >= pieces
    assert results["t1"]["in_topic"] == "y"
    assert results["t1"]["simulated"]
    assert {row["format"] for row in results.values()} == {form}
    assert results["t1"]["characters"] == 6
    bill = local_server.bill()
    assert bill["billed"] == sum(row["pieces"] for row in results.values())
    if provider != "compatible":
        assert sum_known_costs(out) == Decimal(bill["usd"]) > 0
    if form == "flac":
        again = speak(source, out, local_server.origin, "--model", model, "--format", form, provider=provider)
        assert again.returncode == 0
        assert local_server.bill()["requests"] == bill["requests"]


@pytest.mark.long
def test_every_stream_format_gives_the_same_audio(tmp_path: Path) -> None:
    source = write_text_manifest(tmp_path / "m.csv", ["One two three."])
    for shape in ("chunk", "delta", "item", "openai"):
        with running_server(stream_shape=shape) as server:
            options = ("--format", "wav", "--set", "stream=true")
            done = speak(source, tmp_path / shape, server.origin, *options)
            assert done.returncode == 0, done.stderr + done.stdout
            if shape == "chunk":
                assert speak(source, tmp_path / "plain", server.origin, "--format", "wav").returncode == 0
    unstreamed = check_speech_files(tmp_path / "plain")["t0"]
    for shape in ("chunk", "delta", "item", "openai"):
        streamed = check_speech_files(tmp_path / shape)["t0"]
        assert (streamed["seconds"], streamed["warnings"]) == (unstreamed["seconds"], [])


@pytest.mark.long
def test_texts_from_a_folder_a_file_and_stdin(local_server: RunningServer, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("\ufeffHello.", encoding="utf-8")
    (folder / "../deep/\u00fc b.txt").write_text("World.")
    (tmp_path / "in" / "empty.txt").write_text(" \n")
    (tmp_path / "in" / "odd.txt").write_bytes(b"\xff\xfe\x00")
    done = speak(tmp_path / "in", tmp_path / "folder", local_server.origin)
    assert done.returncode == 3
    assert set(check_speech_files(tmp_path / "folder")) == {"a.txt", "deep/\u00fc b.txt"}
    failures = {row["item_id"]: row["error_kind"] for row in read_rows(tmp_path / "folder", "failures")}
    assert failures == {"empty.txt": "empty", "odd.txt": "not_text"}
    assert local_server.bill()["billed"] == 2
    assert speak(tmp_path / "in" / "a.txt", tmp_path / "one", local_server.origin).returncode == 0
    command = [sys.executable, "-m", "mediamill.flows.cli", "speak", "-", "--provider", "together", "--yes"]
    listed = subprocess.run(
        [*command, "--base-url", f"{local_server.origin}/together", "--out", str(tmp_path / "list")],
        input="First line.\n\nSecond line.\n",
        env=bare_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    assert {k: r["in_text"] for k, r in check_speech_files(tmp_path / "list").items()} == {
        "line-1": "First line.",
        "line-3": "Second line.",
    }


@pytest.mark.long
def test_columns_of_the_manifest_are_parameters_or_the_text(local_server: RunningServer, tmp_path: Path) -> None:
    source = tmp_path / "m.csv"
    source.write_text("id,line,voice,format\na,Hello.,leo,flac\nb,Hello.,,\nc,Hello.,zoe,tiff\n")
    done = speak(source, tmp_path / "out", local_server.origin, "--text-column", "line")
    assert done.returncode == 3
    results = check_speech_files(tmp_path / "out")
    assert [(r["voice"], r["format"], r["in_line"]) for r in results.values()] == [
        ("leo", "flac", "Hello."),
        ("tara", "mp3", "Hello."),
    ]
    assert read_rows(tmp_path / "out", "failures")[0]["error_kind"] == "wrong_row"
    (tmp_path / "no.csv").write_text("id,words\na,Hello.\n")
    refused = speak(tmp_path / "no.csv", tmp_path / "none", local_server.origin)
    assert refused.returncode == 2
    assert "no column holds a text" in refused.stderr


@pytest.mark.long
def test_a_quote_prices_characters_and_sends_nothing(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_text_manifest(tmp_path / "m.csv", [LONG, "Short."])
    quote = json.loads(speak(source, tmp_path / "out", local_server.origin, "--quote", "--json").stdout)
    assert (quote["items"], quote["asks"]) == (2, 2)
    assert local_server.bill()["requests"] == 0
    assert speak(source, tmp_path / "out", local_server.origin).returncode == 0
    assert Decimal(quote["low_usd"]) == Decimal(quote["high_usd"]) == sum_known_costs(tmp_path / "out")


@pytest.mark.long
def test_a_budget_holds(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_text_manifest(tmp_path / "m.csv", ["a" * 1000, "b" * 1000, "c" * 1000])
    done = speak(source, tmp_path / "out", local_server.origin, "--budget", "0.031")
    assert done.returncode == 4, done.stdout
    assert Decimal(local_server.bill()["usd"]) <= Decimal("0.031")
    assert len(check_speech_files(tmp_path / "out")) == 2


@pytest.mark.long
def test_a_lost_answer_is_bought_again_only_by_retry(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = write_text_manifest(tmp_path / "m.csv", [LONG, "Short."]), tmp_path / "out"
    cut = ("--set", "piece_characters=120")
    local_server.faults({"match": {"nth": 3}, "fault": {"kind": "close"}})
    interrupted = speak(source, out, local_server.origin, *cut)
    assert interrupted.returncode == 3, interrupted.stdout
    (failure,) = read_rows(out, "failures")
    assert failure["error_kind"] == "unknown"
    assert "retry" in failure["hint"]
    local_server.faults()
    before = local_server.bill()
    rerun = speak(source, out, local_server.origin, *cut)
    assert rerun.returncode == 3
    assert local_server.bill()["requests"] == before["requests"], "not unasked"
    command = ("retry", out, "--only", "unknown", "--yes")
    retried = mediamill(*command, home=tmp_path / "home", env={"TOGETHER_API_KEY": "x"})
    assert retried.returncode == 0, retried.stderr + retried.stdout
    results = check_speech_files(out)
    after = local_server.bill()
    assert set(results) == {"t0", "t1"}
    assert after["billed_again"] == 1, "the lost piece, and no other"
    assert after["billed"] == sum(row["pieces"] for row in results.values()) + 1


@pytest.mark.long
def test_a_reply_that_is_no_audio_is_kept_and_bought_again_only_by_retry(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = write_text_manifest(tmp_path / "m.csv", ["Hello."]), tmp_path / "out"
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "bad_json"}})
    stream = ("--set", "stream=true", "--format", "wav")
    assert speak(source, out, local_server.origin, *stream).returncode == 3
    assert read_rows(out, "failures")[0]["error_kind"] == "bad_reply"
    local_server.faults()
    assert speak(source, out, local_server.origin, *stream).returncode == 3
    assert local_server.bill()["requests"] == 1
    command = ("retry", out, "--only", "bad_reply", "--yes")
    assert mediamill(*command, home=tmp_path / "home", env={"TOGETHER_API_KEY": "x"}).returncode == 0
    assert len(check_speech_files(out)) == 1
    assert local_server.bill()["requests"] == 2


@pytest.mark.long
def test_a_deleted_file_is_written_again_for_free(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = write_text_manifest(tmp_path / "m.csv", ["One.", "Two.", "Three."]), tmp_path / "out"
    assert speak(source, out, local_server.origin).returncode == 0
    before = check_speech_files(out)
    (out / before["t0"]["file"]).unlink()
    (out / before["t1"]["file"]).write_bytes(b"torn")
    assert speak(source, out, local_server.origin).returncode == 0
    assert {k: r["sha256"] for k, r in check_speech_files(out).items()} == {k: r["sha256"] for k, r in before.items()}
    assert local_server.bill()["requests"] == 3


@pytest.mark.long
def test_refresh_buys_every_text_again(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = write_text_manifest(tmp_path / "m.csv", ["One.", "Two."]), tmp_path / "out"
    assert speak(source, out, local_server.origin).returncode == 0
    assert speak(source, out, local_server.origin, "--no-cache").returncode == 0
    assert (local_server.bill()["billed"], len(check_speech_files(out))) == (4, 2)


@pytest.mark.long
def test_the_example_job_and_the_voices(tmp_path: Path) -> None:
    job = ROOT / "configs" / "jobs" / "speak.yaml"
    done = mediamill("run", job, "--out", tmp_path / "out", "--limit", "1", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert len(check_speech_files(tmp_path / "out")) == 1
    voices = json.loads(
        mediamill("models", "--voices", "--json", home=tmp_path / "home", env={"TOGETHER_API_KEY": ""}).stdout
    )
    assert {v["provider"] for v in voices} >= {"local", "together", "openai", "groq", "xai"}
    assert not any(v["live"] for v in voices)


def test_voices_are_requested_where_a_key_is_set(local_server: RunningServer, tmp_path: Path) -> None:
    for provider, prefix in (("together", "/together"), ("xai", "/xai")):
        arguments = ("models", "--voices", "--json", "--provider", provider, "--base-url", local_server.origin + prefix)
        listed = mediamill(*arguments, home=tmp_path / "home", env={"XAI_API_KEY": "x"})
        assert listed.returncode == 0, listed.stderr
        assert all(v["live"] and v["voices"] for v in json.loads(listed.stdout))


@pytest.mark.long
def test_a_book_is_one_file(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = tmp_path / "book.txt", tmp_path / "out"
    source.write_text("\n\n".join(f"Chapter {n}. {LONG}" for n in range(6)))
    done = speak(source, out, local_server.origin, "--format", "opus", "--set", "piece_characters=500")
    assert done.returncode == 0, done.stderr
    (row,) = check_speech_files(out).values()
    assert row["pieces"] > 8
    assert row["characters"] <= len(source.read_text())
    with (out / "costs.csv").open(encoding="utf-8") as file:
        assert list(csv.DictReader(file))


_PEAK = """
import re, sys
from pathlib import Path
from mediamill.flows.cli.main import main
sys.argv = ["mediamill", *sys.argv[1:]]
try:
    main()
finally:
    print("PEAK", re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_length_of_the_text(tmp_path: Path) -> None:
    peaks = []
    for chapters in (10, 40):
        source = tmp_path / f"{chapters}.txt"
        source.write_text("\n\n".join(f"Chapter {n}. {LONG}" for n in range(chapters * 4)))
        options = (
            "--provider",
            "local",
            "--model",
            "tones",
            "--format",
            "mp3",
            "--quiet",
            "--out",
            str(tmp_path / str(chapters)),
        )
        done = subprocess.run(
            [sys.executable, "-c", _PEAK, "speak", str(source), *options],
            env=bare_environment(tmp_path / "home"),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.rsplit("PEAK", 1)[1]))
    assert peaks[1] - peaks[0] < 60_000, peaks
