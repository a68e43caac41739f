"""Completions on the command line: what is sent with a prompt, and the ceiling of its cost."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.local_server import RunningServer
from tests.helpers.tiers import mark_rest_long

MODEL = "Qwen/Qwen3.5-9B"
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
TOOL = {"name": "note", "description": "Takes a note. " * 400, "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": [f"{MODEL}=0.17/0.25"]}


def complete(server: RunningServer, tmp_path: Path, out: str, *options: str | Path) -> Any:
    """Complete one prompt with a schema."""
    (tmp_path / "p.jsonl").write_text('{"id":"a","prompt":"Why?"}')
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "t.json").write_text(json.dumps([{"type": "function", "function": TOOL}]))
    provider_options = (
        "--provider",
        "together",
        "--base-url",
        server.origin,
        "--model",
        MODEL,
        "--schema",
        tmp_path / "s.json",
    )
    options_of_run = (*provider_options, "--out", tmp_path / out, "--yes", "--json", *options)
    return mediamill("complete", tmp_path / "p.jsonl", *options_of_run, home=tmp_path / "home")


def test_tools_work_with_a_schema_and_count_in_the_ceiling(local_server: RunningServer, tmp_path: Path) -> None:
    local_server.reset()
    tools = ("--tools", tmp_path / "t.json", "--max-tokens", "200")
    assert complete(local_server, tmp_path, "free", *tools, "--tool-choice", "none").returncode == 0
    assert complete(local_server, tmp_path, "named", *tools, "--tool-choice", "note").returncode == 0
    (free,), (named,) = read_rows(tmp_path / "free"), read_rows(tmp_path / "named")
    assert (free["title"] is None, free["tool_calls"]) == (False, [])
    assert (named["title"], [call["name"] for call in named["tool_calls"]], named["repairs"]) == (None, ["note"], 0)
    assert local_server.bill()["requests"] == 2
    for call in read_rows(tmp_path / "free", "calls") + read_rows(tmp_path / "named", "calls"):
        assert call["usage"]["input_tokens"] > len(TOOL["description"]) // 4
        assert call["cost_usd"] <= call["cost_max_usd"]


@pytest.mark.long
def test_the_upper_end_of_a_quote_includes_every_repair(local_server: RunningServer, tmp_path: Path) -> None:
    local_server.reset()
    local_server.faults({"fault": {"kind": "say", "body": {"content": "no JSON " * 480}}})
    quote = json.loads(complete(local_server, tmp_path, "out", "--quote").stdout)
    done = complete(local_server, tmp_path, "out")
    assert (done.returncode, local_server.bill()["billed"]) == (3, 3)
    assert Decimal(quote["low_usd"]) < Decimal(str(local_server.bill()["usd"])) <= Decimal(quote["high_usd"])


def test_a_generation_that_ended_in_an_error_costs_what_its_usage_says(
    local_server: RunningServer, tmp_path: Path
) -> None:
    local_server.reset()
    half = {"content": "half an ans", "finish_reason": "error"}
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "say", "body": half}})
    done = complete(local_server, tmp_path, "out")
    summary, bill = json.loads(done.stdout), local_server.bill()
    assert (done.returncode, bill["billed"], summary["lost_requests"]) == (0, 2, 0)
    assert Decimal(summary["cost_usd"]) == Decimal(str(bill["usd"]))
    assert Decimal(summary["unknown_max_usd"]) == 0
    assert len(read_rows(tmp_path / "out")) == 1


@pytest.mark.parametrize("finish_reason", mark_rest_long(["length", "MAX_TOKENS", "stop"], ["length"]))
def test_an_answer_that_ends_at_its_length_is_flagged(
    finish_reason: str, local_server: RunningServer, tmp_path: Path
) -> None:
    local_server.reset()
    reply = {"content": '{"title": "t"}', "finish_reason": finish_reason}
    local_server.faults({"fault": {"kind": "say", "body": reply}})
    done = complete(local_server, tmp_path, "out")
    expected = {} if finish_reason == "stop" else {"cut_off": 1}
    assert (done.returncode, json.loads(done.stdout)["flags"]) == (0, expected)
    (row,) = read_rows(tmp_path / "out")
    assert (row["title"], row["flags"]) == ("t", list(expected))
