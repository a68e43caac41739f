"""Chains, through the command line: what each step gets, what it costs, and what a crash costs."""

from __future__ import annotations

import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
import yaml

from tests.helpers.cli_runs import make_wavs, mediamill
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.quick_tier import mark_rest_long

MODEL = "openai/whisper-large-v3"
ITEMS = 8


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": [f"{MODEL}=0.0015"]}


def chain(tmp_path: Path, server: RunningServer, *steps: dict[str, Any], **more: Any) -> Path:
    """A chain over eight recordings, every task at the server."""
    make_wavs(tmp_path / "in", ITEMS)
    server.reset()
    for step in steps:
        for task in [step.get("task"), *(step.get("parallel") or {}).values()]:
            if task and task.setdefault("provider", "together") == "together":
                task["base_url"] = server.origin
    path = tmp_path / "chain.yaml"
    told = {"source": str(tmp_path / "in"), "out": str(tmp_path / "out"), "steps": list(steps), **more}
    path.write_text(yaml.safe_dump(told))
    return path


def run(path: Path, *options: str, **env: str) -> tuple[int, dict[str, Any], str]:
    done = mediamill("run", path, "--json", *options, home=path.parent / "home", env=env)
    return done.returncode, orjson.loads(done.stdout) if done.stdout else {}, done.stderr


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(tmp_path / "out" / "results").to_pylist()
    return found


HEARD: dict[str, Any] = {"name": "heard", "task": {"capability": "transcribe"}}


def test_some_rows_are_done_again_others_pass_by_and_the_rerun_is_free(
    local_server: RunningServer, tmp_path: Path
) -> None:
    english = {"name": "english", "when": "item_id < '0003'", "task": {"capability": "translate"}}
    both = {
        "name": "both",
        "parallel": {"one": {"capability": "transcribe"}, "other": {"capability": "translate"}},
        "keep": "one_text == heard_text and similarity(other_text, heard_text) >= 0",
    }
    path = chain(tmp_path, local_server, HEARD, english, both)
    code, told, errors = run(path)
    assert code == 0, errors
    assert [(s["rows"], s["passed"], s["out"]) for s in told["steps"]] == [(8, 0, 8), (8, 5, 8), (8, 0, 8)]
    found = rows(tmp_path)
    assert [row["item_id"] for row in found] == [f"{n:04d}.wav" for n in range(ITEMS)]
    assert [row["english_text"] is not None for row in found] == [True] * 3 + [False] * 5
    bill = local_server.bill()
    assert bill["billed"] == 8 + 3 + 16
    assert Decimal(told["spent_usd"]) == Decimal(str(bill["usd"]))
    code, told, _ = run(path)
    assert (code, local_server.bill()["requests"], Decimal(told["spent_usd"])) == (0, 27, Decimal(str(bill["usd"])))
    status = mediamill("status", tmp_path / "out", home=tmp_path / "home")
    assert status.stdout.count(" done, 0 failed, 0 not done yet") == 4
    retried = mediamill("retry", tmp_path / "out", home=tmp_path / "home")
    assert (retried.returncode, "below steps/" in retried.stderr) == (2, True)


@pytest.mark.long
def test_what_has_no_price_is_told_beside_the_sum(tmp_path: Path) -> None:
    with running_server(engine="echo", dialect="together", model=["mine"]) as own:
        step = {"name": "heard", "task": {"capability": "transcribe", "model": "mine"}}
        path = chain(tmp_path, own, step)
        code, told, errors = run(path, "--yes")
        assert code == 0, errors
        assert (told["spent_usd"], told["unstated"]) == ("0", ITEMS)
        done = mediamill("run", path, "--yes", home=tmp_path / "home")
    assert f"$0.00 and {ITEMS} requests at no known price in all" in done.stdout


