"""More tries of an item: a second opinion where a transcript has doubts, and who is next while it is not good."""

from __future__ import annotations

import json
import shlex
import signal
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.audio_files import syllables, to_wav
from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.tiers import mark_rest_long

MODEL, OTHER = "openai/whisper-large-v3", "nvidia/parakeet-tdt-0.6b-v3"
LOOP = {"text": "Thank you. " * 12, "language": "en"}
GOOD = {"text": "Good morning. The train to the city leaves at nine and arrives before noon.", "language": "en"}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": [(MODEL, "0.0015"), (OTHER, "0.0015")]}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Recordings of 6 s whose first transcript is good, a loop, and a loop in every try."""
    folder = tmp_path / "in"
    folder.mkdir()
    for n, name in enumerate(("good", "mended", "stays")):
        (folder / f"{name}.wav").write_bytes(to_wav(syllables(6, seed=n)))
    return folder


def answer(name: str, body: dict[str, Any], **match: Any) -> dict[str, Any]:
    """A rule: the answer for a file."""
    return {
        "match": {"filename": f"{name}.wav", **match},
        "fault": {"kind": "status", "status": 200, "body": body, "billed": True},
    }


def loop_twice_and_once(server: RunningServer) -> None:
    server.faults(
        answer("good", GOOD), answer("stays", LOOP), answer("mended", LOOP, first=1), answer("mended", GOOD, after=1)
    )


def count_sent(server: RunningServer) -> Counter[str]:
    """Billed requests by model."""
    return Counter(str(call["model"]) for call in server.bill()["calls"] if call["billed"])


def read_by_name(out: Path) -> dict[str, dict[str, Any]]:
    return {Path(row["item_id"]).stem: row for row in read_rows(out)}


def test_a_transcript_with_doubts_gets_one_second_try_and_the_better_one_is_taken(
    local_server: RunningServer, source: Path, tmp_path: Path
) -> None:
    loop_twice_and_once(local_server)
    out = tmp_path / "out"
    quoted = transcribe(source, out, local_server.origin, "--check", "--quote", "--json")
    done = transcribe(source, out, local_server.origin, "--check", "--json", "--language", "en")
    assert done.returncode == 0, done.stderr
    rows = read_by_name(out)
    assert {name: (row["taken"], len(row["tries"]), row["flags"]) for name, row in rows.items()} == {
        "good": (1, 1, []),
        "mended": (2, 2, []),
        "stays": (1, 2, ["repetition"]),
    }
    assert rows["good"]["taken_because"] is None
    assert rows["mended"]["taken_because"].startswith("the second is better: score ")
    assert rows["stays"]["taken_because"].startswith("the first stays: ")
    first, second = rows["mended"]["tries"]
    assert (first["doubts"], second["doubts"], second["settings"]) == (["repetition"], [], "temperature 0.4")
    assert first["text"] == LOOP["text"].strip()
    assert rows["mended"]["text"] == second["text"] == GOOD["text"]
    price = Decimal("0.0015") / 10
    assert [first["cost_usd"], second["cost_usd"], rows["mended"]["cost_usd"]] == [price, price, 2 * price]
    assert count_sent(local_server) == {MODEL: 5}
    known = sum(row["cost_usd"] for row in read_rows(out, "calls"))
    assert known == Decimal(str(local_server.bill()["usd"]))
    summary, quote = json.loads(done.stdout), json.loads(quoted.stdout)
    assert (summary["tried_again"], summary["taken_later"], summary["flags"]) == (2, 1, {"repetition": 1})
    assert Decimal(quote["low_usd"]) <= Decimal(summary["cost_usd"]) <= Decimal(quote["high_usd"])
    in_two_pieces = Decimal("0.0015") / 60 * 7  # of 6 s, each rounded up
    assert Decimal(quote["high_usd"]) == Decimal(quote["low_usd"]) + 3 * in_two_pieces

    rerun = transcribe(source, out, local_server.origin, "--language", "en")
    assert rerun.returncode == 0, rerun.stderr
    assert count_sent(local_server) == {MODEL: 5}
    assert read_by_name(out) == rows


@pytest.mark.long
def test_checking_an_out_that_is_there_buys_second_tries_alone(
    local_server: RunningServer, source: Path, tmp_path: Path
) -> None:
    loop_twice_and_once(local_server)
    out = tmp_path / "out"
    assert transcribe(source, out, local_server.origin).returncode == 0
    assert "taken" not in read_rows(out)[0]
    assert count_sent(local_server) == {MODEL: 3}
    refused = transcribe(source, out, local_server.origin, "--check")
    assert refused.returncode == 2
    assert "check none" in refused.stderr
    assert "check on" in refused.stderr
    checked = transcribe(source, out, local_server.origin, "--check", "--replace")
    assert checked.returncode == 0, checked.stderr
    assert count_sent(local_server) == {MODEL: 5}
    assert {name: row["taken"] for name, row in read_by_name(out).items()} == {"good": 1, "mended": 2, "stays": 1}


