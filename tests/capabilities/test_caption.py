"""Captions and completions on the command line: requests, results and costs."""

from __future__ import annotations

import csv
import json
import random
import re
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.helpers.cli_runs import SENTINEL, mediamill, read_rows
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.paths import SAMPLES
from tests.helpers.run_checks import assert_bill_within_ledger_bounds, assert_ledger_equals_bill, assert_no_key_in
from tests.helpers.visual_samples import serve_folder

MODEL = "Qwen/Qwen3.5-9B"
PICTURES = SAMPLES / "pictures"
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "width": {"type": "integer"}, "text": {"type": "string"}},
    "required": ["title", "width"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": [f"{MODEL}=0.17/0.25"], "url_host": ["127.0.0.1"]}


def run_against_together(
    capability: str, source: Path | str, out: Path, server: RunningServer, *options: str | Path, **env: str
) -> Any:
    return mediamill(
        *(capability, source, "--provider", "together", "--base-url", server.origin, "--out", out, "--yes", *options),
        home=out.parent / "home",
        env=env,
    )


def write_images(folder: Path, count: int) -> None:
    """Write small images, no two of them equal."""
    folder.mkdir(parents=True)
    rng = random.Random(2)
    for number in range(count):
        image = Image.effect_noise((24, 24), 40).convert("RGB")
        image.putpixel((0, 0), (number % 256, number // 256, rng.randrange(256)))
        image.save(folder / f"{number:05d}.png")


def test_every_sample_gets_an_answer_and_the_ledger_is_the_bill(local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run_against_together("caption", PICTURES, out, local_server)
    assert done.returncode == 0, done.stderr
    rows = read_rows(out)
    assert len(rows) == local_server.bill()["billed"] == 8
    assert all(row["text"].startswith("echo of image") for row in rows)
    assert {row["answered_by"] for row in rows} == {MODEL}
    assert all(row["input_tokens"] and row["output_tokens"] and row["cost_basis"] == "metered" for row in rows)
    assert_ledger_equals_bill(out, local_server)
    assert_no_key_in(tmp_path, done.stdout, done.stderr)
    shown = re.findall('<img src="(report_files/[^"]*)"', (out / "report.html").read_text())
    assert len(shown) == 8
    assert {*shown} == {f"report_files/{file.name}" for file in (out / "report_files").iterdir()}
    assert SENTINEL not in done.stderr
    rerun = run_against_together("caption", PICTURES, out, local_server)
    assert (rerun.returncode, local_server.bill()["requests"]) == (0, 8)


@pytest.mark.long
def test_a_manifest_fills_the_prompt_and_groups_its_images(local_server: RunningServer, tmp_path: Path) -> None:
    with (tmp_path / "shop.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "path", "product", "page"])
        for n, (name, page) in enumerate([("house.jpg", "a"), ("page.png", "a"), ("badge.webp", "b")]):
            table.writerow([n, PICTURES / name, f"thing {n}", page])
    options = ("--group-by", "page", "--prompt", "What is {{ product }}?", "--allow-paths")
    done = run_against_together("caption", tmp_path / "shop.csv", tmp_path / "out", local_server, *options)
    assert done.returncode == 0, done.stderr
    rows = {row["item_id"]: row for row in read_rows(tmp_path / "out")}
    assert [len(rows[name]["pictures"]) for name in ("a", "b")] == [2, 1]
    assert rows["a"]["text"].count("image") == 2
    misfit = ("--allow-paths", "--prompt", "{{ nothing }}")
    failed = run_against_together("caption", tmp_path / "shop.csv", tmp_path / "other", local_server, *misfit)
    assert failed.returncode == 2
    assert "unknown column 'nothing'" in failed.stderr


MISFIT_REPLY = {"content": '<think>hm</think>Sure: {"title": "a", "width": "wide"}'}
FITTING_REPLY = {"content": '```json\n{"title": "b", "width": 7, "text": "c"}\n```'}
CUT_OFF_REPLY = {"content": '{"title": "cut', "finish_reason": "length"}


def caption_with_schema(server: RunningServer, tmp_path: Path, *replies: dict[str, str]) -> Path:
    """Caption one image with a schema; the model gives ``replies`` one after the other."""
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    write_images(tmp_path / "in", 1)
    server.faults(*({"match": {"nth": n}, "fault": {"kind": "say", "body": body}} for n, body in enumerate(replies, 1)))
    done = run_against_together("caption", tmp_path / "in", tmp_path / "out", server, "--schema", tmp_path / "s.json")
    assert done.returncode in (0, 3), done.stderr
    assert server.bill()["billed"] == len(replies)
    return tmp_path / "out"


def test_an_answer_that_does_not_fit_the_schema_is_requested_again(local_server: RunningServer, tmp_path: Path) -> None:
    out = caption_with_schema(local_server, tmp_path, MISFIT_REPLY, FITTING_REPLY)
    (row,) = read_rows(out)
    assert (row["title"], row["width"], row["answer_width"], row["answer_text"], row["repairs"]) == ("b", 24, 7, "c", 1)
    assert pq.read_table(out / "results").schema.field("answer_width").type == "int64"
    assert_ledger_equals_bill(out, local_server)


@pytest.mark.long
@pytest.mark.parametrize(
    ("replies", "kind", "message"),
    [
        ([MISFIT_REPLY, MISFIT_REPLY, MISFIT_REPLY], "misfit", "'wide' is not of type 'integer'"),
        ([CUT_OFF_REPLY], "cut_off", "cut off at 1024 tokens"),
    ],
)
def test_an_answer_that_never_fits_the_schema_fails_and_is_not_bought_again(
    replies: list[dict[str, str]], kind: str, message: str, local_server: RunningServer, tmp_path: Path
) -> None:
    out = caption_with_schema(local_server, tmp_path, *replies)
    (row,) = read_rows(out, "failures")
    assert (row["error_kind"], message in row["error_message"]) == (kind, True)
    rerun = run_against_together("caption", tmp_path / "in", out, local_server, "--schema", tmp_path / "s.json")
    assert (rerun.returncode, local_server.bill()["requests"]) == (3, len(replies))


@pytest.mark.long
def test_a_refusal_fails_with_its_own_kind_and_is_not_bought_again(local_server: RunningServer, tmp_path: Path) -> None:
    write_images(tmp_path / "in", 2)
    local_server.faults(
        {"match": {"nth": 1}, "fault": {"kind": "say", "body": {"refusal": "I will not.", "content": ""}}}
    )
    done = run_against_together("caption", tmp_path / "in", tmp_path / "out", local_server, "--concurrency", "1")
    assert done.returncode == 3
    (row,) = read_rows(tmp_path / "out", "failures")
    assert (row["error_kind"], "I will not." in row["error_message"]) == ("refused", True)


def test_one_image_of_a_group_of_near_duplicates_is_sent(local_server: RunningServer, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert (
        run_against_together("caption", PICTURES, out, local_server, "--dedup", "near", "--concurrency", "1").returncode
        == 0
    )
    rows = {row["item_id"]: row for row in read_rows(out)}
    assert local_server.bill()["billed"] == 5
    copies = {name for name, row in rows.items() if row["duplicate_of"] == "house.jpg"}
    assert copies == {"phone.heic", "print.jpg", "sideways.jpg"}
    assert {rows[name]["text"] for name in copies} == {rows["house.jpg"]["text"]}
    assert all(rows[name]["cached"] and rows[name]["cost_usd"] == 0 for name in copies)


@pytest.mark.long
def test_a_url_is_passed_on_or_fetched_here(local_server: RunningServer, tmp_path: Path) -> None:
    with serve_folder(PICTURES) as address:
        host = address.removeprefix("http://")
        (tmp_path / "urls.csv").write_text(f"id,url\na,{address}/house.jpg\n")
        passed_on = run_against_together(
            "caption", tmp_path / "urls.csv", tmp_path / "one", local_server, "--allow-host", host
        )
        assert passed_on.returncode == 0, passed_on.stdout
        fetched = run_against_together(
            "caption", tmp_path / "urls.csv", tmp_path / "two", local_server, "--fetch", "--allow-host", host
        )
        assert fetched.returncode == 0, fetched.stdout
    one, two = read_rows(tmp_path / "one")[0], read_rows(tmp_path / "two")[0]
    assert (one["pictures"][0]["recipe"], two["pictures"][0]["recipe"]) == ("url", "as-is")
    assert one["text"] == two["text"]


@pytest.mark.long
def test_a_quote_has_its_range_and_what_is_saved(local_server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.effect_noise((2400, 1800), 90).convert("RGB").save(tmp_path / "in" / "large.jpg", quality=95)
    done = run_against_together("caption", tmp_path / "in", tmp_path / "out", local_server, "--quote", "--json")
    quote = json.loads(done.stdout)
    assert Decimal(quote["low_usd"]) < Decimal(quote["high_usd"])
    assert quote["saved_bytes"] > 100_000
    economy = json.loads(
        run_against_together(
            "caption", tmp_path / "in", tmp_path / "out", local_server, "--quote", "--json", "--detail", "economy"
        ).stdout
    )
    assert economy["saved_tokens"] > quote["saved_tokens"]
    assert local_server.bill()["requests"] == 0
    assert run_against_together("caption", tmp_path / "in", tmp_path / "out", local_server).returncode == 0
    assert Decimal(str(local_server.bill()["usd"])) <= Decimal(quote["high_usd"])


@pytest.mark.long
def test_a_budget_holds_for_tokens(local_server: RunningServer, tmp_path: Path) -> None:
    write_images(tmp_path / "in", 30)
    done = run_against_together(
        "caption", tmp_path / "in", tmp_path / "out", local_server, "--budget", "0.003", "--concurrency", "1"
    )
    assert done.returncode == 4
    assert "budget" in done.stdout
    assert Decimal(str(local_server.bill()["usd"])) <= Decimal("0.003")
    unpriced = run_against_together(
        "caption", tmp_path / "in", tmp_path / "new", local_server, "--budget", "1", "--model", MODEL.lower() + "b"
    )
    assert unpriced.returncode == 2
    assert "so no budget can hold" in unpriced.stderr
    assert f"did you mean {MODEL}?" in unpriced.stderr
    assert [*local_server.bill()["by_model"]] == [MODEL]


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "stream_error"},
        {"kind": "no_done"},
        {"kind": "reset_mid_body"},
        {"kind": "drip", "interval": 3},
    ],
)
def test_a_broken_stream_is_requested_again_and_reported(
    fault: dict[str, Any], local_server: RunningServer, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_text("id,text\na,What is this?\nb,And that?\n")
    local_server.faults({"match": {"nth": 1}, "fault": fault})
    out = tmp_path / "out"
    options = ("--set", "stream=true", "--concurrency", "1", "--timeout", "2s", "--model", MODEL)
    done = run_against_together("complete", tmp_path / "p.csv", out, local_server, *options)
    assert done.returncode == 0, done.stdout
    assert len(read_rows(out)) == 2
    assert all(row["first_token_ms"] is not None for row in read_rows(out))
    assert_bill_within_ledger_bounds(out, local_server.bill()["usd"])


POINTS = ["call.wire.after:6", "call.replied.after:9", "call.sending.after:12", "part.rename.after:1"]


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS)
def test_sigkill_loses_nothing_and_pays_nothing_twice(point: str, local_server: RunningServer, tmp_path: Path) -> None:
    write_images(tmp_path / "in", 40)
    out = tmp_path / "out"
    options = ("--concurrency", "4", "--dedup", "near")
    killed = run_against_together(
        "caption", tmp_path / "in", out, local_server, *options, MEDIAMILL_FAULTS=f"{point}:kill"
    )
    assert killed.returncode == -signal.SIGKILL
    done = run_against_together("caption", tmp_path / "in", out, local_server, *options)
    assert done.returncode == 0, done.stderr
    bill = local_server.bill()
    assert len(read_rows(out)) == 40
    assert bill["billed_again"] <= 4
    assert_bill_within_ledger_bounds(out, bill["usd"])


@pytest.mark.long
def test_completions_have_samples_tools_and_messages(local_server: RunningServer, tmp_path: Path) -> None:
    lines = [
        {"id": "a", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]},
        {"id": "b", "messages": [{"role": "user", "content": "How?"}]},
        {"id": "c", "messages": "no list"},
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = run_against_together(
        "complete", tmp_path / "p.jsonl", tmp_path / "out", local_server, "--n", "2", "--model", MODEL
    )
    assert done.returncode == 3
    rows = read_rows(tmp_path / "out")
    assert [len(row["samples"]) for row in rows] == [2, 2]
    assert len({sample["text"] for row in rows for sample in row["samples"]}) == 4
    (failed,) = read_rows(tmp_path / "out", "failures")
    assert "must be a list of objects with role and content" in failed["error_message"]
    tool = {"type": "function", "function": {"name": "note", "parameters": SCHEMA}}
    (tmp_path / "tools.json").write_text(json.dumps([tool]))
    options = ("--tools", tmp_path / "tools.json", "--tool-choice", "note", "--model", MODEL)
    called = run_against_together("complete", tmp_path / "p.jsonl", tmp_path / "tools", local_server, *options)
    assert called.returncode == 3
    assert {call["name"] for row in read_rows(tmp_path / "tools") for call in row["tool_calls"]} == {"note"}


@pytest.mark.long
def test_a_retry_buys_a_new_answer_when_the_old_one_is_useless(local_server: RunningServer, tmp_path: Path) -> None:
    out = caption_with_schema(local_server, tmp_path, MISFIT_REPLY, MISFIT_REPLY, MISFIT_REPLY)
    local_server.faults({"fault": {"kind": "say", "body": FITTING_REPLY}})
    done = mediamill("retry", out, "--only", "misfit", "--yes", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr + done.stdout
    assert read_rows(out)[0]["title"] == "b"
    assert local_server.bill()["billed"] == 4


@pytest.mark.long
def test_hours_of_a_dedicated_endpoint_are_a_separate_cost_line(local_server: RunningServer, tmp_path: Path) -> None:
    with running_server(engine="echo", dialect="together", model=["my-endpoint"]) as own:
        options = ("--model", "my-endpoint", "--endpoint-hourly", "36", "--budget", "5", "--json")
        done = run_against_together("caption", PICTURES, tmp_path / "out", own, *options)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert 0 < Decimal(summary["endpoint_usd"]) < 1
    assert (summary["cost_usd"], summary["unstated"]) == ("0", 8)
    with (tmp_path / "out" / "costs.csv").open() as file:
        lines = {row["price_source"].partition(",")[0]: row for row in csv.DictReader(file)}
    assert Decimal(lines["endpoint by the hour"]["cost_usd"]) == Decimal(summary["endpoint_usd"])
    assert lines[""]["cost_basis"] == "unknown"
    status = json.loads(mediamill("status", tmp_path / "out", "--json", home=tmp_path / "home").stdout)
    assert (status["spent_usd"], status["unstated"]) == ("0", 8)
    status_text = mediamill("status", tmp_path / "out", home=tmp_path / "home").stdout
    assert "spent $0.00 and 8 requests at no known price" in status_text
    stopped = run_against_together(
        "caption", PICTURES, tmp_path / "two", local_server, *options[:4], "--budget", "0.000001"
    )
    assert (stopped.returncode, local_server.bill()["requests"]) == (4, 0)
    assert "the budget of $0.000001 is used up" in stopped.stdout
