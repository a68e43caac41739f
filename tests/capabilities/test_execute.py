"""Code on the command line: sessions, files in and out, and the cost of a crash and of an ended session."""

from __future__ import annotations

import json
import random
import signal
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.capabilities.capability_runs import PRICES, run_capability
from tests.helpers.cli_runs import SENTINEL, mediamill, read_rows
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.run_checks import assert_bill_within_ledger_bounds, assert_ledger_equals_bill, assert_no_key_in
from tests.helpers.sandbox import needs_sandbox
from tests.helpers.tiers import mark_rest_long

pytestmark = needs_sandbox
KEY_ENV = "CODE_SERVER_TOKEN"
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"engine": "python", "price": PRICES, "allow_local_code": True, "cell_seconds": 2, "key_env": KEY_ENV}


@pytest.fixture(autouse=True, scope="module")
def server_token() -> Iterator[None]:
    """The token of servers that may run code, which the runs send as their key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_ENV, SENTINEL)
        yield


def write_cells(path: Path, *cells: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps({"id": f"c{n:03d}", **cell}) for n, cell in enumerate(cells)))
    return path


def read_results(out: Path) -> list[dict[str, Any]]:
    return sorted(read_rows(out), key=lambda row: int(row["item_index"]))


def list_sessions(server: RunningServer) -> dict[str, int]:
    """The server's sessions, and how many cells each has run."""
    key = {"Authorization": f"Bearer {SENTINEL}"}
    with urllib.request.urlopen(urllib.request.Request(f"{server.origin}/together/tci/sessions", headers=key)) as reply:
        return {one["id"]: one["execute_count"] for one in json.load(reply)["data"]["sessions"]}


