"""Manifests as people's programs write them: done, or refused with the line and what to do."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mediamill.tasks.errors import UsageError
from mediamill.tasks.sources import csv_records
from tests.sources.test_manifest import open_manifest, read_items, write_manifest


def read_ids(folder: Path, text: str | bytes, name: str = "m.csv") -> list[str]:
    found = read_items(write_manifest(folder, text, name))
    assert [item.problem for item in found] == [None] * len(found)
    return [item.item_id for item in found]


@pytest.mark.parametrize(
    "text",
    [
        "path,who\ra.wav,x\rb.wav,y\r",
        "path,who\ra.wav,x\rb.wav,y",
        "path,who\ra.wav,x\rb.wav,y\r\n",
        "path,who\r\r\na.wav,x\r\r\nb.wav,y\r\r\n",
        "sep=;\r\npath;who\r\na.wav;x\r\nb.wav;y\r\n",
        '"sep=,"\npath,who\na.wav,x\nb.wav,y\n',
        "\ufeffSEP=\t\npath\twho\na.wav\tx\nb.wav\ty\n",
        "path\twho\na.wav\tx\nb.wav\ty\n",
        "path|who\na.wav|x\nb.wav|y\n",
        'path;"name, first"\na.wav;x\nb.wav;y\n',
        "name, first;path\nx;a.wav\ny;b.wav\n",
        "path,who\r\na.wav,x\r\nb.wav,y\r\n\x1a",
        "path,who\r\na.wav,x\r\nb.wav,y\x1a",
        "path,who\na.wav,x\nb.wav,y\n\x1a\r\n\n",
        "path,who\na.wav,x\nb.wav,y\n" + "\0" * 300,
        "path,who\na.wav,x\nb.wav,y" + "\0" * 5000,
        "path,who\na.wav,x\nb.wav,y\n" + "\0" * (5 * 2**20),
        "path,who\r\na.wav,x\r\nb.wav,y\r\n\x1a" + "\0" * 127,
        "path,who\na.wav,x,\nb.wav,y,,\n",
        "path,who,\na.wav,x,\nb.wav,y,\n",
        "\n\npath,who\na.wav,x\n\nb.wav,y\n\n",
        " path , who \n a.wav , x \nb.wav,y\n",
        "path,who\na.wav," + "x" * 200_000 + "\nb.wav,y\n",
        'path,who\na.wav,"' + "x\n" * 100_000 + '"\nb.wav,y\n',
        'path,who\na.wav,"say \\"hi\\", he said"\nb.wav,y\n',
        "path,who\na.wav,ä\nb.wav,字\n".encode("utf-16"),
        "path,who\na.wav,ä\nb.wav,字\n".encode("utf-16-le"),
        "path,who\r\na.wav,ä\r\nb.wav,字\r\n".encode("utf-16-be"),
        "path,who\na.wav,ä\nb.wav,字\n".encode("utf-32"),
    ],
)
def test_every_form_of_a_csv_gives_its_rows(tmp_path: Path, text: str | bytes) -> None:
    assert [item_id.strip() for item_id in read_ids(tmp_path, text)] == ["a.wav", "b.wav"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.tsv", "path,who\na.wav,x\nb.wav,y\n"),
        ("m.tsv", "path;who\na.wav;x\nb.wav;y\n"),
        ("m.tsv", "path\twho\ra.wav\tx\rb.wav\ty\r"),
        ("m.tsv", "path\ta,b\na.wav\tx\nb.wav\ty\n"),
        ("m.jsonl", '{"path": "a.wav"}\r{"path": "b.wav"}\r'),
        ("m.jsonl", '{"path": "a.wav"}\r\n{"path": "b.wav"}\r\n\x1a'),
        ("m.jsonl", '{"path": "a.wav"}\n{"path": "b.wav"}\n' + "\0" * 512),
        ("m.jsonl", '{"path": "a.wav"}\n{"path": "b.wav"}\n'.encode("utf-16")),
    ],
)
def test_other_manifests_have_the_same_forms(tmp_path: Path, name: str, text: str | bytes) -> None:
    assert read_ids(tmp_path, text, name) == ["a.wav", "b.wav"]


@pytest.mark.parametrize("note", ['"he said "hi" ok"', '"5" disk"', '"a"b'])
def test_quotes_that_are_not_doubled_do_not_make_the_others_part_of_their_cells(tmp_path: Path, note: str) -> None:
    found = read_items(write_manifest(tmp_path, f'path,who\n"a.wav",{note}\n"b.wav",{note}\n'))
    assert [(item.item_id, item.problem) for item in found] == [("a.wav", None), ("b.wav", None)]


def test_an_unclosed_quote_is_named_by_its_line_and_the_rows_after_it_are_read(tmp_path: Path) -> None:
    text = 'id,path,who\n1,a.wav,"x\n2,b.wav,y\n3,b.wav,"z ""q"", r"\n4,a.wav,"open\n5,b.wav,"p"\n'
    found = read_items(write_manifest(tmp_path, text))
    assert [item.item_id for item in found] == ["row-1", "2", "3", "row-4", "5"]
    assert (
        found[0].problem == "m.csv row 1 (line 2): a quote is never closed, or a quote inside its cell is not doubled"
    )
    assert (found[3].problem or "").startswith("m.csv row 4 (line 5): a quote is never closed")
    assert found[2].row == {"who": 'z "q", r'}
    (only,) = read_items(write_manifest(tmp_path, 'path,who\na.wav,"x\n'))
    assert only.problem == "m.csv row 1 (line 2): a quote is never closed"


@pytest.mark.parametrize("line", ["x" * 99, 'say ""{n}"", or'])
def test_a_cell_of_many_lines_that_is_too_long_is_one_failed_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr(csv_records, "MAX_LINE_BYTES", 2000)
    cell = f"{line}\n" * (5000 // len(line))
    text = f'path,note\na.wav,1\nx.wav,"{cell}"\nc.wav,"{cell}"\nb.wav,"two\nlines"\n'
    items = read_items(write_manifest(tmp_path, text))
    n = cell.count("\n") + 1
    assert [(item.item_id, item.problem) for item in items] == [
        ("a.wav", None),
        ("row-2", "m.csv row 2 (line 3): the row is longer than 2,000 bytes"),
        ("row-3", f"m.csv row 3 (line {3 + n}): the row is longer than 2,000 bytes"),
        ("b.wav", None),
    ]


@pytest.mark.parametrize("lookahead", [10_000, 10_000_000])
def test_a_quote_that_is_not_closed_in_many_lines_costs_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lookahead: int
) -> None:
    monkeypatch.setattr(csv_records, "MAX_LINE_BYTES", 2000)
    monkeypatch.setattr(csv_records, "_LOOKAHEAD_BYTES", lookahead)
    rows = "".join(f"a.wav,{'x' * 99}\n" for _ in range(200))
    first, *others = read_items(write_manifest(tmp_path, f'path,note\na.wav,"open\n{rows}'))
    assert (first.problem or "").startswith("m.csv row 1 (line 2): a quote is never closed")
    assert len(others) == 200


def test_a_row_of_empty_cells_is_passed_over_as_an_empty_line_is(tmp_path: Path) -> None:
    assert read_ids(tmp_path, "path,a,b\na.wav,1,2\n,,\n \n,\nb.wav,1,2\n,,,,\n,,\n") == ["a.wav", "b.wav"]
    assert read_ids(tmp_path, "path\ta\na.wav\t1\n\t\n", "m.tsv") == ["a.wav"]
    items = read_items(write_manifest(tmp_path, "path,a\n,\nc.wav,x,y\n"))
    assert [item.item_id for item in items] == ["row-2"]  # the number that a spreadsheet counts


@pytest.mark.parametrize(
    ("mark", "name"),
    [("\x1a", "Ctrl-Z (U+001A)"), ("\u200b", "ZERO WIDTH SPACE (U+200B)"), ("\x07", "Ctrl-G (U+0007)")],
)
def test_an_invisible_character_in_the_path_of_no_file_is_named(tmp_path: Path, mark: str, name: str) -> None:
    (item,) = read_items(write_manifest(tmp_path, f"path,n\n{mark}b.wav,2\n"))
    assert (item.problem or "").endswith(f"b.wav; it holds an invisible character, {name}: remove it from the list")


def test_a_row_after_an_unclosed_quote_that_repeats_an_id_is_refused_alone(tmp_path: Path) -> None:
    found = read_items(write_manifest(tmp_path, 'path,who\na.wav,"x\nb.wav,y\nb.wav,z\n'))
    assert [item.item_id for item in found] == ["row-1", "b.wav", "row-3"]
    assert found[2].problem == "m.csv row 3 (line 4): its id 'b.wav' is that of a row before"


def test_a_carriage_return_in_a_bare_cell_is_refused_by_line(tmp_path: Path) -> None:
    found = read_items(write_manifest(tmp_path, "path,who\na.wav,x\ry\nb.wav,z\n"))
    assert "line 2): a carriage return stands in a cell without quotes" in (found[0].problem or "")
    assert found[1].problem is None


def test_a_row_may_have_four_mebibytes_and_no_more(tmp_path: Path) -> None:
    big, bigger = "x" * (4 * 2**20 - 100), "y" * (4 * 2**20 + 100)
    found = read_items(write_manifest(tmp_path, f"path,who\na.wav,{big}\nb.wav,{bigger}\n"))
    assert [item.problem is None for item in found] == [True, False]
    found = read_items(write_manifest(tmp_path, f"path,who\ra.wav,{big}\rb.wav,{bigger}\ra.wav,z\r"))
    assert [item.problem is None for item in found] == [True, False, True]


def test_paths_of_windows_and_of_macos_find_their_files(tmp_path: Path) -> None:
    folder = tmp_path / unicodedata.normalize("NFD", "Aufnähmen")
    folder.mkdir()
    for name in ("Tür.wav", "b.wav"):
        (folder / name).write_bytes(b"sound")
    both = ("é.wav", unicodedata.normalize("NFD", "é.wav"))
    for name in both:
        (tmp_path / name).write_bytes(name.encode())
    values = [r".\a.wav", r"Aufnähmen\b.wav", "Aufnähmen/Tür.wav", " b.wav ", *both, r"C:\audio\b.wav", r"..\x.wav"]
    text = "\n".join(["id,path", *(f'{n},"{value}"' for n, value in enumerate(values))])
    found = read_items(write_manifest(tmp_path, text))
    assert [item.location and Path(item.location).read_bytes() for item in found] == [
        *[b"sound"] * 4,
        *(name.encode() for name in both),
        None,
        None,
    ]
    assert "a path of Windows: write it relative" in (found[6].problem or "")
    assert "no such file" in (found[7].problem or "")


def test_a_form_of_a_path_leads_no_further_than_the_path(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (item,) = read_items(write_manifest(tmp_path / "in", 'path\n"..\\secret.wav"\n'))
    assert item.location is None
    assert item.problem is not None


CELLS: list[tuple[list[str], pa.DataType]] = [
    (["1", "-20", "0"], pa.int64()),
    (["1", "", "3"], pa.int64()),
    (["0.5", "-1.25", "1e+16"], pa.float64()),
    (["true", "false"], pa.bool_()),
    (["2026-01-02", "1999-12-31"], pa.date32()),
    (["1", "0.5"], pa.string()),
    (["007", "1"], pa.string()),
    (["1e5"], pa.string()),
    (["+1"], pa.string()),
    (["1.50"], pa.string()),
    (["0.5", "NaN"], pa.string()),
    (["nan", "inf"], pa.string()),
    (["-0"], pa.string()),
    (["1_000", "١"], pa.string()),  # noqa: RUF001 (an Arabic digit)
    (["9223372036854775808"], pa.string()),
    (["True"], pa.string()),
    (["2026-02-30"], pa.string()),
    (["", ""], pa.string()),
    ([" 1"], pa.string()),
]


@pytest.mark.parametrize(("cells", "kind"), CELLS, ids=[" ".join(cells) for cells, _ in CELLS])
def test_a_column_has_a_type_only_where_every_cell_comes_back(tmp_path: Path, cells: list[str], kind: Any) -> None:
    path = write_manifest(tmp_path, "\n".join(["id,path,x", *(f'n{n},a.wav,"{c}"' for n, c in enumerate(cells))]))
    source = open_manifest(path, {"infer_types": True})
    assert source.row_schema() == pa.schema([("x", kind)])
    values = [item.row["x"] for item in source.items()]
    is_bool = kind == pa.bool_()
    back = ["" if value is None else str(value).lower() if is_bool else str(value) for value in values]
    assert back == cells
    assert open_manifest(path).row_schema() == pa.schema([("x", pa.string())])


def test_types_are_inferred_for_text_tables_alone_and_never_over_the_jobs_own(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "path,x,y\na.wav,1,2\n")
    source = open_manifest(path, {"infer_types": True, "types": {"x": "float64"}})
    assert source.row_schema() == pa.schema([("x", pa.float64()), ("y", pa.int64())])
    with pytest.raises(UsageError, match=r"--infer-types is for \.csv and \.tsv"):
        open_manifest(write_manifest(tmp_path, '{"path": "a.wav"}\n', "m.jsonl"), {"infer_types": True})


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('{"path": "a.wav", "x": NaN}', "NaN"),
        ('{"path": "a.wav", "x": -Infinity}', "-Infinity"),
        ('{"path": "a.wav", "x": 1e400}', "1e400"),
        ('{"path": "a.wav", "x": [1, NaN]}', "[1,null]"),
        ('{"path": "a.wav", "x": "\\ud83d!"}', "\N{REPLACEMENT CHARACTER}!"),
        ('{"path": "a.wav", "x": "\\ud83d\\ude00"}', "\N{GRINNING FACE}"),
        ('{"path": "a.wav", "x": 123456789012345678901234567890}', "123456789012345678901234567890"),
        ('{"path": "a.wav", "x": {"n": 123456789012345678901234567890}}', '{"n":123456789012345678901234567890}'),
        ('{"path": "a.wav", "x": 1},', "1"),
        ('\x1e{"path": "a.wav", "x": 1}', "1"),
    ],
)
def test_lines_of_json_are_read_as_programs_write_them(tmp_path: Path, line: str, value: str | None) -> None:
    (item,) = read_items(write_manifest(tmp_path, line + "\n", "m.jsonl"))
    assert (item.problem, item.item_id, dict(item.row or {})) == (None, "a.wav", {"x": value})


@pytest.mark.parametrize(
    "line", ["{'path': 'a.wav'}", '{"path": "a.wav"}{"path": "b.wav"}', '{"x": ' + "[" * 100_000, "1" * 5000]
)
def test_a_line_that_is_not_json_says_so(tmp_path: Path, line: str) -> None:
    first, second = read_items(write_manifest(tmp_path, line + '\n{"path": "b.wav"}\n', "m.jsonl"))
    assert first.problem is not None
    assert "row 1 (line 1): not JSON: " in first.problem
    assert second.item_id == "b.wav"


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("m.csv", b"PK\x03\x04\x14\0\0\0\x08\0xl/workbook.xml\xff\xfe", "a ZIP archive or an office document"),
        ("m.tsv", b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xab\xcd", "a gzip archive"),
        ("m.csv", b"PAR1\x15\0\x15\xff\xfe", "a Parquet file"),
        ("m.csv", b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        ("m.jsonl", b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        ("m.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "a Git LFS pointer"),
        ("m.csv", b'{"path": "a.wav"}\n', "JSON"),
    ],
)
def test_a_manifest_that_is_something_else_says_what_it_is(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    with pytest.raises(UsageError, match="is not what its name says: it holds " + what):
        open_manifest(write_manifest(tmp_path, content, name))


@pytest.mark.parametrize("header", ["BMI,who", "ID3,FORM", "MZ;x"])
def test_a_header_that_begins_like_another_kind_of_file_is_a_header(tmp_path: Path, header: str) -> None:
    with pytest.raises(UsageError, match="no column holds a path or URL"):
        open_manifest(write_manifest(tmp_path, f"{header}\na,b\n", "m.csv"))


def test_a_header_with_an_open_quote_is_not_to_be_saved_otherwise(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the line with column names: a quote is never closed") as caught:
        open_manifest(write_manifest(tmp_path, 'path,"who\na.wav,x\n', "m.csv"))
    assert caught.value.hint is None


def test_zero_bytes_before_other_text_stay_as_they_are(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, 'path,who\na.wav,"x\n\0\n\ny"\nb.wav,z\n')
    assert [item.row["who"] for item in read_items(path)] == ["x\n\0\n\ny", "z"]