@pytest.mark.long
@pytest.mark.parametrize("instant", ["call.replied.after:3", "call.sending.after:4", "shard.outcome.before:1"])
def test_a_kill_between_two_tries_pays_for_neither_again(
    instant: str, local_server: RunningServer, source: Path, tmp_path: Path
) -> None:
    loop_twice_and_once(local_server)
    out, options = tmp_path / "out", ("--check", "--concurrency", "1")
    killed = transcribe(source, out, local_server.origin, *options, env={"MEDIAMILL_FAULTS": f"{instant}:kill"})
    assert killed.returncode == -signal.SIGKILL
    resumed = transcribe(source, out, local_server.origin, *options)
    assert resumed.returncode == 0, resumed.stderr
    taken = {name: row["taken"] for name, row in read_by_name(out).items()}
    # The server spoils one reply: where the kill has lost just that one, the first try that is sent again is good.
    assert taken in ({"good": 1, "mended": 2, "stays": 1}, {"good": 1, "mended": 1, "stays": 1})
    assert 5 <= count_sent(local_server)[MODEL] <= 5 + 1, "the one in flight, whose answer nobody has, is sent again"
    costs = [row["cost_usd"] for row in read_rows(out, "calls")]
    known = sum((cost for cost in costs if cost is not None), Decimal(0))
    assert known <= Decimal(str(local_server.bill()["usd"])) <= known + Decimal("0.0015") * costs.count(None)


@pytest.mark.long
def test_a_budget_that_ends_between_two_tries_is_gone_on_with(
    local_server: RunningServer, source: Path, tmp_path: Path
) -> None:
    loop_twice_and_once(local_server)
    out = tmp_path / "out"
    stopped = transcribe(source, out, local_server.origin, "--check", "--budget", "0.0005")
    assert stopped.returncode == 4
    assert Decimal(str(local_server.bill()["usd"])) <= Decimal("0.0005")
    finished = transcribe(source, out, local_server.origin, "--budget", "1")
    assert finished.returncode == 0, finished.stderr
    assert {name: row["taken"] for name, row in read_by_name(out).items()} == {"good": 1, "mended": 2, "stays": 1}
    assert count_sent(local_server) == {MODEL: 5}


@pytest.mark.long
def test_a_second_try_that_fails_leaves_the_first(local_server: RunningServer, source: Path, tmp_path: Path) -> None:
    refusal = {"kind": "status", "status": 400, "body": {"error": {"message": "temperature is not supported"}}}
    local_server.faults(
        answer("good", GOOD),
        answer("stays", LOOP),
        answer("mended", LOOP, first=1),
        {"match": {"filename": "mended.wav"}, "fault": refusal},
    )
    done = transcribe(source, tmp_path / "out", local_server.origin, "--check")
    assert done.returncode == 0, done.stderr
    row = read_by_name(tmp_path / "out")["mended"]
    assert (row["taken"], row["flags"]) == (1, ["repetition"])
    assert row["taken_because"].startswith("the second try failed: ")
    assert "temperature" in row["tries"][1]["error"]


@pytest.mark.long
def test_the_second_try_may_have_another_model(local_server: RunningServer, source: Path, tmp_path: Path) -> None:
    local_server.faults(answer("mended", LOOP, model=MODEL), answer("mended", GOOD), answer("good", GOOD))
    (source / "stays.wav").unlink()
    done = transcribe(source, tmp_path / "out", local_server.origin, "--check", "--check-model", OTHER)
    assert done.returncode == 0, done.stderr
    rows = read_by_name(tmp_path / "out")
    assert {name: (row["model"], row["taken"]) for name, row in rows.items()} == {
        "good": (MODEL, 1),
        "mended": (OTHER, 2),
    }
    assert rows["mended"]["cost_usd"] == Decimal("0.0003")
    assert count_sent(local_server) == {MODEL: 2, OTHER: 1}


