from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mediamill.tasks.errors import UsageError
from tests.helpers.hypothesis_profile import count_examples
from tests.sources.test_manifest import read_items

CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@settings(max_examples=count_examples(75), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
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


@settings(max_examples=count_examples(75), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
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


@settings(max_examples=count_examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
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


@settings(max_examples=count_examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
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


@settings(max_examples=count_examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
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


@settings(max_examples=count_examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=40))
def test_any_path_is_a_file_or_a_problem(tmp_path: Path, value: str) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({"id": "x", "path": value}))
    try:
        (item,) = read_items(tmp_path / "m.jsonl")
    except UsageError:
        return
    assert item.problem or item.location


PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12)
TABLE = st.lists(st.lists(PLAIN, min_size=2, max_size=2), min_size=1, max_size=8)


@settings(max_examples=count_examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(TABLE, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\n", "\r\n"]))
def test_a_regular_table_reads_as_pythons_csv_reads_it(
    tmp_path: Path, cells: list[list[str]], quoting: Any, end: str
) -> None:
    (tmp_path / "a.wav").write_bytes(b"a")
    with (tmp_path / "m.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=quoting, lineterminator=end)
        writer.writerows([["path", "one", "two"], *(["a.wav", *row] for row in cells)])
    with (tmp_path / "m.csv").open(newline="", encoding="utf-8") as file:
        expected = list(csv.DictReader(file))
    found = read_items(tmp_path / "m.csv")
    assert [({"path": item.source, **item.row}, item.problem) for item in found] == [(row, None) for row in expected]


RAW_CELL = st.one_of(
    st.text(st.sampled_from("ab;' \\#:|\t\x85\u2028.="), max_size=6),
    st.text(st.sampled_from("ab,;'\n\r\\#\x85\u2028 "), max_size=6).map(lambda text: f'"{text}"'),
    st.sampled_from(["x'", "'x", "'a'", '""""', '"a""b"', "#", "“q”"]),
)


@settings(max_examples=count_examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(RAW_CELL, min_size=3, max_size=3).map(",".join), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_what_pythons_csv_reads_strictly_is_read_the_same(tmp_path: Path, rows: list[str], end: str) -> None:
    text = end.join(["id,path,note", '1,a.wav,"x, y"', *rows, ""])
    (tmp_path / "m.csv").write_bytes(text.encode())
    with (tmp_path / "m.csv").open(newline="", encoding="utf-8") as file:
        try:
            expected = [row for row in csv.reader(file, strict=True) if any(map(str.strip, row))][1:]
        except csv.Error:
            return
    assert [item.row["note"] for item in read_items(tmp_path / "m.csv")] == [note for _, _, note in expected]


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=count_examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(JSON_VALUES, min_size=1, max_size=6), st.booleans(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_lines_of_json_hold_what_pythons_json_reads(
    tmp_path: Path, values: list[Any], ascii_only: bool, end: str
) -> None:
    (tmp_path / "a.wav").write_bytes(b"a")
    lines = [json.dumps({"id": str(n), "path": "a.wav", "x": v}, ensure_ascii=ascii_only) for n, v in enumerate(values)]
    (tmp_path / "m.jsonl").write_bytes(end.join(lines).encode("utf-8", "surrogatepass"))
    found = read_items(tmp_path / "m.jsonl")
    assert [(item.item_id, item.problem) for item in found] == [(str(n), None) for n in range(len(values))]
    for item, line in zip(found, lines, strict=True):
        value, read = json.loads(line)["x"], item.row["x"]
        assert read == value if value is None or isinstance(value, str) else json.loads(read) == value
