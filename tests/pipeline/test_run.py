"""Chains, through the command line: the rows of each step, its costs, and the costs of a crash."""

from __future__ import annotations

import shutil
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import yaml

import mediamill as package
from mediamill.tasks.errors import JobFileError
from tests.helpers.cli_runs import make_wavs, mediamill
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.tiers import mark_rest_long
from tests.helpers.visual_samples import HOUSE

MODEL = "openai/whisper-large-v3"
ITEMS = 8


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": [f"{MODEL}=0.0015"]}


def write_chain(tmp_path: Path, server: RunningServer, *steps: dict[str, Any], **options: Any) -> Path:
    """Write a chain over eight recordings whose tasks all call the server."""
    make_wavs(tmp_path / "in", ITEMS)
    server.reset()
    for step in steps:
        for task in [step.get("task"), *(step.get("parallel") or {}).values()]:
            if task and task.setdefault("provider", "together") == "together":
                task["base_url"] = server.origin
    path = tmp_path / "chain.yaml"
    fields = {"source": str(tmp_path / "in"), "out": str(tmp_path / "out"), "steps": list(steps), **options}
    path.write_text(yaml.safe_dump(fields))
    return path


def run_chain(path: Path, *options: str, **env: str) -> tuple[int, dict[str, Any], str]:
    done = mediamill("run", path, "--json", *options, home=path.parent / "home", env=env)
    return done.returncode, orjson.loads(done.stdout) if done.stdout else {}, done.stderr