@pytest.mark.long
def test_a_row_is_done_again_until_it_is_as_it_should_be(local_server: RunningServer, tmp_path: Path) -> None:
    again = [{"capability": "translate"}, {"params": {"to": "de"}, "capability": "translate"}]
    step = {"name": "heard", "task": {"capability": "transcribe"}, "until": "language == 'de'", "again": again}
    code, told, errors = run(chain(tmp_path, local_server, step))
    assert code == 0, errors
    assert list(told["steps"][0]["runs"]) == ["heard", "heard again 1", "heard again 2"]
    assert {(row["heard_round"], row["heard_held"], row["heard_language"]) for row in rows(tmp_path)} == {
        (2, True, "de")
    }


def test_columns_reach_the_next_steps_by_their_names_and_outlive_repeats(
    local_server: RunningServer, tmp_path: Path
) -> None:
    ask = {"capability": "complete", "params": {"prompt": "{{ car_model }}", "max_tokens": 99}}
    again = [{"params": {"max_tokens": 98}}]
    asked = {"name": "asked", "task": ask, "until": "contains(text, 'never said')", "again": again}
    wanted = {"template": "{{ asked_text }} {{ asked_model }} {{ car_model }}"}
    vector = {"name": "vector", "task": {"capability": "embed", "provider": "local", "params": wanted}}
    lost = {"name": "lost", "task": {**vector["task"], "params": {"template": "{{ nowhere }}"}}}  # type: ignore[dict-item]
    path = chain(tmp_path, local_server, asked, vector, lost, source=str(tmp_path / "cars.csv"))
    (tmp_path / "cars.csv").write_text("id,text,car_model,asked_at\none,x,a long name of a small car,noon\n")
    done = mediamill("run", path, home=tmp_path / "home")
    assert done.returncode == 3, done.stderr
    assert "vector: 1 in, 1 out\n" in done.stdout
    assert (
        "  1 bad_row, one: manifest.parquet row 1: the prompt needs a column that the row does not have: 'nowhere'"
        in done.stdout
    )
    row = pq.read_table(tmp_path / "out" / "steps" / "02-vector" / "results").to_pylist()[0]
    assert (row["in_car_model"], row["in_asked_model"]) == ("a long name of a small car", "openai/gpt-oss-120b")
    manifest = pq.read_table(tmp_path / "out" / "steps" / "03-lost" / "manifest.parquet").to_pylist()[0]
    assert (manifest["asked_at"], manifest["asked_round"]) == ("noon", 1)
    assert manifest["asked_input_tokens"] == 4 + len("a long name of a small car") // 4 + 1
    local_server.reset()


@pytest.mark.long
def test_a_chain_killed_in_its_second_step_pays_nothing_of_the_first_again(
    local_server: RunningServer, tmp_path: Path
) -> None:
    path = chain(
        tmp_path, local_server, HEARD, {"name": "english", "task": {"capability": "translate", "concurrency": 2}}
    )
    killed, _, _ = run(path, MEDIAMILL_FAULTS="call.replied.after:11:kill")
    assert killed == -signal.SIGKILL
    assert ITEMS < local_server.bill()["requests"] < 2 * ITEMS
    code, told, errors = run(path)
    assert code == 0, errors
    assert len(rows(tmp_path)) == ITEMS
    bill = local_server.bill()
    assert sum(call["path"].endswith("transcriptions") for call in bill["calls"]) == ITEMS
    assert bill["requests"] <= 2 * ITEMS + 2
    known, unknown = Decimal(told["spent_usd"]), Decimal(told["unknown_max_usd"])
    assert known <= Decimal(str(bill["usd"])) <= known + unknown


@pytest.mark.long
def test_one_budget_holds_for_all_steps_together(local_server: RunningServer, tmp_path: Path) -> None:
    second = {"name": "english", "task": {"capability": "translate"}}
    path = chain(tmp_path, local_server, HEARD, second, budget="0.00003")
    code, told, errors = run(path)
    assert code == 4, errors
    assert "budget" in told["message"]
    assert Decimal(str(local_server.bill()["usd"])) <= Decimal("0.00003")
    code, _, errors = run(path, "--budget", "1")
    assert code == 0, errors
    assert len(rows(tmp_path)) == ITEMS


