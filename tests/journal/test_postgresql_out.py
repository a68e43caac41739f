"""OUTs whose journal is on PostgreSQL: it cannot be forgotten, and it mends their files."""

from __future__ import annotations

import json
import shutil
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from mediamill.tasks.journal.db_errors import to_storage_error
from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer
from tests.journal.stores import create_schema, drop_schema


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": ["openai/whisper-large-v3=0.0015"]}


@pytest.mark.long
def test_a_journal_on_a_server_is_remembered_and_mends_what_is_damaged(
    postgresql_server: str, local_server: RunningServer, tmp_path: Path
) -> None:
    schema, url = create_schema(postgresql_server)
    out, origin, home = tmp_path / "out", local_server.origin, tmp_path / "home"
    make_wavs(tmp_path / "in", 12)
    fault = {"MEDIAMILL_FAULTS": "call.replied.after:6:kill"}
    killed = transcribe(tmp_path / "in", out, origin, "--concurrency", "2", "--journal", url, env=fault)
    assert killed.returncode == -signal.SIGKILL
    assert transcribe(tmp_path / "in", out, origin).returncode == 0
    answered = [key for row in read_rows(out, "calls") if row["outcome"] == "replied" for key in row["request_keys"]]
    assert len(answered) == len(set(answered)) == 12
    before, bill = read_rows(out, "calls"), local_server.bill()["requests"]
    assert bill <= len(before)
    for kind in ("calls", "results"):
        for part in (out / kind).iterdir():
            part.write_bytes(bytes(part.stat().st_size))
    found = mediamill("report", out, "--verify", "--json", home=home)
    assert (found.returncode, len(json.loads(found.stdout)["findings"])) == (0, 3), found.stderr
    assert read_rows(out, "calls") == before
    shutil.copytree(out, tmp_path / "copy")
    assert "is a copy of" in transcribe(tmp_path / "in", tmp_path / "copy", origin).stderr
    assert transcribe(tmp_path / "in", tmp_path / "copy", origin, "--copied").returncode == 0
    assert [row["cost_usd"] for row in read_rows(tmp_path / "copy")] == [Decimal(0)] * 12
    assert local_server.bill()["requests"] == bill
    drop_schema(postgresql_server, schema)


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("fe_sendauth: no password supplied", "PGPASSWORD"),
        ('password authentication failed for user "me"', "PGPASSWORD"),
        ("Connection refused", "nothing is lost"),
    ],
)
def test_a_server_that_wants_a_password_is_told_where_it_comes_from(reason: str, hint: str) -> None:
    error = to_storage_error(OperationalError("connect", None, Exception(f"connection failed: {reason}")), "where")
    assert error is not None
    assert hint in str(error)


@pytest.mark.long
def test_several_processes_share_a_journal_on_a_server(
    postgresql_server: str, local_server: RunningServer, tmp_path: Path
) -> None:
    schema, url = create_schema(postgresql_server)
    make_wavs(tmp_path / "in", 40, twins=10)
    options = ("--journal", url, "--processes", "2", "--shard-size", "10", "--json")
    run = transcribe(tmp_path / "in", tmp_path / "out", local_server.origin, *options)
    assert run.returncode == 0, run.stderr
    summary = json.loads(run.stdout)
    assert (summary["done"], summary["cached"], local_server.bill()["requests"]) == (40, 10, 30)
    assert Decimal(summary["cost_usd"]) == Decimal(local_server.bill()["usd"])
    assert len(read_rows(tmp_path / "out")) == 40
    drop_schema(postgresql_server, schema)
