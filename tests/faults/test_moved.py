"""A forgotten ``--journal``, a moved source and a copied OUT, on the command line: nothing is bought again."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer


@pytest.fixture
def thirty_recordings(tmp_path: Path) -> Path:
    make_wavs(tmp_path / "thirty", 30)
    return tmp_path / "thirty"


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": ["openai/whisper-large-v3=0.0015"]}


@pytest.mark.long
def test_a_killed_run_goes_on_without_the_option_and_buys_nothing_again(
    thirty_recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    out, origin, home = tmp_path / "out", local_server.origin, tmp_path / "home"
    fault = {"MEDIAMILL_FAULTS": "call.replied.after:20:kill"}
    killed = transcribe(thirty_recordings, out, origin, "--journal", str(tmp_path / "J"), env=fault)
    assert killed.returncode == -signal.SIGKILL
    assert transcribe(thirty_recordings, out, origin).returncode == 0
    bill = local_server.bill()
    paid = [key for row in read_rows(out, "calls") if row["outcome"] == "replied" for key in row["request_keys"]]
    assert len(paid) == len(set(paid)) == 30, "no request has two answers"
    unknown = sum(row["outcome"] == "unknown" for row in read_rows(out, "calls"))
    assert 30 <= bill["requests"] <= 30 + unknown, "a request that the kill cut off may never have left"
    assert not (out / ".journal" / "journal.sqlite").exists()
    for command in (("status", out), ("report", out), ("explain", out, "0001"), ("retry", out, "--yes")):
        found = mediamill(*command, home=home)
        assert found.returncode == 0, found.stderr
    assert transcribe(thirty_recordings, out, origin, "--journal", str(tmp_path / "K")).returncode == 2
    assert not (tmp_path / "K").exists()
    assert local_server.bill()["requests"] == bill["requests"]


@pytest.mark.long
def test_a_moved_source_goes_on_with_moved_and_buys_nothing_again(
    thirty_recordings: Path, local_server: RunningServer, tmp_path: Path
) -> None:
    source, moved, out, origin = tmp_path / "in", tmp_path / "moved", tmp_path / "out", local_server.origin
    shutil.copytree(thirty_recordings, source)
    assert transcribe(source, out, origin, "--limit", "20").returncode == 0
    source.rename(moved)
    refused = transcribe(moved, out, origin)
    assert refused.returncode == 2
    assert f"mediamill transcribe {moved} --out {out} --moved" in refused.stderr
    (tmp_path / "wrong").mkdir()
    shutil.copy(moved / "0001.wav", tmp_path / "wrong" / "unknown.wav")
    wrong = transcribe(tmp_path / "wrong", out, origin, "--moved")
    assert (wrong.returncode, "none of its items" in wrong.stderr) == (2, True)
    assert local_server.bill()["requests"] == 20
    options = ("--provider", "together", "--base-url", origin, "--out", out, "--moved", "--json")
    quoted = mediamill("quote", moved, *options, home=tmp_path / "home")
    assert [json.loads(quoted.stdout)[name] for name in ("items", "finished", "asks")] == [30, 20, 10]
    assert transcribe(moved, out, origin, "--moved").returncode == 0
    assert transcribe(moved, out, origin).returncode == 0, "from then on it is OUT's source"
    assert local_server.bill()["requests"] == 30
    assert len(read_rows(out)) == 30
    assert sum(row["cost_usd"] for row in read_rows(out, "calls")) == Decimal(local_server.bill()["usd"])


@pytest.mark.long
def test_a_copied_out_is_told_by_status_and_refused_by_a_run(tmp_path: Path) -> None:
    texts, home = tmp_path / "texts.csv", tmp_path / "home"
    with texts.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], ["a", "one"], ["b", "two"]])
    command = ("speak", texts, "--provider", "local", "--no-prefect", "--json")
    assert mediamill(*command, "--out", tmp_path / "out", home=home).returncode == 0
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    status = mediamill("status", tmp_path / "copy", home=home)
    assert f"a copy of {tmp_path / 'out'}" in status.stdout
    assert json.loads(mediamill("status", tmp_path / "out", "--json", home=home).stdout)["copy_of"] is None
    refused = mediamill(*command, "--out", tmp_path / "copy", home=home)
    assert (refused.returncode, "--copied" in refused.stderr) == (2, True)
    own = mediamill(*command, "--out", tmp_path / "copy", "--copied", home=home)
    assert (own.returncode, json.loads(own.stdout)["calls"]) == (0, 0)
    assert [row["cached"] for row in read_rows(tmp_path / "copy")] == [True, True]
    assert (read_rows(tmp_path / "copy", "calls"), len(read_rows(tmp_path / "out", "calls"))) == ([], 2)
    assert mediamill(*command, "--out", tmp_path / "copy", home=home).returncode == 0


@pytest.mark.parametrize("flag", ["--moved", "--copied"])
def test_which_out_was_moved_or_copied_must_be_named(flag: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    refused = mediamill("speak", tmp_path, "--provider", "local", flag, "--no-prefect", home=tmp_path / "home")
    assert (refused.returncode, "--out" in refused.stderr) == (2, True)
