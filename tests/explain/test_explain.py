"""``mediamill explain`` tells how an item came to be as it is, and what it says to do works."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mediamill.tasks.untrusted_text import escape_controls
from tests.helpers.audio_files import syllables, to_wav
from tests.helpers.cli_runs import bare_environment, make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.run_checks import assert_no_key_in
from tests.helpers.sandbox import needs_sandbox
from tests.helpers.speak_runs import speak, write_text_manifest
from tests.helpers.video_runs import PIXVERSE, SMALL, generate_videos, write_prompts
from tests.journal.version_1 import journal_path, open_database, unpack_archive

WIDTH, LABEL = 80, 12
_ELAPSED = re.compile(r"\d+ s\b")
"""Seconds since something happened, which differ from one look to the next."""
OTHER_MODEL = "nvidia/parakeet-tdt-0.6b-v3"


def run_explain(out: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Explain an item at the width of a usual terminal."""
    return mediamill("explain", out, name, *options, home=out.parent / "home", env={"COLUMNS": str(WIDTH)})


def explain(out: Path, name: str) -> dict[str, Any]:
    """An item's story; its text is checked on the way: it fits the terminal and can do it no harm."""
    text, printed = run_explain(out, name), run_explain(out, name, "--json")
    assert (text.returncode, printed.returncode) == (0, 0), text.stderr + printed.stderr
    too_wide = [line for line in text.stdout.splitlines() if len(line) > WIDTH]
    assert all(" mediamill " in line or " " not in line[LABEL:].strip() for line in too_wide), too_wide
    assert text.stdout.replace("\n", "").isprintable()
    assert_no_key_in(out.parent / "home", text.stdout, printed.stdout)
    story: dict[str, Any] = json.loads(printed.stdout)
    squeezed = _ELAPSED.sub("", " ".join(text.stdout.split()))
    assert _ELAPSED.sub("", " ".join(escape_controls(story["why"]).split())) in squeezed
    assert all(" ".join(step.split()) in squeezed for step in story["next_steps"])
    return story


