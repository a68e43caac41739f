"""Columns keep their names, types and order: the schemas equal those of parts that commit 0534147 wrote."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mediamill.tasks.domain import Answer, Cost, Failure, Item, Usage
from mediamill.tasks.sinks import failures, results
from mediamill.tasks.sinks.calls import CALLS_SCHEMA, to_call_row
from mediamill.tasks.sinks.failures import FailedItem, build_failures_schema, to_failure_row
from mediamill.tasks.sinks.json_to_arrow import to_table
from mediamill.tasks.sinks.results import CompletedItem, build_results_schema, to_result_row
from mediamill.tasks.sinks.schema import COST_AS_FLOAT, MONEY, Column
from tests.journal.version_1 import unpack_archive

ITEM = Item("a.wav", 3, "in/a.wav", row={"topic": "x"})


@pytest.fixture(scope="module")
def version_1_outs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack_archive(tmp_path_factory.mktemp("version_1") / "v1")


def read_part_schema(out: Path, kind: str) -> pa.Schema:
    (part,) = (out / kind).glob("part-*.parquet")
    schema: pa.Schema = pq.read_schema(part)
    return schema


@pytest.mark.parametrize("out", ["transcribe", "caption", "embed", "speak", "images", "paid"])
def test_results_begin_with_the_columns_of_version_1(out: str, version_1_outs: Path) -> None:
    common = build_results_schema(pa.schema([]), pa.schema([]))
    stored = read_part_schema(version_1_outs / out, "results")
    older = pa.schema([field for field in common if field.name != COST_AS_FLOAT])
    assert pa.schema([stored.field(n) for n in range(len(older))]).equals(older)


def test_a_manifests_columns_come_last(version_1_outs: Path) -> None:
    stored = read_part_schema(version_1_outs / "embed", "results")
    assert stored.names[-1] == "in_topic"
    assert (
        stored.field("in_topic").type
        == build_results_schema(pa.schema([]), pa.schema([("topic", pa.string())]))[-1].type
    )


_CALLS_COLUMNS_SINCE = {"error_message", COST_AS_FLOAT}


def test_failures_and_calls_have_the_columns_of_version_1(version_1_outs: Path) -> None:
    failed = pa.schema([field for field in build_failures_schema(pa.schema([])) if field.name != COST_AS_FLOAT])
    assert read_part_schema(version_1_outs / "transcribe", "failures").equals(failed)
    stored = read_part_schema(version_1_outs / "paid", "calls")
    assert stored.equals(pa.schema([field for field in CALLS_SCHEMA if field.name not in _CALLS_COLUMNS_SINCE]))


def test_a_calls_usage_has_every_field_of_usage() -> None:
    usage = CALLS_SCHEMA.field("usage").type
    assert [field.name for field in usage] == [field.name for field in fields(Usage)]
    values = {field.name: "1.5" if pa.types.is_decimal(field.type) else 2 for field in usage}
    assert Usage.from_dict(values).as_dict() == values


def test_a_results_cost_basis_is_that_of_its_weakest_answer() -> None:
    answers = [
        Answer({}, Usage(), Cost(Decimal("0.2"), "billed", "told"), "k1", cached=True, started_at=5, latency_ms=7),
        Answer({}, Usage(), Cost(Decimal("0.1"), "estimated"), "k2", attempts=2, engine="e", simulated=True),
    ]
    row = to_result_row(CompletedItem(ITEM, "r", "caption", "p", "m", answers), {"content_sha256": "ab", "text": "hi"})
    assert row == {
        "item_id": "a.wav",
        "item_index": 3,
        "run_id": "r",
        "capability": "caption",
        "source": "in/a.wav",
        "provider": "p",
        "model": "m",
        "engine": "e",
        "simulated": True,
        "request_key": "k1",
        "request_id": None,
        "started_at": 5,
        "latency_ms": 7,
        "attempts": 2,
        "cached": False,
        "cost_usd": Decimal("0.3"),
        "cost_basis": "estimated",
        "price_source": "told",
        "content_sha256": "ab",
        "text": "hi",
        "in_topic": "x",
    }
    assert {*row, COST_AS_FLOAT} == {
        *build_results_schema(pa.schema([("text", pa.string())]), pa.schema([("topic", pa.string())])).names
    }


def test_a_part_has_its_costs_as_floats_too_for_rows_of_any_age() -> None:
    schema = pa.schema([("cost_usd", MONEY), (COST_AS_FLOAT, pa.float64())])
    rows = [b'{"cost_usd": "0.0000001"}', b'{"cost_usd": null}', b'{"cost_usd": "0.0000125", "cost_usd_float": 9}']
    assert to_table(rows, schema)[COST_AS_FLOAT].to_pylist() == [1e-7, None, 1.25e-5]


def test_a_result_without_answers_is_free_and_one_unknown_cost_makes_the_sum_unknown() -> None:
    free = to_result_row(CompletedItem(ITEM, "r", "caption", "p", "m", []), {})
    assert (free["cost_usd"], free["cost_basis"], free["cached"], free["request_key"]) == (0, "free", False, None)
    unknown = [Answer({}, Usage(), Cost(usd, "unknown"), "k") for usd in (Decimal(1), None)]
    assert to_result_row(CompletedItem(ITEM, "r", "caption", "p", "m", unknown), {})["cost_usd"] is None


def test_a_failure_row_has_its_error_in_its_columns() -> None:
    failure = Failure("a.wav", "rate_limit", "slow down", "wait", transient=True, attempts=3, status=429)
    row = to_failure_row(FailedItem(ITEM, "r", failure))
    names = build_failures_schema(pa.schema([("topic", pa.string())])).names
    assert list(row) == [name for name in names if name != COST_AS_FLOAT]
    assert (row["error_kind"], row["last_http_status"], row["cost_usd"], row["in_topic"]) == ("rate_limit", 429, 0, "x")


def test_a_call_has_every_column_and_nothing_else() -> None:
    names = [name for name in CALLS_SCHEMA.names if name != COST_AS_FLOAT]
    stored = dict.fromkeys(names) | {"call_id": "c", "operation": "chat"}
    assert orjson.loads(to_call_row(stored)) == dict.fromkeys(names) | {"call_id": "c"}
    with pytest.raises(KeyError):
        to_call_row({"call_id": "c"})


@pytest.mark.parametrize("columns", [results.RESULT_COLUMNS, failures.FAILURE_COLUMNS])
def test_column_names_are_unique(columns: tuple[Column[object], ...]) -> None:
    names = [column.name for column in columns]
    assert len(names) == len(set(names))