def read_result_rows(tmp_path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(tmp_path / "out" / "results").to_pylist()
    return found


TRANSCRIBE_STEP: dict[str, Any] = {"name": "heard", "task": {"capability": "transcribe"}}


@pytest.mark.long
def test_a_chain_writes_beside_its_source_and_passes_over_what_has_a_file(
    local_server: RunningServer, tmp_path: Path
) -> None:
    heard = {"name": "heard", "task": {"capability": "transcribe", "beside": True, "skip_existing": True}}
    english = {"name": "english", "task": {"capability": "translate", "subtitles": "srt", "beside": True}}
    path = write_chain(tmp_path, local_server, heard, english)
    (tmp_path / "in" / "0000.txt").write_text("mine")
    code, printed, errors = run_chain(path)
    assert code == 0, errors
    assert [step["out"] for step in printed["steps"]] == [ITEMS - 1] * 2
    suffixes = [each.suffix for each in (tmp_path / "in").iterdir()]
    assert [suffixes.count(suffix) for suffix in (".wav", ".txt", ".srt")] == [ITEMS, ITEMS, ITEMS - 1]
    assert (tmp_path / "in" / "0000.txt").read_text() == "mine"
    requests = local_server.bill()["requests"]
    code, printed, errors = run_chain(path, "--out", str(tmp_path / "other"))
    assert code == 0, errors
    assert [step["out"] for step in printed["steps"]] == [0] * 2
    assert local_server.bill()["requests"] == requests


def test_rows_that_when_excludes_pass_a_step_by_and_a_rerun_is_free(
    local_server: RunningServer, tmp_path: Path
) -> None:
    english = {"name": "english", "when": "item_id < '0003'", "task": {"capability": "translate"}}
    both = {
        "name": "both",
        "parallel": {"one": {"capability": "transcribe"}, "other": {"capability": "translate"}},
        "keep": "one_text == heard_text and similarity(other_text, heard_text) >= 0",
    }
    path = write_chain(tmp_path, local_server, TRANSCRIBE_STEP, english, both)
    code, printed, errors = run_chain(path)
    assert code == 0, errors
    assert [(s["rows"], s["passed"], s["out"]) for s in printed["steps"]] == [(8, 0, 8), (8, 5, 8), (8, 0, 8)]
    found = read_result_rows(tmp_path)
    assert [row["item_id"] for row in found] == [f"{n:04d}.wav" for n in range(ITEMS)]
    assert [row["english_text"] is not None for row in found] == [True] * 3 + [False] * 5
    bill = local_server.bill()
    assert bill["billed"] == 8 + 3 + 16
    assert Decimal(printed["spent_usd"]) == Decimal(str(bill["usd"]))
    code, printed, _ = run_chain(path)
    assert (code, local_server.bill()["requests"], Decimal(printed["spent_usd"])) == (0, 27, Decimal(str(bill["usd"])))
    status = mediamill("status", tmp_path / "out", home=tmp_path / "home")
    assert status.stdout.count(" done, 0 failed, 0 not done yet") == 4
    retried = mediamill("retry", tmp_path / "out", home=tmp_path / "home")
    assert (retried.returncode, "is a chain's" in retried.stderr) == (2, True)


@pytest.mark.long
def test_requests_without_a_price_are_reported_beside_the_sum(tmp_path: Path) -> None:
    with running_server(engine="echo", dialect="together", model=["mine"]) as own:
        step = {"name": "heard", "task": {"capability": "transcribe", "model": "mine"}}
        path = write_chain(tmp_path, own, step)
        code, printed, errors = run_chain(path, "--yes")
        assert code == 0, errors
        assert (printed["spent_usd"], printed["unstated"]) == ("0", ITEMS)
        done = mediamill("run", path, "--yes", home=tmp_path / "home")
    assert f"$0.00 and {ITEMS} requests at no known price in all" in done.stdout


@pytest.mark.long
def test_a_step_is_repeated_until_its_condition_holds(local_server: RunningServer, tmp_path: Path) -> None:
    again = [{"capability": "translate"}, {"params": {"to": "de"}, "capability": "translate"}]
    step = {"name": "heard", "task": {"capability": "transcribe"}, "until": "language == 'de'", "again": again}
    code, printed, errors = run_chain(write_chain(tmp_path, local_server, step))
    assert code == 0, errors
    assert list(printed["steps"][0]["runs"]) == ["heard", "heard again 1", "heard again 2"]
    assert {(row["heard_round"], row["heard_held"], row["heard_language"]) for row in read_result_rows(tmp_path)} == {
        (2, True, "de")
    }


def test_columns_reach_the_next_steps_by_their_names_and_outlive_repeats(
    local_server: RunningServer, tmp_path: Path
) -> None:
    complete_task = {"capability": "complete", "params": {"prompt": "{{ car_model }}", "max_tokens": 99}}
    again = [{"params": {"max_tokens": 98}}]
    complete_step = {"name": "asked", "task": complete_task, "until": "contains(text, 'never said')", "again": again}
    wanted = {"template": "{{ asked_text }} {{ asked_model }} {{ car_model }}"}
    embed_task = {"capability": "embed", "provider": "local"}
    vector = {"name": "vector", "task": {**embed_task, "params": wanted}}
    nowhere = {"template": "{{ item_id if item_id == 0 else nowhere }}"}
    lost = {"name": "lost", "task": {**embed_task, "params": nowhere}}
    path = write_chain(tmp_path, local_server, complete_step, vector, lost, source=str(tmp_path / "cars.csv"))
    (tmp_path / "cars.csv").write_text("id,text,car_model,asked_at\none,x,a long name of a small car,noon\n")
    done = mediamill("run", path, home=tmp_path / "home")
    assert done.returncode == 3, done.stderr
    assert "vector: 1 in, 1 out\n" in done.stdout
    assert (
        "  1 wrong_row, one: manifest.parquet row 1: the template needs a value that the row does not have: 'nowhere'"
        in done.stdout
    )
    row = pq.read_table(tmp_path / "out" / "steps" / "02-vector" / "results").to_pylist()[0]
    assert (row["in_car_model"], row["in_asked_model"]) == ("a long name of a small car", "openai/gpt-oss-120b")
    manifest = pq.read_table(tmp_path / "out" / "steps" / "03-lost" / "manifest.parquet").to_pylist()[0]
    assert (manifest["asked_at"], manifest["asked_round"]) == ("noon", 1)
    assert manifest["asked_input_tokens"] == 4 + len("a long name of a small car") // 4 + 1
    local_server.reset()


@pytest.mark.long
def test_a_chain_killed_in_its_second_step_does_not_pay_for_the_first_again(
    local_server: RunningServer, tmp_path: Path
) -> None:
    path = write_chain(
        tmp_path,
        local_server,
        TRANSCRIBE_STEP,
        {"name": "english", "task": {"capability": "translate", "concurrency": 2}},
    )
    killed, _, _ = run_chain(path, MEDIAMILL_FAULTS="call.replied.after:11:kill")
    assert killed == -signal.SIGKILL
    assert ITEMS < local_server.bill()["requests"] < 2 * ITEMS
    code, printed, errors = run_chain(path)
    assert code == 0, errors
    assert len(read_result_rows(tmp_path)) == ITEMS
    bill = local_server.bill()
    assert sum(call["path"].endswith("transcriptions") for call in bill["calls"]) == ITEMS
    assert bill["requests"] <= 2 * ITEMS + 2
    known, unknown = Decimal(printed["spent_usd"]), Decimal(printed["unknown_max_usd"])
    assert known <= Decimal(str(bill["usd"])) <= known + unknown


@pytest.mark.long
def test_one_budget_bounds_all_steps_together(local_server: RunningServer, tmp_path: Path) -> None:
    second = {"name": "english", "task": {"capability": "translate"}}
    path = write_chain(tmp_path, local_server, TRANSCRIBE_STEP, second, budget="0.00003")
    code, printed, errors = run_chain(path)
    assert code == 4, errors
    assert printed["message"] == "the chain's budget of $0.00003 is reached"
    assert "a higher --budget" in printed["hint"]
    heard = printed["steps"][0]
    assert (heard["rows"], heard["out"] + heard["left"]) == (ITEMS, ITEMS)
    assert heard["left"]
    assert Decimal(str(local_server.bill()["usd"])) <= Decimal("0.00003")
    code, _, errors = run_chain(path, "--budget", "1")
    assert code == 0, errors
    assert len(read_result_rows(tmp_path)) == ITEMS


@pytest.mark.long
def test_a_quote_names_the_steps_that_cannot_be_quoted_yet(local_server: RunningServer, tmp_path: Path) -> None:
    said = {"name": "said", "task": {"capability": "speak", "provider": "local", "of": {"text": "text"}}}
    path = write_chain(
        tmp_path, local_server, TRANSCRIBE_STEP, {"name": "english", "task": {"capability": "translate"}}, said
    )
    code, printed, errors = run_chain(path, "--quote")
    assert code == 0, errors
    assert set(printed["steps"]) == {"heard", "english"}
    assert printed["unknown"] == {"said": "it depends on the results of the steps before it"}
    assert local_server.bill()["requests"] == 0
    command = mediamill("quote", path, "--json", home=tmp_path / "home")
    assert orjson.loads(command.stdout) == printed


@pytest.mark.long
def test_rows_for_which_an_expression_fails_are_dropped_and_reported(
    local_server: RunningServer, tmp_path: Path
) -> None:
    keep = {"name": "chosen", "keep": "1 / (audio_seconds - audio_seconds) > 0"}
    code, printed, _ = run_chain(write_chain(tmp_path, local_server, TRANSCRIBE_STEP, keep))
    assert (code, printed["rows"]) == (0, 0)
    assert "cannot be evaluated" in printed["steps"][1]["problems"][0]


@pytest.mark.long
def test_the_maximum_of_a_chains_quote_includes_repeats_and_its_minimum_no_conditional_steps(
    local_server: RunningServer, tmp_path: Path
) -> None:
    again = {**TRANSCRIBE_STEP, "until": "words(text)", "again": [{"model": MODEL}, {"model": MODEL}]}
    english = {"name": "english", "when": "language != 'en'", "task": {"capability": "translate"}}
    code, printed, errors = run_chain(write_chain(tmp_path, local_server, again, english), "--quote")
    assert code == 0, errors
    assert list(printed["steps"]) == ["heard", "heard again 1", "heard again 2", "english"]
    low, high = ([Decimal(one[end]) for one in printed["steps"].values()] for end in ("low_usd", "high_usd"))
    assert min(low) > 0
    assert (Decimal(printed["low_usd"]), Decimal(printed["high_usd"])) == (low[0], sum(high))


@pytest.mark.parametrize("field", mark_rest_long(["when", "keep", "until", "prompt", "of.prompt"], ["prompt"]))
def test_a_column_that_no_step_makes_is_refused_before_anything_is_sent(
    field: str, local_server: RunningServer, tmp_path: Path
) -> None:
    asked = {
        "prompt": {"params": {"prompt": "{{ langage }}: {{ heard_text }}"}},
        "of.prompt": {"of": {"prompt": "langage"}},
    }
    again = {"again": [{"params": {"language": "en"}}]} if field == "until" else {}
    first = {
        **TRANSCRIBE_STEP,
        **again,
        **({field: "langage == 'en'"} if field in ("keep", "until") else {}),
    }
    second = {"name": "second", "task": {"capability": "complete", "provider": "local", **asked.get(field, {})}}
    second |= {"when": "langage == 'en'"} if field == "when" else {}
    code, _, errors = run_chain(write_chain(tmp_path, local_server, first, second))
    assert (code, local_server.bill()["requests"]) == (2, 0)
    assert f"{field}: unknown column 'langage'" in errors
    assert "did you mean 'language'" in errors


def test_every_column_that_no_step_makes_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text(
        f"""\
source: {tmp_path}
steps:
  - name: heard
    task: {{capability: transcribe, provider: local}}
    keep: length(txt) > 3
  - name: about
    when: langage == 'en'
    task:
      capability: complete
      provider: local
      params:
        prompt: "{{{{ heard_txt }}}}"
"""
    )
    chain = yaml.safe_load(path.read_text())
    for call in (package.run, package.quote):
        with pytest.raises(JobFileError) as caught:
            call(path)
        assert [each.partition(": unknown")[0] for each in caught.value.mistakes] == [
            "line 5: step heard: keep",
            "line 5: step heard: keep",
            "line 7: step about: when",
            "line 12: step about: prompt",
        ]
        with pytest.raises(JobFileError) as caught:
            call(chain)
        assert caught.value.mistakes[:2] == (
            "step heard: keep: unknown function 'length'; did you mean 'len'?",
            "step heard: keep: unknown column 'txt'; did you mean 'text'?",
        )


INVALID_CHAINS: list[Any] = [
    ({"steps": []}, "steps"),
    ({"steps": [{"name": "a", "task": {"capability": "transcribr"}}]}, "did you mean 'transcribe'"),
    ({"steps": [{"name": "a", "task": {"capability": "transcribe", "modell": "x"}}]}, "did you mean 'model'"),
    ({"steps": [{"name": "A b", "task": {"capability": "transcribe"}}]}, "small letters"),
    ({"steps": [{"name": "a", "task": {"capability": "transcribe", "params": {"wrods": 1}}}]}, "'words'"),
    ({"steps": [TRANSCRIBE_STEP, TRANSCRIBE_STEP]}, "two steps are called 'heard'"),
    ({"steps": [TRANSCRIBE_STEP, {"name": "b", "keep": "language =="}]}, "cannot be read"),
    ({"steps": [TRANSCRIBE_STEP], "budgett": 1}, "did you mean 'budget'"),
    (
        {"steps": [{**TRANSCRIBE_STEP, "until": "text", "again": [{"limit": 1}]}]},
        "step heard: again: unknown option 'limit'",
    ),
]


@pytest.mark.parametrize(("change", "message"), mark_rest_long(INVALID_CHAINS, INVALID_CHAINS[1:2]))
def test_an_invalid_chain_is_refused_in_one_line_before_it_runs(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text(yaml.safe_dump({"source": str(tmp_path), "steps": [TRANSCRIBE_STEP], **change}))
    code, _, errors = run_chain(path)
    assert (code, "Traceback" in errors) == (2, False)
    assert message in errors


@pytest.mark.long
def test_later_steps_name_files_of_the_source_and_of_earlier_steps_alone(tmp_path: Path) -> None:
    for name in ("data/house.jpg", "elsewhere/out.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(HOUSE.read_bytes())
    references = {"in": "data/house.jpg", "out": "elsewhere/out.jpg"}
    rows = [{"id": name, "prompt": "x", "refs": str(tmp_path / path)} for name, path in references.items()]
    (tmp_path / "data" / "m.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    drawn = {"name": "drawn", "task": {"capability": "generate-image", "provider": "local"}}
    like = {
        "capability": "generate-image",
        "provider": "local",
        "of": {"text": "drawn_prompt", "reference_images": "refs"},
    }
    described = {"capability": "caption", "provider": "local", "of": {"path": "file"}}
    steps = [drawn, {"name": "described", "task": described}, {"name": "like", "task": like}]
    fields = {"source": str(tmp_path / "data" / "m.jsonl"), "out": str(tmp_path / "out"), "steps": steps}
    path = tmp_path / "chain.yaml"
    path.write_text(yaml.safe_dump(fields))
    code, _, stderr = run_chain(path)
    assert code == 3, stderr
    assert [row["in_id"] if "in_id" in row else row["item_id"] for row in read_result_rows(tmp_path)] == ["in"]
    (failure,) = pq.read_table(tmp_path / "out" / "steps" / "03-like" / "failures").to_pylist()
    assert "add --allow-paths" in failure["error_message"]
    code, _, stderr = run_chain(path, "--allow-paths")
    assert code == 0, stderr
    assert len(read_result_rows(tmp_path)) == 2


@pytest.mark.long
def test_a_moved_chain_goes_on_and_buys_nothing_again(local_server: RunningServer, tmp_path: Path) -> None:
    """The manifests of later steps move with OUT; a moved source and a copy of OUT have to be said."""
    translate = {"name": "english", "task": {"capability": "translate"}}
    path = write_chain(tmp_path, local_server, TRANSCRIBE_STEP, translate)
    assert run_chain(path)[0] == 0
    fields = yaml.safe_load(path.read_text())
    sent = local_server.bill()["requests"]

    def write_again(**changed: str) -> None:
        path.write_text(yaml.safe_dump(fields | changed))

    (tmp_path / "out").rename(tmp_path / "moved")
    write_again(out=str(tmp_path / "moved"))
    assert run_chain(path)[0] == 0
    (tmp_path / "in").rename(tmp_path / "new")
    write_again(out=str(tmp_path / "moved"), source=str(tmp_path / "new"))
    code, _, errors = run_chain(path)
    assert (code, "--moved" in errors) == (2, True)
    assert run_chain(path, "--moved")[0] == 0
    shutil.copytree(tmp_path / "moved", tmp_path / "copy")
    write_again(out=str(tmp_path / "copy"), source=str(tmp_path / "new"))
    code, _, errors = run_chain(path)
    assert (code, "is a copy of" in errors) == (2, True)
    code, printed, errors = run_chain(path, "--copied")
    assert code == 0, errors
    assert Decimal(printed["spent_usd"]) == 0
    verified = mediamill("report", tmp_path / "copy", "--verify", "--json", home=tmp_path / "home")
    assert verified.returncode == 0
    assert [found["findings"] for found in orjson.loads(verified.stdout).values()] == [[], []]
    assert local_server.bill()["requests"] == sent
