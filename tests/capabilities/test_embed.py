"""Embeddings on the command line: batches, order, texts that fail alone, the cost of a crash, the shared journal."""

from __future__ import annotations

import json
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mediamill.flows.cli.main import cli
from mediamill.tasks.errors import UsageError
from mediamill.tasks.local.endpoints.embeddings import embed_text
from tests.capabilities.capability_runs import E5, PRICES, SMALL, run_capability
from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.local_server import RunningServer
from tests.helpers.run_checks import assert_bill_within_ledger_bounds, assert_ledger_equals_bill, assert_no_key_in
from tests.helpers.tiers import mark_rest_long

COUNT = 150
TOKENS = 10
"""Tokens of each of these texts at the server."""


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"engine": "hashing", "price": PRICES}


def random_texts(count: int = COUNT) -> list[str]:
    return [f"text number {n} of a river and a bridge" for n in range(count)]


def write_texts(path: Path, texts: list[str]) -> Path:
    pq.write_table(pa.table({"id": [f"t{n:04d}" for n in range(len(texts))], "text": texts}), path)
    return path


def read_vectors(out: Path) -> list[list[float]]:
    return [row["vector"] for row in sorted(read_rows(out), key=lambda row: int(row["item_index"]))]


@pytest.mark.parametrize(
    ("provider", "model", "size", "max_texts", "truncated"),
    [
        ("together", E5, 1024, 64, False),
        pytest.param("openai", SMALL, 1536, 2048, False, marks=pytest.mark.long),
        pytest.param("compatible", "any", 256, 32, None, marks=pytest.mark.long),
    ],
)
def test_texts_share_requests_and_each_gets_its_own_vector(
    provider: str,
    model: str,
    size: int,
    max_texts: int,
    truncated: bool | None,
    local_server: RunningServer,
    tmp_path: Path,
) -> None:
    out, source = tmp_path / "out", write_texts(tmp_path / "t.parquet", random_texts())
    done = run_capability("embed", source, out, local_server, "--model", model, provider=provider)
    assert done.returncode == 0, done.stderr + done.stdout
    vectors = read_vectors(out)
    np.testing.assert_array_equal(
        np.array(vectors, "float32"), np.array([embed_text(text, size) for text in random_texts()])
    )
    kind = pq.read_table(out / "results").schema.field("vector").type
    assert kind == (pa.list_(pa.float32(), size) if provider != "compatible" else pa.list_(pa.float32()))
    assert {(row["dimensions"], row["truncated"]) for row in read_rows(out)} == {(size, truncated)}
    bill = local_server.bill()
    assert COUNT // max_texts <= bill["billed"] <= -(-COUNT // max_texts) + 3
    if provider == "openai":
        assert_ledger_equals_bill(out, local_server)
        ledger = sum(row["cost_usd"] for row in read_rows(out, "calls"))
        assert abs(sum((row["cost_usd"] for row in read_rows(out)), Decimal(0)) - ledger) < Decimal("1e-9")
    if provider == "together":  # its replies have no usage
        assert {row["cost_basis"] for row in read_rows(out)} == {"estimated"}
        assert sum(row["cost_usd"] for row in read_rows(out, "calls")) >= Decimal(bill["usd"])
    assert_no_key_in(tmp_path, done.stdout, done.stderr)
    rerun = run_capability("embed", source, out, local_server, "--model", model, provider=provider)
    assert (rerun.returncode, local_server.bill()["requests"]) == (0, bill["requests"])


def test_requests_stay_below_the_token_limit(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "t.parquet", [f"{n} " + "word " * 4000 for n in range(40)])
    done = run_capability("embed", source, tmp_path / "out", local_server, "--model", SMALL, provider="openai")
    assert done.returncode == 0, done.stdout
    calls = local_server.bill()["calls"]
    assert all(call["status"] == 200 and call["input_tokens"] <= 300_000 for call in calls)
    assert 3 <= len(calls) <= 6
    assert_ledger_equals_bill(tmp_path / "out", local_server)


def test_a_text_that_is_refused_fails_alone(local_server: RunningServer, tmp_path: Path) -> None:
    texts = random_texts(33)
    texts[7] = "word " * 20_000
    texts[20] = "   "
    done = run_capability(
        "embed",
        write_texts(tmp_path / "t.parquet", texts),
        tmp_path / "out",
        local_server,
        "--model",
        SMALL,
        provider="openai",
    )
    assert done.returncode == 3, done.stderr
    assert [row["item_id"] for row in read_rows(tmp_path / "out")] == [
        f"t{n:04d}" for n in range(33) if n not in (7, 20)
    ]
    failed = {row["item_id"]: row for row in read_rows(tmp_path / "out", "failures")}
    assert "maximum context length" in failed["t0007"]["error_message"]
    assert failed["t0020"]["error_kind"] == "empty"
    assert_ledger_equals_bill(tmp_path / "out", local_server)
    refused_calls = [call for call in local_server.bill()["calls"] if call["status"] == 400]
    assert 1 < len(refused_calls) <= 7


def test_a_truncated_text_is_flagged(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "t.parquet", ["short", "word " * 600, "a" * 1200])
    assert run_capability("embed", source, tmp_path / "out", local_server, "--model", E5).returncode == 0
    assert [row["truncated"] for row in read_rows(tmp_path / "out")] == [False, True, None]


