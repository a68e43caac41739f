"""Tables whose quotes, delimiters, comments and line ends are unusual: done, or the true cause and what to do."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from mediamill.tasks.errors import UsageError
from tests.sources.test_manifest import open_manifest, read_items, write_manifest

DONE: list[tuple[str | bytes, str, list[dict[str, Any]]]] = [
    ("'path','who'\n'a.wav','x, y'\n'b.wav','z'\n", "m.csv", [{"who": "x, y"}, {"who": "z"}]),
    ("'path','who'\n'a.wav','it''s, \"so\"'\n'b.wav','don\\'t'\n", "m.csv", [{"who": 'it\'s, "so"'}, {"who": "don't"}]),
    ("'path','who'\n'a.wav','x\ny, z'\nb.wav,q\n", "m.csv", [{"who": "x\ny, z"}, {"who": "q"}]),
    ("path,who\na.wav,'x, y'\nb.wav,z\n", "m.csv", [{"who": "x, y"}, {"who": "z"}]),
    ("path,who\na.wav,'tis\nb.wav,rock 'n' roll\n", "m.csv", [{"who": "'tis"}, {"who": "rock 'n' roll"}]),
    ("'path'\t'who'\n'a.wav'\t'x, y'\n'b.wav'\tz\n", "m.csv", [{"who": "x, y"}, {"who": "z"}]),
    ('path, who\na.wav, "x, y"\nb.wav, z\n', "m.csv", [{"who": "x, y"}, {"who": "z"}]),
    ("# made by a tool, version 2\n\n# it's new\npath,who\na.wav,x\n# later\nb.wav,y\n", "m.csv", []),
    ("# made, by\npath\twho\na.wav\tx\nb.wav\ty\n", "m.tsv", []),
    ("#path,who\na.wav,x\nb.wav,y\n", "m.csv", []),
    ("# a table\n# path,who\na.wav,x\nb.wav,y\n", "m.csv", []),
    ("# c\nsep=;\npath;who\na.wav;x\nb.wav;y\n", "m.csv", []),
    ("sep=;\n# c\npath;who\na.wav;x\nb.wav;y\n", "m.csv", []),
    ("sep=\\t\npath\twho\na.wav\tx\nb.wav\ty\n", "m.csv", []),
    ("sep= \npath who\na.wav x\nb.wav y\n", "m.csv", []),
    ("path,who\r\na.wav,x\rb.wav,y\r\n", "m.csv", []),
    ("path,who\ra.wav,x\r\nb.wav,y\r\n", "m.csv", []),
    ("path,who\na.wav,x\rb.wav,y\r", "m.csv", []),
    ("path\twho\na.wav\tx\rb.wav\ty\n", "m.tsv", []),
    ('path,who\ra.wav,"x\r\ny"\rb.wav,z\r', "m.csv", [{"who": "x\r\ny"}, {"who": "z"}]),
    ('{"path":"a.wav"}\r{"path":"b.wav"}\n', "m.jsonl", []),
    ('{"path":"a.wav"}\n{"path":"b.wav"}\r', "m.jsonl", []),
    ("path,who\na.wav,x\u2028y\x85z\x0b\nb.wav,\u2029\n", "m.csv", [{"who": "x\u2028y\x85z\x0b"}, {"who": "\u2029"}]),
    ('{"path":"a.wav","x":"p\u2028q\x85r"}\n{"path":"b.wav","x":""}\n', "m.jsonl", [{"x": "p\u2028q\x85r"}, {"x": ""}]),
    *((f"path{d}who\na.wav{d}x\nb.wav{d}y\n", "m.csv", [{"who": "x"}, {"who": "y"}]) for d in "^~:!\x1f\x01"),
    ("\u00dcber,path\nx,a.wav\ny,b.wav\n".encode("utf-16-le"), "m.csv", []),
    ("\u6587\u4ef6,path\n\u5b57,a.wav\n\u5b57,b.wav\n".encode("utf-16-le"), "m.csv", []),
    ("\u6587\u4ef6,path\r\n\u5b57,a.wav\r\n\u5b57,b.wav\r\n".encode("utf-16-be"), "m.csv", []),
    ("path,who\na.wav,x\nb.wav,y\n".encode("utf-32-le"), "m.csv", []),
    ('{"\u6587":"\u5b57","path":"a.wav"}\n{"path":"b.wav"}\n'.encode("utf-16-be"), "m.jsonl", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name", "rows"), DONE)
def test_an_unusual_table_gives_its_rows(
    tmp_path: Path, text: str | bytes, name: str, rows: list[dict[str, Any]]
) -> None:
    found = read_items(write_manifest(tmp_path, text, name))
    assert [(item.item_id, item.problem) for item in found] == [("a.wav", None), ("b.wav", None)]
    if rows:
        assert [item.row for item in found] == rows


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("path who\na.wav x\n", "they are separated by spaces", "commas"),
        ("path:url\na.wav:http://x\n", "they are separated by ':', which stands in the cells as well", "commas"),
        ("“path”,“who”\n“a.wav”,“x”\n", "they stand in typographic quotes", "straight"),
        ("My recordings\npath,who\na.wav,x\n", "line 2 looks like the column names", "leave out the lines above it"),
        ("Report,\n,\npath,who\na.wav,x\n", "line 3 looks like the column names", "leave out the lines above it"),
        ("a.wav,x\nb.wav,y\n", "the first line looks like a row", "write the column names above it"),
        ("https://example.org/a.wav\n", "the first line looks like a row", "write the column names above it"),
    ],
)
def test_a_table_without_a_known_column_says_why(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"no column holds a path or URL; its columns are .*; {message}") as caught:
        open_manifest(write_manifest(tmp_path, text))
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a.wav,“x, y”", '3 fields where the header has 2; “ quotes no cell here: use "'),
        ("a.wav,`x, y`", '3 fields where the header has 2; ` quotes no cell here: use "'),
        ('a.wav, "x, y"', "3 fields where the header has 2; a quote counts only at the very beginning of its cell"),
        ("a.wav,x,y", "3 fields where the header has 2; put a cell that holds ',' in quotes"),
        ("# a remark", "1 field where the header has 2; is it a comment? Leave it out"),
        ("a.wav", "1 field where the header has 2; end it with ',' if the rest is empty, or add what is missing"),
        ("a.wav;x", "1 field where the header has 2; ';' separates no cells here: use ',', as the header does"),
    ],
)
def test_a_row_of_another_width_says_why(tmp_path: Path, row: str, problem: str) -> None:
    first, second, third = read_items(write_manifest(tmp_path, f"path,who\na.wav,1,2\n{row}\nb.wav,y\n"))
    assert first.problem is not None
    assert second.problem == f"m.csv row 2 (line 3): {problem}"
    assert (third.item_id, third.problem) == ("b.wav", None)


def test_a_job_means_the_column_that_looks_the_same(tmp_path: Path) -> None:
    composed = "tönung"
    header = unicodedata.normalize("NFD", composed)
    path = write_manifest(tmp_path, f"{header},{header}s,x\na.wav,one,1\n")
    columns = {"path": composed, "id": f"{composed}s", "types": {"x": "int64"}}
    (item,) = read_items(path, columns)
    assert (item.item_id, item.location, item.row) == ("one", str(tmp_path / "a.wav"), {"x": 1})
    (item,) = read_items(write_manifest(tmp_path, f"{composed}\na.wav\n"), {"path": header})
    assert item.problem is None


def test_a_name_that_is_there_twice_in_two_forms_is_taken_as_it_is_written(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "é")
    path = write_manifest(tmp_path, f"{decomposed},é\na.wav,b.wav\n")
    assert [read_items(path, {"path": name})[0].item_id for name in (decomposed, "é")] == ["a.wav", "b.wav"]


def test_comments_are_no_rows_and_do_not_count(tmp_path: Path) -> None:
    text = '# one\npath,who\n# "two\na.wav,x\n#three\n#four,x\nb.wav,y\n'
    found = read_items(write_manifest(tmp_path, text))
    assert [item.item_id for item in found] == ["a.wav", "#four", "b.wav"], "as wide as a row, it may be one"
    (item,) = read_items(write_manifest(tmp_path, "# one\nid,path\n# x\n,nowhere.wav\n"))
    assert item.problem == "m.csv row 1 (line 4): no such file: nowhere.wav"


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_none_is_refused_as_a_parameter(tmp_path: Path, number: str) -> None:
    (item,) = read_items(
        write_manifest(tmp_path, json.dumps({"path": "a.wav"})[:-1] + f', "temperature": {number}}}', "m.jsonl")
    )
    assert str(item.params["temperature"]) == str(float(number))
