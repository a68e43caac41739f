"""What costs money is confirmed: by a budget, by --yes, in the job, or by a person who is asked."""

from __future__ import annotations

import io
import json
import logging
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import mediamill as package
from mediamill.tasks.run.quote_text import format_quote
from mediamill.tasks.sources.stdin import keep_stdin
from tests.helpers.cli_runs import make_wavs, mediamill
from tests.helpers.local_server import RunningServer

KEY = {"OPENAI_API_KEY": "of-nobody", "TOGETHER_API_KEY": ""}
TEXTS = 3


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "openai"}


def run(folder: Path, server: RunningServer, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Embed three texts where nobody can be asked."""
    source = folder / "texts.csv"
    source.write_text("\n".join(["text", *(f"text {n}" for n in range(TEXTS))]))
    where = ["--provider", "openai", "--base-url", f"{server.origin}/openai-api", "--no-prefect"]
    arguments: list[str | Path] = ["embed", source, *where, "--out", folder / "out", *options]
    return mediamill(*arguments, home=folder / "home", env={**KEY, **environment}, confirmed=False)


def test_a_paid_run_that_nobody_confirmed_is_refused_and_names_both_ways(
    tmp_path: Path, local_server: RunningServer
) -> None:
    local_server.reset()
    done = run(tmp_path, local_server)
    assert done.returncode == 2
    assert "quote: openai, text-embedding-3-small: 3 items to do, cost $" in done.stderr
    assert "--budget USD" in done.stderr
    assert "--yes" in done.stderr
    assert local_server.bill()["requests"] == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "limit"), [(("--yes",), "no budget limits it"), (("--budget", "2"), "budget $2.00")]
)
def test_a_confirmed_run_shows_its_quote_and_its_limit(
    options: tuple[str, ...], limit: str, tmp_path: Path, local_server: RunningServer
) -> None:
    done = run(tmp_path, local_server, *options, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("quote: ")
    assert line.endswith(limit)
    assert json.loads(done.stdout)["done"] == TEXTS


@pytest.mark.long
def test_the_log_of_a_run_has_its_quote_and_a_rerun_without_work_needs_no_yes(
    tmp_path: Path, local_server: RunningServer
) -> None:
    done = run(tmp_path, local_server, "--yes", "--log-json")
    assert any(json.loads(line)["message"].startswith("quote: ") for line in done.stderr.splitlines())
    again = run(tmp_path, local_server)
    assert (again.returncode, "0 items to do" in again.stderr) == (0, True)


@pytest.mark.long
def test_a_server_of_this_machine_that_gets_no_key_is_never_asked_about(
    tmp_path: Path, local_server: RunningServer
) -> None:
    done = run(tmp_path, local_server, OPENAI_API_KEY="")
    assert done.returncode == 0, done.stderr
    assert "quote" not in done.stderr


@pytest.mark.long
def test_a_job_and_a_chain_may_confirm_themselves(tmp_path: Path, local_server: RunningServer) -> None:
    task = f"capability: embed, provider: openai, base_url: {local_server.origin}/openai-api"
    (tmp_path / "texts.csv").write_text("text\na stone\n")
    job, chain = tmp_path / "job.yaml", tmp_path / "chain.yaml"
    job.write_text(f"{{source: {tmp_path / 'texts.csv'}, out: {tmp_path / 'out'}, {task}}}")
    steps = f"steps: [{{name: near, task: {{{task}}}}}]"
    chain.write_text(f"{{source: {tmp_path / 'texts.csv'}, out: {tmp_path / 'chain'}, {steps}}}")
    for file in (job, chain):
        for confirmed, code in (("", 2), (", confirmed: true", 0)):
            text = file.read_text()
            file.write_text(text.removesuffix("}") + confirmed + "}")
            done = mediamill("run", file, "--no-prefect", home=tmp_path / "home", env=KEY, confirmed=False)
            assert done.returncode == code, done.stderr
            assert "quote: openai" in done.stderr
            assert ("--budget USD" in done.stderr) == bool(code)


@pytest.mark.long
def test_a_retry_that_costs_money_is_confirmed_and_its_consent_is_not_stored(
    tmp_path: Path, local_server: RunningServer
) -> None:
    local_server.reset()
    local_server.faults({"fault": {"kind": "status", "status": 400}})
    assert run(tmp_path, local_server, "--yes").returncode == 3
    command = ("retry", tmp_path / "out", "--no-prefect")
    refused = mediamill(*command, home=tmp_path / "home", env=KEY, confirmed=False)
    assert refused.returncode == 2
    assert f"quote: openai, text-embedding-3-small: {TEXTS} items to do, cost $" in refused.stderr
    quoted = mediamill(*command, "--quote", "--json", home=tmp_path / "home", env=KEY, confirmed=False)
    prices = json.loads(quoted.stdout)
    assert (prices["items"], prices["finished"], prices["out_use"]) == (TEXTS, 0, "continued")
    assert 0 < Decimal(prices["low_usd"]) <= Decimal(prices["high_usd"])
    local_server.faults()
    assert mediamill(*command, home=tmp_path / "home", env=KEY).returncode == 0


@pytest.mark.long
def test_a_call_from_python_is_consent_and_its_quote_is_logged(
    tmp_path: Path, local_server: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "of-nobody")
    monkeypatch.setattr(logging.getLogger("mediamill"), "propagate", True)
    (tmp_path / "texts.csv").write_text("text\na stone\n")
    address = f"{local_server.origin}/openai-api"
    with caplog.at_level(logging.INFO, logger="mediamill.run"):
        run_handle = package.run(
            "embed", tmp_path / "texts.csv", provider="openai", base_url=address, out=str(tmp_path / "out")
        )
    assert run_handle.summary.done == 1
    (record,) = [record for record in caplog.records if getattr(record, "event", "") == "quote"]
    assert record.getMessage().startswith("quote: openai, text-embedding-3-small: 1 item to do, cost $")


def test_a_quote_of_files_that_are_new_prices_them_and_says_that_a_run_waits(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_wavs(tmp_path / "in", 2)
    quoted = package.quote("transcribe", tmp_path / "in", provider="local", settle=600, out=str(tmp_path / "out"))
    assert (quoted.items, quoted.not_taken.unsettled) == (2, 0)
    assert 500 < quoted.wait_seconds <= 600
    assert "a run waits" in format_quote(quoted)


def test_a_list_on_stdin_is_read_by_the_quote_and_again_by_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\n")))
    with keep_stdin(is_read=True):
        assert sys.stdin.buffer.read() == b"one\ntwo\n"
    assert sys.stdin.buffer.read() == b"one\ntwo\n"
