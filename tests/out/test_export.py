"""Export results to one file: formats, columns, lists expanded into rows, and wrong options refused in one line."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.errors import NoSuchOption, StorageError, UsageError
from mediamill.tasks.out.export import export
from tests.helpers.cli_runs import mediamill
from tests.helpers.hypothesis_profile import make_repeatable

FINISHED_AT = dt.datetime(2026, 11, 20, 12, 30, tzinfo=dt.UTC)
RANKING_TYPE = pa.list_(pa.struct([("rank", pa.int32()), ("score", pa.float64()), ("text", pa.string())]))
SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("text", pa.string()),
        ("cost_usd", pa.decimal128(18, 12)),
        ("at", pa.timestamp("us", tz="UTC")),
        ("ranking", RANKING_TYPE),
        ("flags", pa.list_(pa.string())),
        ("vector", pa.list_(pa.float32(), 2)),
    ]
)


def make_result_row(name: str, ranking: Any, flags: Any = None) -> dict[str, Any]:
    return {
        "item_id": name,
        "text": f'"{name}",\nand more',
        "cost_usd": Decimal("0.000100000000"),
        "at": FINISHED_AT,
        "ranking": ranking,
        "flags": flags,
        "vector": [0.5, -1.0],
    }


FIRST_MEMBER = {"rank": 1, "score": 0.5, "text": "first"}
SECOND_MEMBER = {"rank": 2, "score": None, "text": None}
ROWS = [
    make_result_row("a", [FIRST_MEMBER, SECOND_MEMBER], ["x", "y"]),
    make_result_row("b", []),
    make_result_row("c", None, []),
    make_result_row("d", [FIRST_MEMBER], ["z"]),
]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two parts, the second without its last column, as of an older version."""
    folder = tmp_path / "out" / "results"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(ROWS[:3], SCHEMA), folder / "part-000000.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS[3:], SCHEMA).drop_columns(["vector"]), folder / "part-000001.parquet")
    return tmp_path / "out"


def test_parquet_keeps_the_types_of_the_columns(out: Path, tmp_path: Path) -> None:
    assert export(out, tmp_path / "to.parquet") == 4
    exported = pq.read_table(tmp_path / "to.parquet")
    assert exported.schema.equals(SCHEMA)
    assert exported.to_pylist() == [*ROWS[:3], {**ROWS[3], "vector": None}]


def test_json_lines_hold_lists_and_exact_money(out: Path, tmp_path: Path) -> None:
    assert export(out, tmp_path / "to.jsonl") == 4
    first = json.loads((tmp_path / "to.jsonl").read_text().splitlines()[0])
    assert (first["ranking"], first["cost_usd"], first["vector"]) == (
        [FIRST_MEMBER, SECOND_MEMBER],
        "0.0001",
        [0.5, -1.0],
    )
    assert dt.datetime.fromisoformat(first["at"]) == FINISHED_AT


def test_csv_read_again_has_the_same_values(out: Path, tmp_path: Path) -> None:
    assert export(out, tmp_path / "to.csv", columns=["ranking", "item_id", "cost_usd", "text", "at"]) == 4
    with (tmp_path / "to.csv").open(newline="") as file:
        exported = list(csv.DictReader(file))
    assert list(exported[0]) == ["ranking", "item_id", "cost_usd", "text", "at"]
    assert [json.loads(row["ranking"] or "null") for row in exported] == [
        [FIRST_MEMBER, SECOND_MEMBER],
        [],
        None,
        [FIRST_MEMBER],
    ]
    assert (exported[0]["cost_usd"], exported[0]["text"], exported[0]["at"]) == (
        "0.0001",
        ROWS[0]["text"],
        FINISHED_AT.isoformat(),
    )


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_long_writes_a_row_for_each_member_of_the_list(suffix: str, out: Path, tmp_path: Path) -> None:
    to = tmp_path / f"to{suffix}"
    assert export(out, to, long="", columns=["item_id", "rank", "ranking_text", "text"]) == 3
    if suffix == ".parquet":
        exported = pq.read_table(to).to_pylist()
    elif suffix == ".jsonl":
        exported = [json.loads(line) for line in to.read_text().splitlines()]
    else:
        exported = pa.csv.read_csv(to, parse_options=pa.csv.ParseOptions(newlines_in_values=True)).to_pylist()
    assert [(one["item_id"], one["rank"], one["ranking_text"] or None) for one in exported] == [
        ("a", 1, "first"),
        ("a", 2, None),
        ("d", 1, "first"),
    ]
    assert exported[0]["text"] == ROWS[0]["text"]


