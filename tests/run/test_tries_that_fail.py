"""Later tries that fail in passing, conditions that say nothing, and what is told of both before and after a run."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.audio_files import syllables, to_wav
from tests.helpers.cli_runs import mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer, running_server
from tests.run.test_more_tries import GOOD, LOOP, MODEL, OTHER, answer, count_sent, read_by_name

BROKEN = {"kind": "status", "status": 500, "body": {"error": {"message": "it broke"}}}
ONE_TRY = ("--retries", "0")


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": [(MODEL, "0.0015"), (OTHER, "0.0015")]}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two recordings of 6 s."""
    folder = tmp_path / "in"
    folder.mkdir()
    for n, name in enumerate(("good", "mended")):
        (folder / f"{name}.wav").write_bytes(to_wav(syllables(6, seed=n)))
    return folder


def test_a_later_try_that_fails_in_passing_is_made_alone_by_the_next_run(
    local_server: RunningServer, source: Path, tmp_path: Path
) -> None:
    out, options = tmp_path / "out", ("--model", MODEL, "--escalate", f"together:{OTHER}", "--budget", "1")
    first_model = answer("good", GOOD), answer("mended", LOOP, model=MODEL)
    local_server.faults(*first_model, {"match": {"model": OTHER}, "fault": BROKEN})
    done = transcribe(source, out, local_server.origin, *options, *ONE_TRY)
    assert done.returncode == 0, done.stderr
    assert "1 try failed, " in done.stdout
    assert "it broke" in done.stdout
    assert "1 result of an earlier try stands: run the same command again" in done.stdout
    assert read_by_name(out)["mended"]["taken"] == 1
    refused = mediamill("retry", out, "--only", "flagged", home=tmp_path / "home")
    assert "the command that made OUT makes again" in refused.stderr

    local_server.faults(answer("mended", GOOD))
    quoted = transcribe(source, out, local_server.origin, *options, "--quote", "--json")
    quote = json.loads(quoted.stdout)
    assert (quote["finished"], quote["asks"], quote["more_asks"]) == (1, 0, 1)
    assert [quote["low_usd"], quote["high_usd"]] == ["0", "0.00015"]
    again = transcribe(source, out, local_server.origin, *options, "--json")
    assert again.returncode == 0, again.stderr
    assert count_sent(local_server) == {MODEL: 2, OTHER: 1}
    assert (json.loads(again.stdout)["total"], json.loads(again.stdout)["tries_missing"]) == (1, 0)
    row = read_by_name(out)["mended"]
    assert (row["taken"], row["model"], row["cost_usd"]) == (2, OTHER, Decimal("0.0003"))

    last = transcribe(source, out, local_server.origin, *options)
    assert last.returncode == 0, last.stderr
    assert count_sent(local_server) == {MODEL: 2, OTHER: 1}


@pytest.mark.long
def test_a_condition_that_says_nothing_of_a_row_buys_nothing_and_is_told(
    local_server: RunningServer, source: Path, tmp_path: Path
) -> None:
    local_server.faults(answer("good", GOOD), answer("mended", LOOP))
    options = ("--model", MODEL, "--escalate", f"together:{OTHER}", "--until", "audio_seconds / 0 > 1")
    done = transcribe(source, tmp_path / "out", local_server.origin, *options)
    assert done.returncode == 0, done.stderr
    assert "until says nothing of 2 results, so nobody else was tried, e.g. " in done.stdout
    assert count_sent(local_server) == {MODEL: 2}


@pytest.mark.long
def test_the_opening_lines_name_each_address_and_models_that_are_not_listed(
    local_server: RunningServer, source: Path, tmp_path: Path
) -> None:
    local_server.faults(answer("good", GOOD), answer("mended", GOOD))
    names = ("--check", "--check-model", "nosuch", "--escalate", "groq:whisper-large-v4")
    done = transcribe(
        source, tmp_path / "out", local_server.origin, *names, "--model", MODEL, env={"GROQ_API_KEY": "none"}
    )
    assert done.returncode == 0, done.stderr
    assert "mediamill: --check-model: nosuch is not in together's list of models" in done.stderr
    assert "mediamill: --escalate 1: whisper-large-v4 is not in groq's list of models" in done.stderr
    assert "groq at https://api.groq.com whisper-large-v4" in done.stderr
    assert f"then together at {local_server.origin} nosuch" in done.stderr


@pytest.mark.long
def test_the_quote_covers_second_tries_in_pieces_each_billed_at_the_minimum(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for n in range(4):
        (source / f"{n}.wav").write_bytes(to_wav(syllables(10.5, seed=n)))
    with running_server(dialect="groq") as server:
        server.faults({"fault": {"kind": "status", "status": 200, "body": {"text": ""}, "billed": True}})
        command = ("transcribe", source, "--out", out, "--provider", "groq", "--base-url", server.origin, "--check")
        keys = {"GROQ_API_KEY": "none"}
        quoted = mediamill(*command, "--quote", "--json", home=tmp_path / "home", env=keys)
        done = mediamill(*command, "--json", home=tmp_path / "home", env=keys)
        assert done.returncode == 0, done.stderr
        bill = Decimal(str(server.bill()["usd"]))
        sent = sum(server.bill()["by_model"].get(model, {}).get("billed", 0) for model in server.bill()["by_model"])
    quote, known = json.loads(quoted.stdout), sum(row["cost_usd"] for row in read_rows(out, "calls"))
    assert sent > 8, "the second tries are cut into pieces"
    assert Decimal(quote["low_usd"]) <= bill <= Decimal(quote["high_usd"])
    assert known <= Decimal(quote["high_usd"])
    assert sent <= quote["asks"] + quote["more_asks"]


@pytest.mark.long
def test_a_run_that_began_free_says_what_its_later_tries_cost(
    local_server: RunningServer, source: Path, tmp_path: Path
) -> None:
    local_server.faults(answer("good", GOOD), answer("mended", GOOD))
    escalation = {"provider": "together", "base_url": local_server.origin, "model": MODEL}
    job = {
        "capability": "transcribe",
        "source": str(source),
        "provider": "local",
        "until": "provider == 'together'",
        "escalate": [escalation],
        "out": str(tmp_path / "out"),
        "budget": 1,
    }
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    done = mediamill("run", tmp_path / "job.yaml", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert "; free" not in done.stdout
    assert "; $0.0003" in done.stdout
