"""Values of Parquet manifests come back exact, or their row says which cannot be read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Item
from mediamill.tasks.journal.json_codec import dumps
from mediamill.tasks.sinks.json_to_arrow import to_table
from mediamill.tasks.sinks.schema import to_carried_fields
from mediamill.tasks.sources.parquet_values import read_rows
from tests.helpers.cli_runs import make_wavs, mediamill
from tests.helpers.hypothesis_profile import make_repeatable
from tests.sources.test_manifest import open_manifest, read_items, write_manifest

YEAR_10000_S = 253_402_300_800
DAY_NS = 86_400 * 10**9


def carry(values: pa.Array) -> pa.Array:
    """The values as they come out in results, by way of the journal's JSON."""
    batch = pa.record_batch({"c": values})
    rows = [row for row in read_rows(batch) if isinstance(row, dict)]
    assert len(rows) == len(values)
    schema = pa.schema(to_carried_fields(batch.schema))
    return to_table([dumps({f"in_{name}": v for name, v in row.items()}) for row in rows], schema).column(0)


@make_repeatable()
@given(
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.sampled_from([None, "UTC", "Europe/Zurich", "+05:30"]),
    st.lists(st.one_of(st.none(), st.integers(-(10**18), 9 * 10**18)), min_size=1, max_size=5),
)
def test_moments_are_exact(unit: str, zone: str | None, nanoseconds: list[int | None]) -> None:
    scale = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
    values = pa.array([None if n is None else n // scale for n in nanoseconds], pa.timestamp(unit, zone))
    assert carry(values).cast(values.type).combine_chunks().equals(values)


@make_repeatable()
@given(
    st.sampled_from([pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]),
    st.lists(st.one_of(st.none(), st.integers(0, DAY_NS - 1)), min_size=1, max_size=5),
)
def test_times_of_a_day_are_exact(kind: Any, nanoseconds: list[int | None]) -> None:
    scale = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[kind.unit]
    values = pa.array([None if n is None else n // scale for n in nanoseconds], kind)
    assert carry(values).combine_chunks().equals(values)


@make_repeatable()
@given(
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.lists(st.one_of(st.none(), st.integers(-(10**9), 10**9)), min_size=1, max_size=5),
)
def test_lengths_of_time_are_exact(unit: str, numbers: list[int | None]) -> None:
    values = pa.array(numbers, pa.duration(unit))
    assert carry(values).combine_chunks().equals(values)


def test_times_in_lists_and_objects_are_exact() -> None:
    for values in (
        pa.array([[1685971200000000123, None], []], pa.list_(pa.timestamp("ns"))),
        pa.array([{"t": 123, "n": 1}, {"t": None, "n": 2}], pa.struct([("t", pa.time64("ns")), ("n", pa.int64())])),
    ):
        assert carry(values).combine_chunks().equals(values)


def test_moments_that_need_no_nanoseconds_are_as_they_were_so_that_nothing_is_done_again(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "", "m.parquet")
    moments = pa.array([1685971200000123000, 1685971200000123456], pa.timestamp("ns"))
    pq.write_table(pa.table({"path": ["a.wav", "b.wav"], "t": moments}), path)
    first, second = read_items(path)
    assert dumps(first.row) == b'{"t":1685971200000123}'
    assert dumps(second.row) == b'{"t":"2023-06-05T13:20:00.000123456"}'


def from_numbers(numbers: list[int], kind: pa.DataType) -> pa.Array:
    """Times by the numbers that a file has for them, whatever they are."""
    return pa.array(numbers, pa.int32() if pa.types.is_time32(kind) else pa.int64()).view(kind)


def long_decimals() -> pa.Array:
    digits = [number.to_bytes(16, "little", signed=True) for number in (12345, 5)]
    return pa.Array.from_buffers(pa.decimal128(4, 1), 2, [None, pa.py_buffer(b"".join(digits))])


def in_maps(values: pa.Array) -> pa.Array:
    return pa.MapArray.from_arrays(range(len(values) + 1), pa.array(["key"] * len(values)), values)


def bad_text() -> pa.Array:
    return pa.Array.from_buffers(pa.string(), 2, pa.array([b"he\xffllo", b"ok"]).buffers())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pa.array([-62167219200000000 * 2, 0], pa.timestamp("us")), "no date of the years 1 to 9999"),
        (pa.array([YEAR_10000_S, 0], pa.timestamp("s")), "no date of the years 1 to 9999"),
        (pa.array([-1_000_000, 0], pa.date32()), "no date of the years 1 to 9999"),
        (pa.array([3_000_000 * 86_400_000, 0], pa.date64()), "no date of the years 1 to 9999"),
        (pa.array([10**16, 0], pa.duration("s")), "no date of the years 1 to 9999, or more time"),
        (pa.array([[YEAR_10000_S], [0]], pa.list_(pa.timestamp("s"))), "cannot be read"),
        (from_numbers([99_999_999_999_999_999, 1], pa.time64("ns")), "a time64[ns] that is not within a day"),
        (from_numbers([-1, 0], pa.time64("us")), "a time64[us] that is not within a day"),
        (from_numbers([86_400_000, 86_399_999], pa.time32("ms")), "a time32[ms] that is not within a day"),
        (pa.StructArray.from_arrays([from_numbers([-1, 0], pa.time32("ms"))], ["t"]), "not within a day"),
        (in_maps(from_numbers([DAY_NS, 1], pa.time64("ns"))), "not within a day"),
        (long_decimals(), "a decimal128(4, 1) that has more digits than its type"),
        (bad_text(), "text that is not valid UTF-8"),
    ],
    ids=[
        *("year -2000", "year 10000", "date32", "date64", "duration", "list"),
        *("time64[ns]", "time64[us]", "time32", "time in an object", "time in a map", "decimal", "text"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_and_the_other_rows_are_done(
    tmp_path: Path, values: pa.Array, words: str
) -> None:
    path = write_manifest(tmp_path, "", "m.parquet")
    pq.write_table(pa.table({"path": ["a.wav", "b.wav"], "t": values}), path)
    bad, good = read_items(path)
    assert (bad.problem or "").startswith("m.parquet row 1: column 't' holds ")
    assert words in (bad.problem or "")
    assert (good.item_id, good.problem) == ("b.wav", None)


def test_a_zone_that_nobody_knows_is_a_problem_of_its_rows(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "", "m.parquet")
    pq.write_table(pa.table({"path": ["a.wav"], "t": pa.array([1], pa.timestamp("us", "Mars/Olympus"))}), path)
    (bad,) = read_items(path)
    assert "Mars/Olympus" in (bad.problem or "")
    assert isinstance(bad, Item)
    assert open_manifest(path).size_hint() == 1


@pytest.mark.long
def test_results_and_exports_have_every_digit(tmp_path: Path) -> None:
    make_wavs(tmp_path, 2)
    moments = pa.array([1685971200000000123, 0], pa.timestamp("ns", "UTC"))
    times, lengths = pa.array([123, None], pa.time64("ns")), pa.array([-5, 10**9 + 1], pa.duration("ns"))
    table = {"path": ["0000.wav", "0001.wav"], "moment": moments, "time": times, "length": lengths}
    pq.write_table(pa.table(table), tmp_path / "m.parquet")
    out, home = tmp_path / "out", tmp_path / "home"
    done = mediamill(
        "transcribe", tmp_path / "m.parquet", "--provider", "local", "--out", out, "--no-prefect", home=home
    )
    assert done.returncode == 0, done.stderr
    results = pq.read_table(out / "results").sort_by("item_id")
    for name, values in (("moment", moments), ("time", times), ("length", lengths)):
        assert results[f"in_{name}"].combine_chunks().equals(values)
    target = tmp_path / "x.csv"
    exported = mediamill("export", out, "--to", target, "--columns", "in_moment,in_time,in_length", home=home)
    assert exported.returncode == 0, exported.stderr
    assert "2023-06-05T13:20:00.000000123Z,00:00:00.000000123,-1 days +23:59:59.999999995" in target.read_text()


def test_numbers_that_are_not_finite_come_out_as_they_went_in(tmp_path: Path) -> None:
    """JSON has none of them, and the journal keeps rows as JSON."""
    (tmp_path / "a.wav").write_bytes(b"sound")
    numbers = [1.5, math.nan, math.inf, -math.inf, None]
    kind = pa.struct([("y", pa.float32()), ("z", pa.list_(pa.float64()))])
    table = pa.table(
        {
            "path": ["a.wav"] * 5,
            "x": pa.array(numbers, pa.float64()),
            "s": pa.array([{"y": n, "z": [n, 0.5]} for n in numbers], kind),
        }
    )
    pq.write_table(table, tmp_path / "m.parquet")
    source = open_manifest(tmp_path / "m.parquet")
    schema = source.row_schema()
    assert schema is not None
    back = to_table([dumps(item.row) for item in source.items()], schema)
    assert repr(back.to_pylist()) == repr(table.select(["x", "s"]).to_pylist())


def test_a_typed_column_of_text_keeps_numbers_that_are_not_finite(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "path,x\na.wav,NaN\nb.wav,-inf\na.wav,1\n")
    source = open_manifest(path, {"types": {"x": "float64"}})
    schema = source.row_schema()
    assert schema is not None
    back = to_table([dumps(item.row) for item in source.items()], schema)
    assert repr(back["x"].to_pylist()) == "[nan, -inf, 1.0]"