def run_step(story: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command that a story gives last."""
    program, *arguments = shlex.split(story["next_steps"][-1])
    assert program == "mediamill"
    return mediamill(*arguments, *options, "--yes", home=Path(story["out"]).parent / "home")


def test_every_attempt_has_its_waits_words_and_cost(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    fault = {"kind": "status", "status": 503, "body": '{"error": {"message": "too busy \\u001b[31m now"}}'}
    local_server.faults({"match": {"nth": 1}, "fault": fault, "times": 1})
    assert transcribe(tmp_path / "in", tmp_path / "out", local_server.origin).returncode == 0
    story = explain(tmp_path / "out", "0000.wav")
    [request] = story["requests"]
    refused, answered = request["attempts"]
    assert (refused["outcome"], refused["status"], refused["cost_usd"]) == ("rejected", 503, "0")
    assert "too busy" in refused["words"]
    assert (answered["outcome"], answered["number"], answered["cost_basis"]) == ("replied", 2, "metered")
    assert answered["pause_ms"] > 0
    [row] = read_rows(tmp_path / "out")
    assert Decimal(answered["cost_usd"]) == row["cost_usd"]
    assert answered["request_id"] == row["request_id"]
    assert "$" in answered["price_source"]
    assert answered["started_at"].endswith("Z")
    [preparation] = story["preparations"]
    assert preparation["before"]["bytes"] == request["sent"]["bytes"] == (tmp_path / "in/0000.wav").stat().st_size
    assert "after 1 attempt without an answer" in story["why"]
    assert (story["part"], story["row_at"]) == (str(tmp_path / "out/results/part-000000.parquet"), 0)


@pytest.mark.long
def test_a_reused_answer_names_the_item_that_paid_for_it(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 3, twins=1)
    for name in ("first", "second"):
        journal = ("--journal", str(tmp_path / "journal"))
        assert transcribe(tmp_path / "in", tmp_path / name, local_server.origin, *journal).returncode == 0
    twins = {name: explain(tmp_path / "first", name)["requests"][0] for name in ("0000.wav", "0002.wav")}
    [(buyer, _)] = [(name, request) for name, request in twins.items() if request["attempts"]]
    [request] = [request for name, request in twins.items() if name != buyer]
    assert (request["reused"]["source"], request["reused"]["item_ids"]) == ("other_item", [buyer])
    other = explain(tmp_path / "second", "0001.wav")
    [request] = other["requests"]
    assert (request["reused"]["source"], request["reused"]["out"]) == ("other_out", str(tmp_path / "first"))
    assert request["reused"]["run_id"] == explain(tmp_path / "first", "0001.wav")["last_run"]["run_id"]
    assert str(tmp_path / "first") in other["why"]


@pytest.mark.long
def test_an_item_is_found_by_what_a_person_has_at_hand(tmp_path: Path) -> None:
    source, out = (
        write_text_manifest(tmp_path / "t.csv", ["a train", "a house", "a red train", 'Ä "B" C']),
        tmp_path / "out",
    )
    done = mediamill("embed", source, "--provider", "local", "--out", out, "--yes", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    for name, found in {
        "t1": "t1",
        "#2": "t2",
        "0": "t0",
        "house": "t1",
        "Red Train": "t2",
        "t.csv row 2": "t1",
        'ä "b"': "t3",
        'A\u0308 "B': "t3",
        "\\x74\\u0033": "t3",
    }.items():
        assert json.loads(run_explain(out, name, "--json").stdout)["item_id"] == found, name
    several = run_explain(out, "train")
    assert several.returncode == 2
    assert "t0 (index 0), t2 (index 2)" in several.stderr
    assert run_explain(out, "").stderr.startswith("mediamill: ITEM is empty\n")
    assert r"has no item 't9\x1b'" in run_explain(out, "t9\x1b").stderr
    none = run_explain(out, "t9")
    assert none.returncode == 2
    assert none.stderr.startswith(f"mediamill: {out}: has no item 't9'\n  the nearest: t")
    assert len(none.stderr.splitlines()) == 2


@pytest.mark.long
def test_a_storm_of_refusals_is_told_attempt_by_attempt(tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 5)
    with running_server(rpm=60, burst=1) as server:
        assert transcribe(tmp_path / "in", tmp_path / "out", server.origin).returncode == 0
    stories = [explain(tmp_path / "out", f"000{n}.wav") for n in range(5)]
    attempts = [attempt for story in stories for request in story["requests"] for attempt in request["attempts"]]
    calls = read_rows(tmp_path / "out", "calls")
    assert sorted(attempt["call_id"] for attempt in attempts) == sorted(call["call_id"] for call in calls)
    refused = [attempt for attempt in attempts if attempt["status"] == 429]
    assert refused
    assert all("60" in attempt["words"] for attempt in refused)
    assert sum(attempt["limit_ms"] for attempt in attempts) > 1000


@pytest.mark.long
def test_a_failed_piece_is_named_and_the_answers_of_the_others_are_kept(
    local_server: RunningServer, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/talk.wav").write_bytes(to_wav(syllables(30)))
    local_server.faults({"match": {"nth": 3}, "fault": {"kind": "status", "status": 400}, "times": 1})
    failed = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin, "--set", "piece_seconds=8")
    assert failed.returncode == 3
    assert f"why:     mediamill explain {tmp_path / 'out'} talk.wav" in failed.stdout
    story = explain(tmp_path / "out", "talk.wav")
    ranges = [(request["from_seconds"], request["to_seconds"]) for request in story["requests"]]
    assert ranges[0][0] == 0
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(ranges))
    [broken] = [request for request in story["requests"] if request["error_kind"]]
    assert (broken["state"], broken["error_kind"]) == ("rejected", "bad_request")
    kept = sum(request["state"] == "replied" for request in story["requests"])
    assert kept == len(story["requests"]) - 1
    assert f"{kept} of its {kept + 1} answers are kept" in story["why"]
    [preparation] = story["preparations"]
    assert preparation["after"]["pieces"] == len(ranges)
    assert any("piece_seconds says so" in change for change in preparation["changes"])
    assert run_step(story).returncode == 0
    again = explain(tmp_path / "out", "talk.wav")
    assert again["state"] == "done"
    reused = [request["reused"]["source"] for request in again["requests"] if request["reused"]]
    assert reused == ["earlier_run"] * kept
    bought = [request for request in again["requests"] if not request["reused"]]
    assert ["rejected", "replied"] in [[attempt["outcome"] for attempt in each["attempts"]] for each in bought]


@pytest.mark.long
def test_a_broken_reply_that_may_be_billed_has_its_maximum(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "bad_json"}, "times": 1})
    assert transcribe(tmp_path / "in", tmp_path / "out", local_server.origin).returncode == 0
    [request] = explain(tmp_path / "out", "0")["requests"]
    broken, answered = request["attempts"]
    assert (broken["outcome"], broken["cost_usd"]) == ("unknown", None)
    assert Decimal(broken["cost_max_usd"]) > 0
    assert broken["words"]
    assert answered["outcome"] == "replied"


@pytest.mark.long
def test_an_unknown_outcome_is_not_bought_again_unasked_and_the_command_buys_it(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = write_text_manifest(tmp_path / "t.csv", ["a train"]), tmp_path / "out"
    local_server.faults({"fault": {"kind": "reset", "billed": True}, "times": 1})
    assert speak(source, out, local_server.origin).returncode == 3
    story = explain(out, "t0")
    assert story["failure"]["kind"] == "unknown"
    assert "up to $" in story["why"]
    assert run_step(story).returncode == 0
    done = explain(out, "t0")
    assert (done["state"], done["sample"]) == ("done", 1)
    [file] = done["files"]
    assert file["bytes"] == Path(file["path"]).stat().st_size == file["expected_bytes"]
    assert [request["current"] for request in done["requests"]].count(True) >= 1


@pytest.mark.long
def test_a_job_is_told_while_it_is_polled_and_after_its_run_was_killed(tmp_path: Path) -> None:
    source, out = write_prompts(tmp_path / "p.csv", [{"prompt": "boat", "size": SMALL}]), tmp_path / "out"
    with running_server(price=[f"{PIXVERSE}=0.3"], job_seconds="6s") as server:
        killed = generate_videos(source, out, server, MEDIAMILL_FAULTS="call.accepted.after:1:kill")
        assert killed.returncode == -signal.SIGKILL
        story = explain(out, "boat")
        [request] = story["requests"]
        assert (story["state"], request["state"], request["held"]) == ("pending", "accepted", False)
        assert request["job_id"] in story["why"]
        assert "never creates it again" in story["why"]
        program, *command = shlex.split(story["next_steps"][-1])
        assert program == "mediamill"
        arguments = [sys.executable, "-m", "mediamill.flows.cli", *command, "--yes", "--quiet"]
        running = subprocess.Popen(arguments, env=bare_environment(tmp_path / "home"), stdout=subprocess.DEVNULL)
        try:
            polled = _wait_for_story(out, "v0", lambda story: story["requests"][0]["held"] and story["owner"])
            assert "the run polls it now" in polled["why"]
        finally:
            assert running.wait(60) == 0
        done = explain(out, "v0")
        assert "an earlier run had bought" in done["why"]
        assert server.bill()["billed_again"] == 0
        Path(done["files"][0]["path"]).unlink()
        lost = explain(out, "v0")
        assert lost["files"][0]["bytes"] is None
        assert run_step(lost).returncode == 0
        assert explain(out, "v0")["files"][0]["bytes"]


def _wait_for_story(out: Path, name: str, is_reached: Any) -> dict[str, Any]:
    """The first story that ``is_reached`` accepts; the run that writes it is not disturbed by the reading."""
    until = time.monotonic() + 300
    while time.monotonic() < until:
        printed = run_explain(out, name, "--json")
        story: dict[str, Any] = json.loads(printed.stdout)
        if printed.returncode == 0 and is_reached(story):
            return story
    raise AssertionError("the story was never reached")


@pytest.mark.long
def test_the_items_of_a_live_run_are_told_and_the_run_goes_on(tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 3)
    out = tmp_path / "out"
    with running_server() as server:
        server.faults({"match": {"after": 1}, "fault": {"kind": "delay", "delay": 3600}})  # the first alone is answered
        where = ("--provider", "together", "--base-url", server.origin, "--out", str(out), "--concurrency", "1")
        arguments = [sys.executable, "-m", "mediamill.flows.cli", "transcribe", str(tmp_path / "in"), *where, "--yes"]
        environment = bare_environment(tmp_path / "home")
        with subprocess.Popen(
            [*arguments, "--timeout", "30s"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as running:
            while run_explain(out, "0002.wav").returncode:
                assert running.poll() is None
            _wait_for_story(out, "0001.wav", lambda story: "a request has been on its way" in story["why"])
            waiting = explain(out, "0002.wav")
            assert "has not reached it yet" in waiting["why"]
            finished = _wait_for_story(out, "0000.wav", lambda story: story["state"] == "done")
            assert finished["part"] is None
            assert running.poll() is None
            server.faults()  # what is sent again after its timeout is answered
            assert running.wait(300) == 0
    assert explain(out, "0002.wav")["state"] == "done"


@pytest.mark.long
def test_an_item_that_a_budget_kept_from_being_done_says_what_goes_on(
    local_server: RunningServer, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "in", 5)
    options = ("--budget", "0.00003", "--concurrency", "1")
    assert transcribe(tmp_path / "in", tmp_path / "out", local_server.origin, *options).returncode == 4
    [pending, *_] = [n for n in range(5) if explain(tmp_path / "out", f"#{n}")["state"] == "pending"]
    story = explain(tmp_path / "out", f"#{pending}")
    assert "the budget of $0.00003 does not cover the next request" in story["why"]
    story["next_steps"] = [story["next_steps"][-1].replace("MORE", "1")]
    assert run_step(story).returncode == 0
    assert explain(tmp_path / "out", f"#{pending}")["state"] == "done"


@pytest.mark.long
def test_a_retry_with_another_model_is_told_beside_the_first_try(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 2)
    out = tmp_path / "out"
    local_server.faults({"match": {"nth": 2}, "fault": {"kind": "status", "status": 400}, "times": 1})
    assert transcribe(tmp_path / "in", out, local_server.origin).returncode == 3
    [failure] = read_rows(out, "failures")
    retried = mediamill("retry", out, "--model", OTHER_MODEL, "--yes", home=tmp_path / "home")
    assert retried.returncode == 0, retried.stderr
    story = explain(out, failure["item_id"])
    new, old = story["requests"]
    assert (new["current"], old["current"]) == (True, False)
    assert [request["attempts"][0]["model"] for request in (new, old)] == [OTHER_MODEL, "openai/whisper-large-v3"]
    assert story["model"] == OTHER_MODEL
    assert story["first_run"]["run_id"] != story["last_run"]["run_id"]


@pytest.mark.long
def test_items_of_one_request_have_their_shares_of_its_cost(local_server: RunningServer, tmp_path: Path) -> None:
    source, out = write_text_manifest(tmp_path / "t.csv", ["a train", "a house", "a dog"]), tmp_path / "out"
    where = ("--provider", "together", "--base-url", f"{local_server.origin}/together", "--out", out, "--yes")
    assert mediamill("embed", source, *where, home=tmp_path / "home").returncode == 0
    [call] = read_rows(out, "calls")
    attempts = [explain(out, f"t{n}")["requests"][0]["attempts"][0] for n in range(3)]
    assert {attempt["call_id"] for attempt in attempts} == {call["call_id"]}
    assert [attempt["shared_by"] for attempt in attempts] == [3, 3, 3]
    total = sum(Decimal(attempt["cost_usd"]) for attempt in attempts)
    assert abs(total - call["cost_usd"]) < Decimal("1e-11")
    assert total > 0


@needs_sandbox
@pytest.mark.long
def test_a_cell_says_where_in_its_session_it_ran(tmp_path: Path) -> None:
    source, out = tmp_path / "c.csv", tmp_path / "out"
    source.write_text("id,text,session\na,x = 1,s\nb,x + 1,s\nc,1/0,\n")
    where = ("--provider", "local", "--allow-local-code", "--out", out, "--yes")
    assert mediamill("execute", source, *where, home=tmp_path / "home").returncode == 0
    assert explain(out, "b")["preparations"][0]["changes"] == ["runs as cell 2 of the session s"]
    alone = explain(out, "c")
    assert alone["preparations"][0]["changes"] == ["runs in a session of its own"]
    assert "ZeroDivisionError" in alone["result"]["error"]


@pytest.mark.long
def test_rankings_and_images_say_what_was_sent(tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text('{"id": "q", "text": "train", "documents": ["a train", "a dog"]}\n')
    local = ("--provider", "local", "--yes", "--out")
    assert mediamill("rerank", queries, *local, tmp_path / "ranked", home=tmp_path / "home").returncode == 0
    assert explain(tmp_path / "ranked", "q")["requests"][0]["sent"] == {"query": 5, "documents": 2}
    images = tmp_path / "images"
    images.mkdir()
    Image.effect_noise((2600, 1300), 40).convert("RGB").save(images / "large.tiff")
    (images / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert mediamill("caption", images, *local, tmp_path / "captions", home=tmp_path / "home").returncode == 3
    story = explain(tmp_path / "captions", "large")
    [preparation] = story["preparations"]
    assert (preparation["before"]["format"], preparation["after"]["type"]) == ("tiff", "image/jpeg")
    converted, resized = preparation["changes"]
    assert converted.startswith("TIFF converted to JPEG: ")
    assert resized.startswith(f"resized to {preparation['after']['width']} x {preparation['after']['height']}: ")
    broken = explain(tmp_path / "captions", "broken")
    assert (broken["requests"], broken["preparations"]) == ([], [])
    assert "Nothing was sent and nothing paid" in broken["why"]


@pytest.mark.long
def test_an_item_of_a_chain_is_told_in_each_step(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 2)
    where = {"provider": "together", "base_url": local_server.origin}
    steps = [
        {"name": "heard", "task": {"capability": "transcribe", **where}},
        {"name": "placed", "task": {"capability": "embed", **where, "base_url": f"{local_server.origin}/together"}},
    ]
    chain, out = tmp_path / "chain.yaml", tmp_path / "out"
    chain.write_text(json.dumps({"source": str(tmp_path / "in"), "steps": steps}))
    assert mediamill("run", chain, "--out", out, "--yes", home=tmp_path / "home").returncode == 0
    stories = json.loads(run_explain(out, "0001", "--json").stdout)
    assert list(stories) == ["steps/01-heard", "steps/02-placed"]
    assert [story["capability"] for story in stories.values()] == ["transcribe", "embed"]
    text = run_explain(out, "0001").stdout
    assert text.index("steps/01-heard:") < text.index("steps/02-placed:")
    assert explain(out / "steps/02-placed", "0001.wav")["state"] == "done"
    none = run_explain(out, "nothing like it")
    assert none.returncode == 2
    assert f"no step of {out}" in none.stderr


@pytest.mark.long
def test_an_older_journal_is_read_as_it_is(tmp_path: Path) -> None:
    root = unpack_archive(tmp_path / "v1")
    cut = explain(root / "transcribe", "long.wav")
    assert (cut["recorded"], cut["preparations"], cut["first_run"]) == (False, [], None)
    assert cut["not_recorded"].startswith("not recorded: made by")
    assert len(cut["requests"]) == 3
    again = explain(root / "caption-again", "#0")
    assert again["requests"][0]["reused"]["out"] == str(root / "caption")
    for out in ("transcribe", "caption-again"):
        with open_database(journal_path(root, out)) as connection:
            assert [tuple(row) for row in connection.execute("SELECT name, value FROM meta")] == [("format", "1")]


@pytest.mark.long
def test_names_of_files_do_no_harm_to_a_terminal(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    name = "a\x1b[31m\u202eb.wav"
    (tmp_path / "in/0000.wav").rename(tmp_path / "in" / name)
    assert transcribe(tmp_path / "in", tmp_path / "out", local_server.origin).returncode == 0
    assert explain(tmp_path / "out", "#0")["item_id"] == name
    (tmp_path / "in" / name).unlink()
    assert "Its file is gone" in explain(tmp_path / "out", name)["why"]


@pytest.mark.long
def test_a_request_that_a_kill_cut_off_may_have_been_billed(local_server: RunningServer, tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    kill = {"MEDIAMILL_FAULTS": "call.sending.after:1:kill"}
    assert transcribe(tmp_path / "in", tmp_path / "out", local_server.origin, env=kill).returncode == -signal.SIGKILL
    story = explain(tmp_path / "out", "0000")
    [request] = story["requests"]
    assert [attempt["outcome"] for attempt in request["attempts"]] == ["interrupted"]
    assert "may have been billed with up to $" in story["why"]
    assert run_step(story).returncode == 0
    [request] = explain(tmp_path / "out", "0000")["requests"]
    assert [attempt["outcome"] for attempt in request["attempts"]] == ["unknown", "replied"]


@pytest.mark.long
def test_no_story_has_what_gives_access_to_a_url(tmp_path: Path) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out"
    source.write_text(
        "id,path,note\na,http://127.0.0.1:1/a.png?X-Signature=hunter2,see http://u:hunter2@h/?t=hunter2\n"
    )
    done = mediamill("caption", source, "--provider", "local", "--out", out, "--yes", home=tmp_path / "home")
    assert done.returncode == 3, done.stderr
    story = explain(out, "a")
    assert story["source"] == story["location"] == "http://127.0.0.1:1/a.png?..."
    assert story["row"]["note"] == "see http://h/?..."
    assert "hunter2" not in json.dumps(story)
    assert "hunter2" not in run_explain(out, "a").stdout