@pytest.mark.long
def test_other_dimensions_or_templates_are_bought_again(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "t.parquet", ["a river", "a bridge"])
    shared = ("--journal", tmp_path / "journal", "--model", SMALL)
    options: list[tuple[str, ...]] = [(), ("--dimensions", "64"), ("--template", "Query: {{ text }}"), ()]
    for n, each in enumerate(options):
        done = run_capability("embed", source, tmp_path / f"o{n}", local_server, *shared, *each, provider="openai")
        assert done.returncode == 0, done.stderr + done.stdout
    assert local_server.bill()["billed"] == 3
    assert [len(read_vectors(tmp_path / f"o{n}")[0]) for n in range(4)] == [1536, 64, 1536, 1536]
    np.testing.assert_array_equal(
        np.array(read_vectors(tmp_path / "o2")[0], "float32"), embed_text("Query: a river", 1536)
    )
    assert {(row["cached"], row["cost_usd"]) for row in read_rows(tmp_path / "o3")} == {(True, Decimal(0))}


@pytest.mark.long
def test_a_row_with_its_own_dimensions_fails(local_server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,dimensions\na river,64\na bridge,\n")
    done = run_capability(
        "embed", tmp_path / "t.csv", tmp_path / "out", local_server, "--model", SMALL, provider="openai"
    )
    assert (done.returncode, local_server.bill()["billed"]) == (3, 1)
    (failed,) = read_rows(tmp_path / "out", "failures")
    assert "vectors of one OUT are of one size" in failed["error_message"]


POINTS = [
    "call.replied.after:2",
    "call.wire.after:2",
    "call.sending.after:3",
    "shard.outcome.after:70",
    "part.rename.after:1",
]


@pytest.mark.parametrize("point", mark_rest_long(POINTS, []))
def test_after_a_kill_no_batch_is_paid_twice(point: str, local_server: RunningServer, tmp_path: Path) -> None:
    out, source = tmp_path / "out", write_texts(tmp_path / "t.parquet", random_texts(320))
    options = ("--model", "any", "--concurrency", "2")
    killed = run_capability(
        "embed", source, out, local_server, *options, provider="compatible", MEDIAMILL_FAULTS=f"{point}:kill"
    )
    assert killed.returncode == -signal.SIGKILL
    before = local_server.bill()
    done = run_capability("embed", source, out, local_server, *options, provider="compatible")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(
        np.array(read_vectors(out), "float32"), np.array([embed_text(text, 256) for text in random_texts(320)])
    )
    paid_texts = [call["input_tokens"] // TOKENS for call in local_server.bill()["calls"] if call["billed"]]
    assert sum(paid_texts) <= 320 + 2 * 32, (
        before,
        paid_texts,
    )  # twice only what was in flight: 2 requests of 32 texts
    assert len(paid_texts) <= 10 + 2 + 2, (before, paid_texts)


@pytest.mark.long
@pytest.mark.parametrize("point", ["call.replied.after:2", "call.sending.after:2"])
def test_after_a_kill_the_bill_is_within_the_ledgers_bounds(
    point: str, local_server: RunningServer, tmp_path: Path
) -> None:
    out, source = (
        tmp_path / "out",
        write_texts(tmp_path / "t.parquet", [f"{n} " + "word " * 4000 for n in range(60)]),
    )
    options = ("--model", SMALL, "--concurrency", "1")
    killed = run_capability(
        "embed", source, out, local_server, *options, provider="openai", MEDIAMILL_FAULTS=f"{point}:kill"
    )
    assert killed.returncode == -signal.SIGKILL
    assert run_capability("embed", source, out, local_server, *options, provider="openai").returncode == 0
    assert len(read_rows(out)) == 60
    assert_bill_within_ledger_bounds(out, local_server.bill()["usd"])


@pytest.mark.long
@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 503}, {"kind": "bad_json"}, {"kind": "reset_mid_body"}, {"kind": "wrong_type"}],
)
def test_a_broken_reply_is_requested_again(
    fault: dict[str, object], local_server: RunningServer, tmp_path: Path
) -> None:
    local_server.faults({"match": {"nth": 1}, "fault": fault})
    source = write_texts(tmp_path / "t.parquet", random_texts(40))
    done = run_capability("embed", source, tmp_path / "out", local_server, "--model", SMALL, provider="openai")
    assert done.returncode in ((0, 3) if fault["kind"] == "wrong_type" else (0,)), done.stdout
    assert_bill_within_ledger_bounds(tmp_path / "out", local_server.bill()["usd"])


@pytest.mark.long
def test_the_built_in_provider_embeds_lines_of_stdin(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / "in" / f"{n}.txt").parent.mkdir(exist_ok=True)
        (tmp_path / "in" / f"{n}.txt").write_text(f"a river {n}")
    out = tmp_path / "out"
    options = ("--provider", "local", "--dimensions", "32", "--out", out, "--yes", "--json")
    done = mediamill("embed", tmp_path / "in", *options, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 3
    np.testing.assert_array_equal(np.array(read_vectors(out)[2], "float32"), embed_text("a river 2", 32))
    written = mediamill("export", out, "--to", tmp_path / "v.parquet", "--columns", "vector", home=tmp_path / "home")
    assert written.returncode == 0, written.stderr
    assert pq.read_table(tmp_path / "v.parquet").schema.field("vector").type == pa.list_(pa.float32(), 32)


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (("--model", "nosuch"), "unknown model 'nosuch'", "known: hashing, use"),
        (("--model", "use", "--dimensions", "64"), "use has vectors of 512 numbers, not 64", "leave --dimensions out"),
    ],
)
def test_what_no_built_in_model_can_do_is_refused_before_the_run(
    options: tuple[str, ...], message: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediamill.tasks.providers.local.find_embedding_weights", lambda: None)
    (tmp_path / "t.csv").write_text("text\na river\n")
    command = ["embed", str(tmp_path / "t.csv"), "--provider", "local", *options, "--out", str(tmp_path / "out")]
    with pytest.raises(UsageError, match=message) as refused:
        cli.main(command, standalone_mode=False)
    assert refused.value.hint == hint
    assert not (tmp_path / "out").exists()
