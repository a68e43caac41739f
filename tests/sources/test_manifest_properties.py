from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediamill.tasks.errors import UsageError
from tests.sources.test_manifest import read_items

CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=20, alphabet=st.characters(exclude_categories=["Cs", "Cc"])), CELL),
        min_size=1,
        max_size=8,
    )
)
def test_whatever_csv_writes_is_read_back(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    (tmp_path / "a.wav").write_bytes(b"a")
    with (tmp_path / "m.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "note"])
        writer.writerows([row_id, "a.wav", note] for row_id, note in rows)
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps({"id": i, "path": "a.wav", "note": n}) for i, n in rows))
    for name in ("m.csv", "m.jsonl"):
        found = read_items(tmp_path / name)
        assert [(i.item_id, i.row["note"], i.problem) for i in found] == [(i, n, None) for i, n in rows]


DIALECTS = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from([",", ";", "\t", "|"]),
        "lineterminator": st.sampled_from(["\n", "\r\n", "\r"]),
        "quoting": st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    }
)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(DIALECTS, st.sampled_from(ENCODINGS), st.booleans(), st.lists(CELL, min_size=1, max_size=6), st.booleans())
def test_a_table_of_any_dialect_comes_back(
    tmp_path: Path, dialect: dict[str, Any], encoding: str, has_sep_line: bool, notes: list[str], has_dos_end: bool
) -> None:
    (tmp_path / "a.wav").write_bytes(b"a")
    with (tmp_path / "m.csv").open("w", newline="", encoding=encoding) as file:
        if has_sep_line:
            file.write(f"sep={dialect['delimiter']}{dialect['lineterminator']}")
        writer = csv.writer(file, **dialect)
        writer.writerow(["id", "path", "note"])
        writer.writerows([f"n{n}", "a.wav", note] for n, note in enumerate(notes))
        file.write("\x1a" if has_dos_end else "")
    found = read_items(tmp_path / "m.csv")
    assert [(i.item_id, i.row["note"], i.problem) for i in found] == [
        (f"n{n}", note, None) for n, note in enumerate(notes)
    ]


OTHER_DIALECTS = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from([",", ";", "\t", "|"]),
        "lineterminator": st.sampled_from(["\n", "\r\n", "\r", "\r\r\n"]),
        "quotechar": st.sampled_from(['"', "'"]),
        "doublequote": st.booleans(),
        "escapechar": st.just("\\"),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE]),
    }
)
ONE_LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(OTHER_DIALECTS, st.lists(st.tuples(ONE_LINE, ONE_LINE), min_size=1, max_size=6))
def test_no_row_of_an_odd_dialect_is_lost(tmp_path: Path, dialect: dict[str, Any], rows: list[tuple[str, str]]) -> None:
    with (tmp_path / "m.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, **dialect)
        writer.writerow(["id", "path", "note"])
        writer.writerows([f"n{n}", f"x{first}", note] for n, (first, note) in enumerate(rows))
    try:
        found = read_items(tmp_path / "m.csv")
    except UsageError:
        return
    assert len(found) >= len(rows)
    assert all(item.problem for item in found)


BAD_QUOTE = st.sampled_from(['"open', 'x"', '"a"b', '"', '""x', '"c, d', 'e"f"g', '\\"h'])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.one_of(st.just("plain"), BAD_QUOTE), min_size=1, max_size=12))
def test_a_broken_quote_costs_its_own_rows_alone(tmp_path: Path, notes: list[str]) -> None:
    lines = ["id,path,note", *(f"n{n},a.wav,{note}" for n, note in enumerate(notes))]
    (tmp_path / "a.wav").write_bytes(b"a")
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    found = read_items(tmp_path / "m.csv")
    done = {item.item_id for item in found if not item.problem}
    told = " ".join(item.problem or "" for item in found)
    swallowed = "".join(str(item.row.get("note")) for item in found)
    for n, _ in enumerate(notes):
        assert f"n{n}" in done or f"(line {n + 2})" in told or f"n{n},a.wav" in swallowed


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["m.csv", "m.tsv", "m.jsonl", "m.parquet"]), st.booleans())
def test_no_manifest_crashes(tmp_path: Path, data: bytes, name: str, headed: bool) -> None:
    (tmp_path / name).write_bytes((b"id,path\n" if headed else b"") + data)
    try:
        found = read_items(tmp_path / name)
    except UsageError:
        return
    for item in found:
        item.item_id.encode()
        assert item.item_id
        assert item.problem or item.location


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=40))
def test_any_path_is_a_file_or_a_problem(tmp_path: Path, value: str) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({"id": "x", "path": value}))
    try:
        (item,) = read_items(tmp_path / "m.jsonl")
    except UsageError:
        return
    assert item.problem or item.location
