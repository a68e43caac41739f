"""mediamill list: the OUTs there are, the latest first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mediamill.tasks.engine import Engine
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.out.listing import list_outs
from mediamill.tasks.out.status import read_status
from mediamill.tasks.run.run import Run
from tests.helpers.cli_runs import mediamill


def test_without_any_out_it_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a folder").mkdir()
    done = mediamill("list", home=tmp_path / "home")
    assert (done.returncode, done.stdout) == (0, "no OUT in data/results, nor in the working folder\n")
    assert json.loads(mediamill("list", "--json", home=tmp_path / "home").stdout) == []


@pytest.mark.long
def test_outs_and_chains_are_listed_latest_first_and_what_cannot_be_read_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    Path("texts.csv").write_text("text\na stone\na garden\n")
    step = {"task": {"capability": "embed", "provider": "local"}}
    steps = [{"name": "near", **step}, {"name": "far", "parallel": {"one": step["task"], "two": step["task"]}}]
    Path("chain.yaml").write_text(yaml.safe_dump({"source": "texts.csv", "steps": steps}))
    for command in (
        ("embed", "texts.csv", "--provider", "local"),
        ("run", "chain.yaml"),
        ("embed", "texts.csv", "--provider", "local", "--out", "here"),
    ):
        done = mediamill(*command, "--no-prefect", home=home)
        assert done.returncode == 0, done.stderr
    Path("broken/.journal").mkdir(parents=True)
    Path("broken/.journal/journal.sqlite").write_text("not a journal")
    listed = json.loads(mediamill("list", "--json", home=home).stdout)
    assert [each["capability"] for each in listed] == ["embed", "chain", "embed", None]
    here, chain, default, broken = listed
    assert (here["out"], here["items"], here["done"], here["spent_usd"]) == ("here", 2, 2, "0")
    assert (chain["items"], chain["state"], chain["provider"]) == (6, "done", None)
    assert default["source"] == str(tmp_path / "texts.csv")
    assert broken["problem"]
    table = mediamill("list", home=home).stdout.splitlines()
    assert [line.split()[0] for line in table[1:4]] == [each["out"] for each in listed[:3]]
    assert "unreadable" in table[4]
    assert broken["problem"] in table[5]
    assert len(json.loads(mediamill("list", "data/results", "--json", home=home).stdout)) == 2


def test_an_out_that_is_done_stays_done_when_a_run_finds_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("text\na stone\na garden\n")
    out = tmp_path / "outs" / "near"
    job = make_job(capability="embed", source=str(tmp_path / "texts.csv"), provider="local", out=str(out))
    try:
        states = [Run(job).execute().state, Run(job).execute().state]
    finally:
        Engine.stop_shared()
    assert states == ["done", "nothing"]
    assert [each.state for each in list_outs([out.parent])] == ["done"] == [read_status(out).last_state]