def test_rows_of_a_session_share_variables_and_pay_for_one_session(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_cells(
        tmp_path / "c.jsonl",
        {"code": "x = 1", "session": "a"},
        {"code": "x = 100", "session": "b"},
        {"code": "x += 1\nprint(x)", "session": "a"},
        {"code": "x += 1\nprint(x)", "session": "a"},
        {"code": "x += 1\nprint(x)", "session": "b"},
        {"code": "1/0", "session": "a"},
        {"code": "x", "session": "a"},
        {"code": "x"},
    )
    done = run_capability("execute", source, tmp_path / "out", local_server)
    assert done.returncode == 0, done.stderr + done.stdout
    rows = read_results(tmp_path / "out")
    assert [row["stdout"] for row in rows] == [None, None, "2\n", "3\n", "101\n", None, None, None]
    assert [row["ok"] for row in rows] == [True] * 5 + [False, True, False]
    assert (rows[6]["result"], "ZeroDivisionError" in rows[5]["error"], "NameError" in rows[7]["error"]) == (
        "3", True, True,
    )  # fmt: skip
    counts = list_sessions(local_server)
    assert sorted(counts[name] for name in {row["session_id"] for row in rows}) == [1, 2, 5]
    bill = local_server.bill()
    assert (bill["requests"], Decimal(bill["usd"])) == (8, Decimal("0.09"))
    assert_ledger_equals_bill(tmp_path / "out", local_server)
    assert sum(row["cost_usd"] for row in rows) == Decimal("0.09")
    assert_no_key_in(tmp_path, done.stdout, done.stderr)
    rerun = run_capability("execute", source, tmp_path / "out", local_server)
    assert (rerun.returncode, local_server.bill()["requests"]) == (0, 8)


@pytest.mark.long
def test_rows_of_a_session_run_in_order_however_long_their_files_take(
    local_server: RunningServer, tmp_path: Path
) -> None:
    rng = random.Random(1)
    paths = [tmp_path / f"f{n}.bin" for n in range(2)]
    for path, size in zip(paths, (3_000_000, 10), strict=True):
        path.write_bytes(bytes(size))
    cells = [
        {
            "code": f"seen = [*globals().get('seen', []), {n}]\nprint(seen)",
            "session": "a",
            "files": [str(rng.choice(paths))],
        }
        for n in range(24)
    ]
    done = run_capability("execute", write_cells(tmp_path / "c.jsonl", *cells), tmp_path / "out", local_server)
    assert done.returncode == 0, done.stderr
    assert read_results(tmp_path / "out")[-1]["stdout"] == f"{list(range(24))}\n"


@pytest.mark.long
def test_a_cell_reads_files_and_returns_images(local_server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a\n7\n")
    code = (
        "import base64\n"
        "class P:\n    def _repr_png_(self): return base64.b64decode('" + PICTURE + "')\n"
        "display(P())\nprint(open('data.csv').read().split()[1])"
    )
    source = write_cells(tmp_path / "c.jsonl", {"code": code, "files": [str(tmp_path / "data.csv")]})
    done = run_capability("execute", source, tmp_path / "out", local_server)
    assert done.returncode == 0, done.stderr
    (row,) = read_rows(tmp_path / "out")
    assert (row["ok"], row["stdout"]) == (True, "7\n")
    (image,) = [output for output in row["outputs"] if output["mime"] == "image/png"]
    assert (image["type"], image["text"], image["file"][-4:]) == ("display_data", None, ".png")
    assert (tmp_path / "out" / image["file"]).read_bytes().startswith(b"\x89PNG")
    missing = write_cells(tmp_path / "m.jsonl", {"code": "1", "files": ["at.all"]})
    assert run_capability("execute", missing, tmp_path / "no", local_server).returncode == 3
    assert read_rows(tmp_path / "no", "failures")[0]["error_kind"] == "unreadable"


@pytest.mark.long
def test_pictures_of_a_cell_run_nothing_when_they_are_opened(local_server: RunningServer, tmp_path: Path) -> None:
    namespace = 'xmlns="http://www.w3.org/2000/svg"'
    good = f'<svg {namespace} onload="alert(1)"><script>alert(1)</script><circle r="4"/></svg>'
    pages = [f'<svg {namespace}><image href="https://evil.example/x"/></svg>', "<html><script>alert(1)</script></html>"]
    code = "class P:\n    def __init__(self, svg): self.svg = svg\n    def _repr_svg_(self): return self.svg\n"
    cells = [{"code": f"{code}P({svg!r})"} for svg in (good, *pages)]
    source = write_cells(tmp_path / "c.jsonl", *cells)
    done = run_capability("execute", source, tmp_path / "out", local_server)
    assert done.returncode == 0, done.stderr
    outputs = [output for row in read_results(tmp_path / "out") for output in row["outputs"]]
    first, *others = [output for output in outputs if output["mime"] == "image/svg+xml"]
    saved = (tmp_path / "out" / first["file"]).read_text()
    assert first["file"].endswith(".svg")
    assert "<circle" in saved
    assert "alert" not in saved
    assert [(output["file"], output["text"]) for output in others] == [(None, page) for page in pages]
    assert len(list((tmp_path / "out" / "media").iterdir())) == 1


@pytest.mark.long
def test_a_cell_that_runs_too_long_fails_and_ends_its_session(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_cells(
        tmp_path / "c.jsonl",
        {"code": "x = 1", "session": "a"},
        {"code": "while True: pass", "session": "a"},
        {"code": "x", "session": "a"},
        {"code": "x + 1", "session": "a"},
        {"code": "2 + 2"},
    )
    done = run_capability("execute", source, tmp_path / "out", local_server)
    assert done.returncode == 3, done.stdout
    rows = read_results(tmp_path / "out")
    assert [(row["item_id"], row["ok"]) for row in rows] == [("c000", True), ("c001", False), ("c004", True)]
    assert "longer than 2 s" in rows[1]["error"]
    assert {row["error_kind"] for row in read_rows(tmp_path / "out", "failures")} == {"session_lost"}
    assert_ledger_equals_bill(tmp_path / "out", local_server)


@pytest.mark.long
def test_two_outs_share_a_journal_but_not_a_session(local_server: RunningServer, tmp_path: Path) -> None:
    shared = ("--journal", tmp_path / "journal")
    first = write_cells(
        tmp_path / "1.jsonl", {"code": "x = 1", "session": "a"}, {"code": "x = 5", "session": "a"}, {"code": "6*7"}
    )
    second = write_cells(
        tmp_path / "2.jsonl", {"code": "x = 1", "session": "a"}, {"code": "x", "session": "a"}, {"code": "6*7"}
    )
    assert run_capability("execute", first, tmp_path / "one", local_server, *shared).returncode == 0
    assert run_capability("execute", second, tmp_path / "two", local_server, *shared).returncode == 0
    rows = read_results(tmp_path / "two")
    assert [(row["result"], row["cached"]) for row in rows] == [(None, False), ("1", False), ("42", True)]
    assert Decimal(local_server.bill()["usd"]) == Decimal("0.03") * 3
    assert_both_ledgers_equal_bill(tmp_path, local_server)


def assert_both_ledgers_equal_bill(folder: Path, server: RunningServer) -> None:
    ledger = sum(row["cost_usd"] for name in ("one", "two") for row in read_rows(folder / name, "calls"))
    assert ledger == Decimal(server.bill()["usd"])


@pytest.mark.parametrize("point", mark_rest_long(["call.replied.after:4", "shard.outcome.before:4"], []))
def test_a_kill_in_a_session_runs_no_cell_twice(point: str, local_server: RunningServer, tmp_path: Path) -> None:
    cells = [{"code": f"x = globals().get('x', 0) + 1\nprint(x, {n})", "session": "a"} for n in range(8)]
    source = write_cells(tmp_path / "c.jsonl", *cells)
    killed = run_capability("execute", source, tmp_path / "out", local_server, MEDIAMILL_FAULTS=f"{point}:kill")
    assert killed.returncode == -signal.SIGKILL
    done = run_capability("execute", source, tmp_path / "out", local_server)
    assert done.returncode == 0, done.stderr + done.stdout
    assert [row["stdout"] for row in read_results(tmp_path / "out")] == [f"{n + 1} {n}\n" for n in range(8)]
    bill = local_server.bill()
    assert (bill["requests"], bill["usd"]) == (8, "0.03")
    assert_ledger_equals_bill(tmp_path / "out", local_server)


@pytest.mark.long
def test_a_kill_before_the_answer_is_reported_and_not_run_again_without_retry(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source = write_cells(tmp_path / "c.jsonl", *({"code": f"print({n})", "session": "a"} for n in range(4)))
    killed = run_capability(
        "execute", source, tmp_path / "out", local_server, MEDIAMILL_FAULTS="call.wire.after:2:kill"
    )
    assert killed.returncode == -signal.SIGKILL
    done = run_capability("execute", source, tmp_path / "out", local_server)
    assert done.returncode == 3
    (failed,) = read_rows(tmp_path / "out", "failures")
    assert (failed["item_id"], failed["error_kind"]) == ("c001", "unknown")
    assert_bill_within_ledger_bounds(tmp_path / "out", local_server.bill()["usd"])
    retried = mediamill("retry", tmp_path / "out", "--only", "unknown", "--yes", home=tmp_path / "home")
    assert retried.returncode == 0, retried.stderr + retried.stdout
    assert [row["stdout"] for row in read_results(tmp_path / "out")] == [f"{n}\n" for n in range(4)]


@pytest.mark.long
def test_an_ended_session_is_restored_cell_by_cell(tmp_path: Path) -> None:
    lines = [
        {"code": "x = 1\nprint('again')", "session": "a"},
        {"code": "y = 5\nraise ValueError(y)", "session": "a"},
        {"code": "x += 1", "session": "a"},
        {"code": "print(x, y)", "session": "a"},
    ]
    with running_server(
        engine="python", price=PRICES, allow_local_code=True, session_seconds=3, key_env=KEY_ENV
    ) as server:
        done = run_capability("execute", write_cells(tmp_path / "c.jsonl", *lines[:3]), tmp_path / "out", server)
        assert done.returncode == 0, done.stderr
        while list_sessions(server):  # until it has expired
            mediamill("status", tmp_path / "out", home=tmp_path / "home")
        done = run_capability("execute", write_cells(tmp_path / "c.jsonl", *lines), tmp_path / "out", server)
        assert done.returncode == 0, done.stderr + done.stdout
        rows = read_results(tmp_path / "out")
        assert [row["stdout"] for row in rows] == ["again\n", None, None, "2 5\n"]
        assert len({row["session_id"] for row in rows}) == 2
        assert Decimal(server.bill()["usd"]) == Decimal("0.06")
        assert_ledger_equals_bill(tmp_path / "out", server)


def test_code_runs_on_this_machine_only_with_permission(tmp_path: Path) -> None:
    options = ("--provider", "local", "--out", tmp_path / "out", "--yes")
    two = [{"code": "x = 20", "session": "a"}, {"code": "x + 1", "session": "a"}]
    source = write_cells(tmp_path / "c.jsonl", *two)
    refused = mediamill("execute", source, *options, home=tmp_path / "home")
    assert (refused.returncode, "--allow-local-code" in refused.stderr) == (2, True)
    secret = {"SECRET_TOKEN": "do-not-tell"}
    done = mediamill("execute", source, *options, "--allow-local-code", home=tmp_path / "home", env=secret)
    assert done.returncode == 0, done.stderr + done.stdout
    assert [row["result"] for row in read_results(tmp_path / "out")] == [None, "21"]
    assert {row["cost_basis"] for row in read_rows(tmp_path / "out")} == {"free"}
    write_cells(source, *two, {"code": "import os; (x, os.environ.get('SECRET_TOKEN'))", "session": "a"})
    more = mediamill("execute", source, *options, "--allow-local-code", home=tmp_path / "home", env=secret)
    assert more.returncode == 0, more.stderr + more.stdout
    assert read_results(tmp_path / "out")[-1]["result"] == "(20, None)"


def test_a_quote_counts_sessions(local_server: RunningServer, tmp_path: Path) -> None:
    cells = [*({"code": "1", "session": name} for name in "aab"), {"code": "2"}]
    done = run_capability(
        "execute", write_cells(tmp_path / "c.jsonl", *cells), tmp_path / "out", local_server, "--quote", "--json"
    )
    assert Decimal(json.loads(done.stdout)["high_usd"]) == Decimal("0.09")
    assert local_server.bill()["requests"] == 0