def test_the_next_provider_does_only_what_is_not_good_enough(
    local_server: RunningServer, source: Path, tmp_path: Path
) -> None:
    local_server.faults(answer("good", GOOD), answer("stays", LOOP), answer("mended", LOOP, model=MODEL))
    out = tmp_path / "out"
    job = {
        "capability": "transcribe",
        "source": str(source),
        "provider": "together",
        "base_url": local_server.origin,
        "model": MODEL,
        "until": "'repetition' not in flags and provider == 'together'",
        "escalate": [{"provider": "together", "base_url": local_server.origin, "model": OTHER}],
        "out": str(out),
        "budget": 1,
    }
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    quoted = mediamill("quote", tmp_path / "job.yaml", "--json", home=tmp_path / "home")
    done = mediamill("run", tmp_path / "job.yaml", "--json", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    rows = read_by_name(out)
    assert {name: (row["taken"], row["model"], len(row["tries"])) for name, row in rows.items()} == {
        "good": (1, MODEL, 1),
        "mended": (2, OTHER, 2),
        "stays": (2, OTHER, 2),
    }
    assert rows["mended"]["taken_because"] == f"escalate 1, together {OTHER}: until is true"
    assert "until is true of none" in rows["stays"]["taken_because"]
    assert count_sent(local_server) == {MODEL: 3, OTHER: 2}
    quote, spent = json.loads(quoted.stdout), Decimal(json.loads(done.stdout)["cost_usd"])
    assert Decimal(quote["low_usd"]) == Decimal("0.00045")
    assert Decimal(quote["high_usd"]) == Decimal("0.0009")
    assert spent == Decimal(str(local_server.bill()["usd"])) == Decimal("0.00075")

    again = mediamill("run", tmp_path / "job.yaml", home=tmp_path / "home")
    assert again.returncode == 0, again.stderr
    assert count_sent(local_server) == {MODEL: 3, OTHER: 2}


@pytest.mark.long
def test_a_provider_that_refuses_an_item_is_followed_by_the_next(
    local_server: RunningServer, source: Path, tmp_path: Path
) -> None:
    refusal = {"kind": "status", "status": 400, "body": {"error": {"message": "moderated", "code": "content_policy"}}}
    local_server.faults(
        {"match": {"filename": "stays.wav"}, "fault": refusal},
        {"match": {"filename": "mended.wav", "model": MODEL}, "fault": refusal},
        answer("mended", GOOD),
        answer("good", GOOD),
    )
    out = tmp_path / "out"
    (source / "broken.wav").write_bytes(b"RIFF nothing")
    options = ("--model", MODEL, "--escalate", f"together:{OTHER}", "--language", "en")
    done = transcribe(source, out, local_server.origin, *options)
    assert done.returncode == 3, done.stderr
    assert {name: row["taken"] for name, row in read_by_name(out).items()} == {"good": 1, "mended": 2}
    failures = {row["item_id"]: row["error_message"] for row in read_rows(out, "failures")}
    assert set(failures) == {"stays.wav", "broken.wav"}
    assert "moderated" in failures["stays.wav"]


@pytest.mark.long
def test_other_capabilities_have_a_next_model_while_their_condition_is_false(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.csv"
    prompts.write_text("id,prompt\na,Say one\nb,Say two\n")
    with running_server() as server:
        server.faults(
            {"match": {"model": "small", "nth": 1}, "fault": {"kind": "say", "body": {"content": "good"}}},
            {"match": {"model": "small"}, "fault": {"kind": "say", "body": {"content": "no"}}},
            {"match": {"model": "big"}, "fault": {"kind": "say", "body": {"content": "better"}}},
        )
        address = {"provider": "compatible", "base_url": server.origin}
        job = {
            "capability": "complete",
            "source": str(prompts),
            "model": "small",
            "concurrency": 1,
            "confirmed": True,
            "until": "len(text) > 3",
            "escalate": [{**address, "model": "big"}],
            "out": str(tmp_path / "out"),
            **address,
        }
        (tmp_path / "job.yaml").write_text(json.dumps(job))
        done = mediamill("run", tmp_path / "job.yaml", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert sorted((row["text"], row["model"], row["taken"]) for row in read_rows(tmp_path / "out")) == [
        ("better", "big", 2),
        ("good", "small", 1),
    ]


@pytest.mark.long
def test_a_first_provider_that_turns_bad_stops_the_run_and_the_next_does_not_do_all_of_it(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    make_wavs(source, 60)
    refusal = {"kind": "status", "status": 400, "body": {"error": {"message": "unknown field"}}}
    local_server.faults({"match": {"model": MODEL}, "fault": refusal})
    done = transcribe(source, out, local_server.origin, "--escalate", f"together:{OTHER}", "--model", MODEL)
    assert done.returncode == 4
    assert "requests in a row failed" in done.stdout + done.stderr
    assert count_sent(local_server)[OTHER] <= 20 + 16


REFUSED = {
    "--check-model x": "--check is not given",
    "--until 'len(flags) == 0'": "nobody to try an item next",
    "--escalate nobody": "escalate 1: unknown provider 'nobody'",
    f"--escalate together:{MODEL}": "is tried before",
    f"--escalate together:{OTHER} --until 'len(flags'": "until: ",
    "--escalate openai": "escalate 1: openai needs a key and OPENAI_API_KEY is not set",
    f"--escalate together:{OTHER} --until 'flag == []'": "until: unknown column 'flag'",
    f"--escalate together:{OTHER} --until 'count(flags) == 0'": "until: unknown function 'count'",
    f"--escalate together:{OTHER} --until language": "until: 'language' is a text, and neither true nor false",
    f"--escalate together:{OTHER} --until 'flags == [] and len(text)'": "is a number, and neither true nor false",
}


@pytest.mark.parametrize("options", mark_rest_long(REFUSED, ["--escalate openai"]))
def test_what_no_try_could_start_with_is_refused_before_anything_is_sent(
    options: str, source: Path, tmp_path: Path
) -> None:
    done = mediamill(
        *("transcribe", source, "--provider", "together", "--model", MODEL, "--out", tmp_path / "out"),
        *shlex.split(options),
        home=tmp_path / "home",
    )
    assert done.returncode == 2
    assert REFUSED[options] in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_capability_that_cannot_judge_its_rows_has_no_check(tmp_path: Path) -> None:
    done = mediamill("caption", tmp_path, "--provider", "local", "--check", home=tmp_path / "home")
    assert done.returncode == 2
    assert "caption cannot judge its own rows" in done.stderr