def test_long_expands_the_named_list_into_rows(out: Path, tmp_path: Path) -> None:
    assert export(out, tmp_path / "to.jsonl", long="flags", columns=["item_id", "flags"]) == 3
    exported = [json.loads(line) for line in (tmp_path / "to.jsonl").read_text().splitlines()]
    assert [(one["item_id"], one["flags"]) for one in exported] == [("a", "x"), ("a", "y"), ("d", "z")]


def test_wrong_options_are_refused_and_leave_no_file(out: Path, tmp_path: Path) -> None:
    mistakes: list[tuple[str, dict[str, Any], type[Exception], str]] = [
        ("to.xlsx", {}, UsageError, "the format is not known"),
        ("to.csv", {"columns": ["scores"]}, NoSuchOption, "scores"),
        ("to.csv", {"columns": ["rank"]}, NoSuchOption, "rank"),
        ("to.csv", {"long": "text"}, NoSuchOption, "text"),
        ("out/results", {}, UsageError, "the format is not known"),
    ]
    for to, options, kind, message in mistakes:
        with pytest.raises(kind, match=message):
            export(out, tmp_path / to, **options)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(StorageError):
        export(out, tmp_path / "folder.csv")
    with pytest.raises(UsageError, match="has no results"):
        export(tmp_path / "nothing", tmp_path / "to.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.csv", "out"]


def test_an_export_that_fails_leaves_the_old_file(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to = tmp_path / "to.csv"
    to.write_text("old")

    def raise_disk_full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mediamill.tasks.out.export._make_csv_writer", raise_disk_full)
    with pytest.raises(StorageError, match="the disk is full"):
        export(out, to)
    assert to.read_text() == "old"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".to")]


def test_the_command_prints_the_number_of_rows(out: Path, tmp_path: Path) -> None:
    done = mediamill("export", out, "--to", tmp_path / "deep" / "to.csv", "--long", home=tmp_path / "home")
    assert (done.returncode, done.stdout.splitlines()[0].startswith("3 rows: ")) == (0, True)
    wrong = mediamill("export", out, "--to", tmp_path / "to.csv", "--columns", "txt", home=tmp_path / "home")
    assert (wrong.returncode, "did you mean 'text'" in wrong.stderr, "Traceback" in wrong.stderr) == (2, True, False)


TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@make_repeatable()
@given(st.lists(st.tuples(TEXTS, st.none() | st.lists(st.tuples(st.integers(0, 9), TEXTS), max_size=3)), max_size=5))
def test_any_table_read_again_has_the_same_values(
    given_rows: list[tuple[str | None, list[tuple[int, str | None]] | None]],
) -> None:
    import tempfile

    members = pa.list_(pa.struct([("n", pa.int64()), ("text", pa.string())]))
    schema = pa.schema([("text", pa.string()), ("ranking", members)])
    table_rows: list[dict[str, Any]] = [
        {
            "text": text,
            "ranking": None if members_of_row is None else [{"n": n, "text": one} for n, one in members_of_row],
        }
        for text, members_of_row in given_rows
    ]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "results").mkdir()
        pq.write_table(pa.Table.from_pylist(table_rows, schema), Path(folder) / "results" / "part-000000.parquet")
        for suffix in ("jsonl", "csv", "parquet"):
            assert export(Path(folder), Path(folder) / f"to.{suffix}", long="") == sum(
                len(one["ranking"] or ()) for one in table_rows
            )
        lines = (Path(folder) / "to.jsonl").read_bytes().splitlines()
        expected = [(one["text"], each["n"], each["text"]) for one in table_rows for each in one["ranking"] or ()]
        found = [orjson.loads(line) for line in lines]
        assert [(one["text"], one["n"], one["ranking_text"]) for one in found] == expected
        cells = list(csv.reader(io.StringIO((Path(folder) / "to.csv").read_bytes().decode(), newline="")))
        assert cells[1:] == [[text or "", str(n), one or ""] for text, n, one in expected]