@pytest.mark.long
def test_a_quote_tells_what_can_be_told(local_server: RunningServer, tmp_path: Path) -> None:
    said = {"name": "said", "task": {"capability": "speak", "provider": "local", "of": {"text": "text"}}}
    path = chain(tmp_path, local_server, HEARD, {"name": "english", "task": {"capability": "translate"}}, said)
    code, told, errors = run(path, "--quote")
    assert code == 0, errors
    assert set(told["steps"]) == {"heard", "english"}
    assert told["unknown"] == {"said": "it depends on the results of the steps before it"}
    assert local_server.bill()["requests"] == 0


@pytest.mark.long
def test_rows_that_an_expression_cannot_judge_go_no_further_and_are_told(
    local_server: RunningServer, tmp_path: Path
) -> None:
    keep = {"name": "chosen", "keep": "1 / (audio_seconds - audio_seconds) > 0"}
    code, told, _ = run(chain(tmp_path, local_server, HEARD, keep))
    assert (code, told["rows"]) == (0, 0)
    assert "cannot be evaluated" in told["steps"][1]["problems"][0]


@pytest.mark.long
def test_the_quote_of_a_chain_has_repeats_in_its_most_and_what_is_still_chosen_not_in_its_least(
    local_server: RunningServer, tmp_path: Path
) -> None:
    again = {**HEARD, "until": "words(text)", "again": [{"model": MODEL}, {"model": MODEL}]}
    english = {"name": "english", "when": "language != 'en'", "task": {"capability": "translate"}}
    code, told, errors = run(chain(tmp_path, local_server, again, english), "--quote")
    assert code == 0, errors
    assert list(told["steps"]) == ["heard", "heard again 1", "heard again 2", "english"]
    low, high = ([Decimal(one[end]) for one in told["steps"].values()] for end in ("low_usd", "high_usd"))
    assert min(low) > 0
    assert (Decimal(told["low_usd"]), Decimal(told["high_usd"])) == (low[0], sum(high))


@pytest.mark.parametrize("field", mark_rest_long(["when", "keep", "until"], ["keep"]))
def test_a_column_that_is_nowhere_is_no_choice_of_nothing(
    field: str, local_server: RunningServer, tmp_path: Path
) -> None:
    again = {"again": [{"params": {"language": "en"}}]} if field == "until" else {}
    first = {**HEARD, **(again if field != "when" else {}), **({field: "langage == 'en'"} if field != "when" else {})}
    second = {"name": "second", "when": "langage == 'en'", "task": {"capability": "translate"}}
    path = chain(tmp_path, local_server, first, *([second] if field == "when" else []))
    code, _, errors = run(path)
    assert (code, local_server.bill()["requests"]) == (2, ITEMS)
    assert f"{field}: unknown column 'langage'" in errors
    assert "did you mean 'language'" in errors


MISTAKES: list[Any] = [
    ({"steps": []}, "steps"),
    ({"steps": [{"name": "a", "task": {"capability": "transcribr"}}]}, "did you mean 'transcribe'"),
    ({"steps": [{"name": "a", "task": {"capability": "transcribe", "modell": "x"}}]}, "did you mean 'model'"),
    ({"steps": [{"name": "A b", "task": {"capability": "transcribe"}}]}, "small letters"),
    ({"steps": [{"name": "a", "task": {"capability": "transcribe", "params": {"wrods": 1}}}]}, "'words'"),
    ({"steps": [HEARD, HEARD]}, "two steps are called 'heard'"),
    ({"steps": [HEARD, {"name": "b", "keep": "language =="}]}, "cannot be read"),
    ({"steps": [HEARD], "budgett": 1}, "did you mean 'budget'"),
    (
        {"steps": [{**HEARD, "until": "text", "again": [{"limit": 1}]}]},
        "step heard: again: limit: unknown option 'limit'",
    ),
]


@pytest.mark.parametrize(("change", "says"), mark_rest_long(MISTAKES, MISTAKES[1:2]))
def test_a_mistake_is_one_line_before_anything_runs(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text(yaml.safe_dump({"source": str(tmp_path), "steps": [HEARD], **change}))
    code, _, errors = run(path)
    assert (code, "Traceback" in errors) == (2, False)
    assert says in errors
