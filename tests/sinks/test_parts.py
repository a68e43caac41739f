"""Parts: complete or absent, and read by pandas, duckdb and polars as they were written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mediamill.tasks import fault_injection
from mediamill.tasks.capabilities.speech.recognition_params import TranscribeParams
from mediamill.tasks.capabilities.transcribe import Transcribe
from mediamill.tasks.errors import StorageError
from mediamill.tasks.journal.parts import Part
from mediamill.tasks.sinks.calls import CALLS_SCHEMA
from mediamill.tasks.sinks.failures import build_failures_schema
from mediamill.tasks.sinks.parts import check_part, part_path, remove_uncommitted, with_current_time, write_part
from mediamill.tasks.sinks.results import build_results_schema
from mediamill.tasks.sinks.schema import COST_AS_FLOAT, deserialize_schema, serialize_schema
from tests.helpers.integration import require_integration
from tests.providers.builders import build_provider

OWN = pa.schema([("n", pa.int64()), ("price", pa.decimal128(10, 4)), ("day", pa.date32())])
SCHEMA = build_results_schema(Transcribe().schema(TranscribeParams(), build_provider("local"), "pocketsphinx"), OWN)
MOMENT = 1_700_000_000_123_456
ODD_TEXTS = [
    "",
    "=1+1",
    "a\nb\r\n\tc",
    "\u202egnp.exe",
    "\x00\x01",
    "é\u0301 \U0001f9d1\u200d\U0001f680",
    "\u2028'\"`;--",
    "x" * 100_000,
]


pytestmark = pytest.mark.usefixtures("disarm_faults")


def make_stored_result(number: int, **more: Any) -> bytes:
    """A result as the journal stores it."""
    columns = {
        "item_id": f"{number:04d}.wav",
        "item_index": number,
        "started_at": MOMENT,
        "cost_usd": "0.000012500001",
        "cached": False,
        "text": f"text {number}",
        "segments": [{"id": 0, "start": 0.5, "end": 1.25, "text": "hi", "speaker": None}],
        "words": None,
        "speakers": ["A", None],
        "in_n": number,
        "in_price": "1.2500",
        "in_day": "2026-01-02",
    }
    return orjson.dumps({**columns, **more})


def write_and_read(out: Path, *rows: bytes, schema: pa.Schema = SCHEMA) -> list[dict[str, Any]]:
    """Write rows and read them again."""
    part = write_part(out, "results", "000000", rows, schema)
    assert check_part(out, part) == "intact"
    table = pq.read_table(part_path(out, "results", "000000"))
    assert table.schema.equals(schema)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def test_values_are_read_back_exactly(tmp_path: Path) -> None:
    (found,) = write_and_read(tmp_path, make_stored_result(7))
    assert found["cost_usd"] == Decimal("0.000012500001")
    assert found["started_at"] == datetime.fromtimestamp(1_700_000_000, UTC).replace(microsecond=123_456)
    assert found["segments"] == [{"id": 0, "start": 0.5, "end": 1.25, "text": "hi", "speaker": None}]
    assert (found["words"], found["speakers"]) == (None, ["A", None])
    assert (found["in_n"], found["in_price"], str(found["in_day"])) == (7, Decimal("1.2500"), "2026-01-02")
    assert found["language"] is None


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_text_is_read_back_unchanged(tmp_path: Path, text: str) -> None:
    (found,) = write_and_read(tmp_path, make_stored_result(0, text=text, item_id=text, speakers=[text]))
    assert (found["text"], found["item_id"], found["speakers"]) == (text, text, [text])


def test_large_texts_are_read_back(tmp_path: Path) -> None:
    large = "ß" * 3_000_000
    assert [
        r["text"] == large
        for r in write_and_read(tmp_path, make_stored_result(0, text=large), make_stored_result(1, text=large))
    ] == [
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("in_n", "12", 12),
        ("in_n", "twelve", None),
        ("in_n", 1e300, None),
        ("in_n", [1], None),
        ("in_price", "abc", None),
        ("in_price", "12345678901", None),
        ("in_price", 2, Decimal(2)),
        ("in_price", "1.23456", Decimal("1.2346")),
        ("in_price", "NaN", None),
        ("in_day", "tomorrow", None),
        ("text", 5, "5"),
        ("text", {"a": [1]}, '{"a":[1]}'),
        ("attempts", 3.0, 3),
        ("attempts", 2**40, None),
        ("cached", "true", True),
        ("cached", "perhaps", None),
        ("speakers", "A", None),
        ("speakers", ["A", 1], ["A", "1"]),
        (
            "segments",
            [{"id": 2**40, "text": "hi"}],
            [{"id": None, "start": None, "end": None, "text": "hi", "speaker": None}],
        ),
        ("segments", ["x", None], [None, None]),
        ("cost_usd", "8.4700002670288091", Decimal("8.470000267029")),
        ("cost_usd", "1e-40", Decimal(0)),
        ("nowhere", 1, None),
    ],
)
def test_a_value_of_another_type_is_cast_or_null_and_the_others_stay(
    tmp_path: Path, name: str, value: Any, kept: Any
) -> None:
    first, odd, last = write_and_read(
        tmp_path, make_stored_result(0), make_stored_result(1, **{name: value}), make_stored_result(2)
    )
    assert odd.get(name) == kept
    expected = {**first, "item_id": "0001.wav", "item_index": 1, "text": "text 1", "in_n": 1}
    others = {*expected} - {name, *([COST_AS_FLOAT] if name == "cost_usd" else [])}
    assert {n: odd[n] for n in others} == {n: expected[n] for n in others}
    assert (last["text"], last["in_price"], last["started_at"]) == ("text 2", Decimal("1.2500"), first["started_at"])


def test_a_usage_with_too_many_digits_keeps_the_rest(tmp_path: Path) -> None:
    usage = {"audio_seconds": "8.470000267028809", "requests": 1}
    (found,) = write_and_read(
        tmp_path, orjson.dumps({"call_id": "c", "usage": usage, "cost_usd": "0.1"}), schema=CALLS_SCHEMA
    )
    assert (found["usage"]["audio_seconds"], found["usage"]["requests"]) == (Decimal("8.470000267029"), 1)
    assert found["cost_usd"] == Decimal("0.1")


def test_failures_have_their_columns(tmp_path: Path) -> None:
    schema = build_failures_schema(OWN)
    assert schema.names == [
        *("item_id", "item_index", "run_id", "source", "error_kind", "error_message", "hint", "attempts"),
        *("last_http_status", "cost_usd", "cost_usd_float", "in_n", "in_price", "in_day"),
    ]
    expected = {"item_id": "a", "error_kind": "rate_limit", "attempts": 3, "last_http_status": 429, "cost_usd": None}
    (found,) = write_and_read(tmp_path, orjson.dumps(expected), schema=schema)
    assert {n: found[n] for n in expected} == expected


def test_schemas_round_trip_as_bytes() -> None:
    for schema in (SCHEMA, CALLS_SCHEMA, build_failures_schema(OWN)):
        assert deserialize_schema(serialize_schema(schema)).equals(schema)
        assert all(field.nullable for field in schema)


def write_two_parts(out: Path) -> tuple[Path, Decimal]:
    """Write 3,000 rows in two parts; their folder and the sum of their costs."""
    for part in range(2):
        rows = (make_stored_result(n) for n in range(part * 1500, part * 1500 + 1500))
        write_part(out, "results", f"{part:06d}", rows, SCHEMA)
    return out / "results", Decimal("0.000012500001") * 3000


def test_pandas_reads_the_folder(tmp_path: Path) -> None:
    folder, total = write_two_parts(tmp_path)
    frame = pd.read_parquet(folder)
    assert [len(frame), frame["cost_usd"].sum(), frame["item_id"].nunique()] == [3000, total, 3000]
    assert frame["segments"][0][0]["text"] == "hi"


@pytest.mark.long
def test_duckdb_and_polars_read_the_folder(tmp_path: Path) -> None:
    require_integration("duckdb", "polars")
    import duckdb
    import polars as pl

    folder, total = write_two_parts(tmp_path)
    query = f"select count(*), sum(cost_usd), min(segments[1].text), count(words) from '{folder}/*.parquet'"
    relation = duckdb.sql(query)
    assert relation is not None
    assert relation.fetchall() == [(3000, total, "hi", 0)]
    frames = pl.read_parquet(folder)
    assert [frames.height, frames["cost_usd"].sum(), frames["in_price"][0]] == [3000, total, Decimal("1.2500")]
    assert frames["speakers"].to_list()[0] == ["A", None]


def test_memory_is_bounded_by_row_groups(tmp_path: Path) -> None:
    write_part(tmp_path, "results", "000000", (make_stored_result(n) for n in range(2500)), SCHEMA)
    file = pq.ParquetFile(part_path(tmp_path, "results", "000000"))
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [1000, 1000, 500]


def test_a_part_without_rows_has_no_file(tmp_path: Path) -> None:
    write_part(tmp_path, "failures", "000000", [make_stored_result(0)], SCHEMA)
    part = write_part(tmp_path, "failures", "000000", [], SCHEMA)
    assert part == Part("failures", "000000", 0, 0, "")
    assert list((tmp_path / "failures").iterdir()) == []
    assert write_part(tmp_path, "failures", "000001", [], SCHEMA).rows == 0


def test_every_truncation_is_detected(tmp_path: Path) -> None:
    part = write_part(tmp_path, "results", "000000", (make_stored_result(n) for n in range(50)), SCHEMA)
    path = part_path(tmp_path, "results", "000000")
    whole = path.read_bytes()
    for cut in {0, 1, 3, 4, 5, 8, 100, *range(0, len(whole), 97), len(whole) - 4, len(whole) - 1}:
        path.write_bytes(whole[:cut])
        assert check_part(tmp_path, part) == "damaged", cut
    for same_size in (bytes(len(whole)), whole[:-4] + b"\0\0\0\0", b"\0" + whole[1:], whole[:9] + b"\0" + whole[10:]):
        path.write_bytes(same_size)
        assert check_part(tmp_path, part) == "damaged"
        os.utime(path, ns=(part.mtime_ns or 0,) * 2)
        assert check_part(tmp_path, part) == ("intact" if same_size[:4] == same_size[-4:] == b"PAR1" else "damaged")
        assert check_part(tmp_path, part, by_content=True) == "damaged"
    path.unlink()
    assert check_part(tmp_path, part) == "missing"
    path.write_bytes(whole)
    assert check_part(tmp_path, part) == "touched"
    assert check_part(tmp_path, with_current_time(tmp_path, part)) == "intact"


@pytest.mark.parametrize("point", ["part.write.before", "part.rename.before"])
@pytest.mark.parametrize("action", ["enospc", "erofs", "raise"])
def test_a_part_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path, point: str, action: str) -> None:
    part = write_part(tmp_path, "results", "000000", [make_stored_result(0)], SCHEMA)
    before = part_path(tmp_path, "results", "000000").read_bytes()
    fault_injection.arm(f"{point}:1:{action}")
    with pytest.raises(RuntimeError if action == "raise" else StorageError):
        write_part(tmp_path, "results", "000000", [make_stored_result(1)], SCHEMA)
    assert part_path(tmp_path, "results", "000000").read_bytes() == before
    assert check_part(tmp_path, part) == "intact"
    assert list((tmp_path / ".tmp").iterdir()) == []
    assert write_part(tmp_path, "results", "000000", [make_stored_result(1)], SCHEMA).rows == 1


def test_rows_that_end_in_an_error_leave_no_file(tmp_path: Path) -> None:
    def yield_rows_then_fail() -> Iterator[bytes]:
        yield from (make_stored_result(n) for n in range(1200))
        raise KeyError("journal")

    with pytest.raises(KeyError):
        write_part(tmp_path, "results", "000000", yield_rows_then_fail(), SCHEMA)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_uncommitted_parts_and_temporary_files_are_removed(tmp_path: Path) -> None:
    kept = write_part(tmp_path, "results", "000000", [make_stored_result(0)], SCHEMA)
    write_part(tmp_path, "results", "000001", [make_stored_result(1)], SCHEMA)
    (tmp_path / ".tmp" / "half").write_bytes(b"x")
    (tmp_path / "results" / "notes.txt").write_text("mine")
    remove_uncommitted(tmp_path, [kept])
    found = sorted(os.path.relpath(p, tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert found == ["results/notes.txt", "results/part-000000.parquet"]


def test_a_part_carries_the_meaning_of_every_column_also_beside_parts_without(tmp_path: Path) -> None:
    schema = deserialize_schema(serialize_schema(SCHEMA))
    plain = pa.schema([(field.name, field.type) for field in schema])
    for name, written in (("0-described", schema), ("1-plain", plain)):
        write_part(tmp_path, "results", name, [orjson.dumps({"item_id": name})], written)
    kept = pq.read_schema(part_path(tmp_path, "results", "0-described"))
    words = kept.field("words")
    assert words.metadata[b"description"].startswith(b"words with times")
    assert words.type.value_type.field("start").metadata == {
        b"description": b"start in seconds from the file's first picture or sound"
    }
    assert list(pd.read_parquet(tmp_path / "results").item_id) == ["0-described", "1-plain"]
