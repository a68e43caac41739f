from __future__ import annotations

import csv
import json
from pathlib import Path

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
