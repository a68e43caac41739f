"""Parameters that change rows and no request: another value goes on with the same OUT and buys nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.capabilities.capability_runs import RANKER
from tests.helpers.audio_files import syllables, to_wav
from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.local_server import RunningServer

Rows = dict[str, dict[str, Any]]
Command = Callable[..., str]


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together"}


@pytest.fixture
def command(local_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Transcribes ``in`` into the default OUT with more options, and returns what is printed and told."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for number in range(2):
        sides = [syllables(2, seed=2 * number + side) for side in range(2)]
        (tmp_path / "in" / f"{number:04d}.wav").write_bytes(to_wav(np.stack(sides, axis=1), channels=2))

    def run(*options: str, code: int = 0) -> str:
        paid = ("--provider", "together", "--base-url", local_server.origin)
        done = mediamill("transcribe", "in", *paid, *options, home=tmp_path / "home")
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return run


def find_outs() -> list[Path]:
    return sorted(Path("data/results").iterdir())


def read_only_out() -> Rows:
    (out,) = find_outs()
    return {row["item_id"]: row for row in read_rows(out)}


def test_other_replacements_go_on_with_the_same_out_and_buy_nothing(
    local_server: RunningServer, command: Command, tmp_path: Path
) -> None:
    command("--channels", "split")
    before = read_only_out()
    first, sent = before["0000.wav"]["text"].split()[0], local_server.bill()["requests"]
    pairs = ("--channels", "split", "--glossary", f"{first} -> Kerry")
    quoted = json.loads(command(*pairs, "--quote", "--json"))
    assert (quoted["asks"], quoted["finished"], quoted["out_use"]) == (0, 2, "continued"), quoted
    assert "rows are made again for glossary" in quoted["out_note"]
    assert "rows are made again for glossary" in command(*pairs)
    assert read_only_out()["0000.wav"]["text"].startswith("Kerry")

    (out,) = find_outs()
    command("--channels", "split", "--glossary", f"{first} -> Kerri", "--out", str(out))
    assert read_only_out()["0000.wav"]["text"].startswith("Kerri")
    names = ("--speaker-names", "agent,customer")
    assert "kept from OUT's earlier runs: channels split, glossary" in command(*names)
    rows = read_only_out()
    assert rows["0000.wav"]["text"].startswith("Kerri"), "what is left out is kept"
    assert rows["0000.wav"]["speakers"] == ["agent", "customer"]
    assert [row["request_key"] for row in rows.values()] == [row["request_key"] for row in before.values()]
    assert "rows are made again" not in command(*names)
    assert local_server.bill()["requests"] == sent

    terms = ("--channels", "split", "--glossary", f"Ada, {first} -> Kerri")
    assert "an OUT of its own for glossary" in command(*terms, "--quote")


@pytest.mark.long
def test_an_out_that_an_earlier_program_made_for_names_alone_stays_in_use(
    local_server: RunningServer, command: Command
) -> None:
    command("--channels", "split")
    (base,) = find_outs()
    names = ("--channels", "split", "--speaker-names", "agent")
    older = base.with_name(f"{base.name}-speaker-names-abc123")
    command(*names, "--out", str(older))
    sent = local_server.bill()["requests"]
    assert "an OUT of its own for speaker_names" in command(*names)
    assert "rows are made again for speaker_names" in command("--channels", "split", "--speaker-names", "desk")
    assert local_server.bill()["requests"] == sent
    assert find_outs() == [base, older]


@pytest.mark.long
def test_rows_that_a_stopped_run_left_to_be_made_again_cost_nothing_in_a_quote_and_a_run(
    local_server: RunningServer, command: Command
) -> None:
    command("--channels", "split")
    (out,) = find_outs()
    sent = local_server.bill()["requests"]
    command("--channels", "split", "--speaker-names", "agent", "--limit", "1")
    with closing(sqlite3.connect(out / ".journal" / "journal.sqlite")) as journal:
        assert journal.execute("select count(*) from items where state = 'pending'").fetchall() == [(1,)]
    quoted = json.loads(command("--quote", "--json"))
    assert (quoted["finished"], quoted["asks"], quoted["high_usd"]) == (2, 0, "0")
    command()
    assert [row["speakers"] for row in read_only_out().values()] == [["agent", "channel 2"]] * 2
    again = ("--channels", "split", "--speaker-names", "desk", "--replace")
    replaced = json.loads(command(*again, "--quote", "--json"))
    assert (replaced["asks"], replaced["out_use"]) == (0, "continued")
    command(*again)
    assert [row["speakers"] for row in read_only_out().values()] == [["desk", "channel 2"]] * 2
    assert local_server.bill()["requests"] == sent
    everything = json.loads(command("--replace", "--quote", "--json"))
    assert (everything["asks"], everything["out_use"]) == (2, "replaced"), "without --channels the default is another"


@pytest.mark.long
def test_a_ranking_is_cut_otherwise_without_a_request(
    local_server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("queries.jsonl").write_text(json.dumps({"query": "garden", "documents": ["stone", "garden wall", "bread"]}))
    paid = ("--provider", "together", "--base-url", local_server.origin, "--model", RANKER)
    sizes = []
    for options in ((), ("--top-n", "2"), ("--min-score", "100"), ("--top-n", "1", "--set", "min_score=null")):
        done = mediamill("rerank", "queries.jsonl", *paid, *options, home=tmp_path / "home")
        assert done.returncode == 0, done.stderr
        sizes.append(len(read_only_out()["row-1"]["ranking"]))
    assert sizes == [3, 2, 0, 1]
    assert local_server.bill()["billed"] == 1


@pytest.mark.long
def test_a_chain_goes_on_with_its_out(local_server: RunningServer, command: Command) -> None:
    bought = []
    for params in ({}, {"speaker_names": ["agent", "customer"]}, {"speaker_names": ["desk", "customer"]}, {}):
        task = {"capability": "transcribe", "provider": "together", "base_url": local_server.origin}
        step = {"name": "hear", "task": {**task, "params": {"channels": "split", **params}}}
        Path("chain.yaml").write_text(json.dumps({"source": "in", "steps": [step]}))
        done = mediamill("run", "chain.yaml", "--no-prefect", home=Path("home"))
        assert done.returncode == 0, done.stderr
        bought.append(local_server.bill()["billed"])
    assert bought == [bought[0]] * 4
    (out,) = find_outs()
    assert read_rows(out / "steps" / "01-hear")[0]["speakers"] == ["desk", "customer"], "what is left out is kept"
