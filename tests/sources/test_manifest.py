from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mediamill.tasks.domain import Item
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.sources import Source, open_source

AUDIO = frozenset({"audio"})
PARAMS = frozenset({"language", "prompt", "temperature"})


def open_manifest(path: Path, columns: dict[str, Any] | None = None, kinds: frozenset[str] = AUDIO) -> Source:
    return open_source(make_job(capability="transcribe", source=str(path), columns=columns or {}), kinds, PARAMS)


def read_items(path: Path, columns: dict[str, Any] | None = None, kinds: frozenset[str] = AUDIO) -> list[Item]:
    return list(open_manifest(path, columns, kinds).items())


def write_manifest(folder: Path, text: str | bytes, name: str = "m.csv") -> Path:
    for audio_name in ("a.wav", "b.wav"):
        if not (folder / audio_name).exists():
            (folder / audio_name).write_bytes(b"sound")
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_ids_paths_parameters_and_carried_columns(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "id,path,language,note,take\r\none,a.wav,de,hello,1\r\ntwo,b.wav,,,2\r\n")
    source = open_manifest(path)
    one, two = source.items()
    assert (one.item_id, one.source, one.location, one.index) == ("one", "a.wav", str(tmp_path / "a.wav"), 0)
    assert (one.row, one.params) == ({"note": "hello", "take": "1"}, {"language": "de"})
    assert (two.row, two.params) == ({"note": "", "take": "2"}, {})
    assert source.row_schema() == pa.schema([("note", pa.string()), ("take", pa.string())])
    assert (source.root, source.name) == (str(path), "m")


def test_every_format_gives_the_same_items(tmp_path: Path) -> None:
    rows = [
        {"id": "ö1", "file": "a.wav", "language": "en", "who": 'a "b", c'},
        {"id": "2", "file": "b.wav", "language": "fr", "who": "x"},
    ]
    with (tmp_path / "m.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "m.tsv").write_text(
        "\n".join("\t".join(r) for r in [list(rows[0]), *(r.values() for r in rows)]), encoding="utf-8"
    )
    (tmp_path / "m.jsonl").write_text("\n\n".join(json.dumps(r) for r in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "m.parquet")
    write_manifest(tmp_path, "", "unused")
    items_by_format = [read_items(tmp_path / f"m.{suffix}") for suffix in ("csv", "tsv", "jsonl", "parquet")]
    assert [i.item_id for i in items_by_format[0]] == ["ö1", "2"]
    assert items_by_format[0] == items_by_format[1] == items_by_format[2] == items_by_format[3]


def test_the_id_is_the_id_column_else_the_path_else_the_row(tmp_path: Path) -> None:
    assert [i.item_id for i in read_items(write_manifest(tmp_path, "path\na.wav\n./b.wav\n"))] == ["a.wav", "./b.wav"]
    assert [i.item_id for i in read_items(write_manifest(tmp_path, "id,path,n\n,a.wav,1\nx,b.wav,2\n,,3\n"))] == [
        "a.wav",
        "x",
        "row-3",
    ]
    prompts = read_items(write_manifest(tmp_path, "text\nhello\nworld\n"), kinds=frozenset({"text"}))
    assert [(i.item_id, i.location, i.row) for i in prompts] == [
        ("row-1", None, {"text": "hello"}),
        ("row-2", None, {"text": "world"}),
    ]


def test_columns_may_be_named_by_the_job(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "utt,where,path\nu1,a.wav,meaningless\n")
    (item,) = read_items(path, {"id": "utt", "path": "where"})
    assert (item.item_id, item.row) == ("u1", {"path": "meaningless"})
    with pytest.raises(NoSuchOption, match="did you mean 'where'"):
        read_items(path, {"path": "were"})
    with pytest.raises(NoSuchOption, match="unknown column"):
        read_items(path, {"types": {"speeker": "int64"}})


def test_usual_column_names_are_found_in_order_and_any_case(tmp_path: Path) -> None:
    (item,) = read_items(write_manifest(tmp_path, "URL,Audio,ID\nhttps://example.org/x,a.wav,7\n"))
    assert (item.item_id, item.source, item.row) == ("7", "a.wav", {"URL": "https://example.org/x"})


def test_a_bad_row_is_an_item_with_a_problem_and_the_rest_goes_on(tmp_path: Path) -> None:
    text = (
        b"id,path\n1,a.wav\n2\n3,a.wav,extra\n4,nowhere.wav\n5,\n\n6,caf\xe9.wav\n7,s3://b/x\n8,.\n9,http://u:p@h/x\n10,"
        + b"x" * 200_000
        + b"\n11,b.wav\n"
    )
    found = read_items(write_manifest(tmp_path, text))
    problems = {i.item_id: i.problem for i in found}
    assert [i.index for i in found] == list(range(11))
    assert [k for k, v in problems.items() if v is None] == ["1", "11"]
    for item_id, expected in {
        "row-2": "m.csv row 2 (line 3): 1 field where the header has 2; end it with ',' if the rest is empty, or "
        "add what is missing",
        "row-3": "m.csv row 3 (line 4): 3 fields where the header has 2",
        "4": "m.csv row 4 (line 5): no such file: nowhere.wav",
        "5": "m.csv row 5 (line 6): column 'path' is empty",
        "row-6": "m.csv row 6 (line 8): the line is not valid UTF-8",
        "7": "m.csv row 7 (line 9): s3:// cannot be read",
        "8": "m.csv row 8 (line 10): . is not a file",
        "9": "m.csv row 9 (line 11): a URL may not hold a user name or password",
        "10": "m.csv row 10 (line 12): ",
    }.items():
        assert (problems[item_id] or "").startswith(expected)


def test_a_bad_json_line_is_an_item_with_a_problem(tmp_path: Path) -> None:
    lines = [
        '{"path": "a.wav"}',
        '{"path": ',
        "[1]",
        '{"path": 5.5}',
        '{"path": ["a.wav"]}',
        '"x"',
        '{"nothing": 1}',
        '{"path": "b.wav"}',
    ]
    found = read_items(write_manifest(tmp_path, "\n".join(lines), "m.jsonl"))
    assert [i.problem is None for i in found] == [True, *[False] * 6, True]
    assert "m.jsonl row 2 (line 2): not JSON" in (found[1].problem or "")


def test_a_line_over_the_maximum_is_a_problem(tmp_path: Path) -> None:
    path = write_manifest(
        tmp_path, b'{"path": "a.wav"}\n{"path": "' + b"x" * (9 * 2**20) + b'"}\n{"path": "b.wav"}\n', "m.jsonl"
    )
    assert [i.problem is None for i in read_items(path)] == [True, False, True]


@pytest.mark.long
def test_an_unclosed_quote_does_not_swallow_the_manifest(tmp_path: Path) -> None:
    rows = "".join(f"{n},a.wav,text\n" for n in range(30_000))
    found = read_items(write_manifest(tmp_path, f'id,path,note\nx,a.wav,"oops\n{rows}'))
    assert sum(i.problem is not None for i in found) < 5
    assert found[-1].item_id == "29999"


def test_a_lone_quote_in_tsv_is_just_a_quote(tmp_path: Path) -> None:
    found = read_items(
        write_manifest(tmp_path, 'path\tsentence\na.wav\t"Hello, he said.\nb.wav\t"said ""yes"""\n', "m.tsv")
    )
    assert [i.row["sentence"] for i in found] == ['"Hello, he said.', 'said "yes"']


def test_values_are_text_unless_the_job_gives_types(tmp_path: Path) -> None:
    path = write_manifest(
        tmp_path,
        '{"path": "a.wav", "n": 5, "on": true, "tags": ["a"], "none": null, "day": "2026-01-02", "temperature": 0.5}\n',
        "m.jsonl",
    )
    source = open_manifest(path)
    (item,) = source.items()
    assert item.row == {"n": "5", "on": "true", "tags": '["a"]', "none": None, "day": "2026-01-02"}
    assert item.params == {"temperature": 0.5}
    source = open_manifest(path, {"types": {"n": "int64", "on": "bool", "day": "date32", "none": "float64"}})
    (item,) = source.items()
    assert item.row == {"n": 5, "on": True, "tags": '["a"]', "none": None, "day": date(2026, 1, 2)}
    assert source.row_schema() == pa.schema(
        [("n", pa.int64()), ("on", pa.bool_()), ("tags", pa.string()), ("none", pa.float64()), ("day", pa.date32())]
    )
    bad = read_items(write_manifest(tmp_path, "path,n\na.wav,five\nb.wav,5\n"), {"types": {"n": "int8"}})
    assert "column 'n': 'five' is not int8" in (bad[0].problem or "")
    assert bad[1].row == {"n": 5}
    with pytest.raises(NoSuchOption, match="unknown type"):
        read_items(write_manifest(tmp_path, "path,n\na.wav,5\n"), {"types": {"n": "integer"}})
    with pytest.raises(UsageError, match="not carried"):
        read_items(write_manifest(tmp_path, "path,n\na.wav,5\n"), {"types": {"path": "string"}})


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    write_manifest(tmp_path, "")
    table = pa.table(
        {
            "id": [7, 8],
            "path": pa.array(["a.wav", None]).dictionary_encode(),
            "score": [0.5, None],
            "tags": [["x"], []],
            "language": ["en", None],
        }
    )
    pq.write_table(table, tmp_path / "m.parquet")
    source = open_manifest(tmp_path / "m.parquet")
    one, two = source.items()
    assert (one.item_id, one.row, one.params) == ("7", {"score": 0.5, "tags": ["x"]}, {"language": "en"})
    assert two.problem == "m.parquet row 2: column 'path' is empty"
    assert source.row_schema() == pa.schema([("score", pa.float64()), ("tags", pa.list_(pa.string()))])
    assert source.size_hint() == 2
    pq.write_table(pa.table({"path": [1]}), tmp_path / "n.parquet")
    with pytest.raises(UsageError, match="holds int64, not paths"):
        read_items(tmp_path / "n.parquet")
    (tmp_path / "o.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(UsageError, match="not a readable Parquet file"):
        read_items(tmp_path / "o.parquet")


def test_fingerprints_follow_the_file_the_row_and_the_version(tmp_path: Path) -> None:
    def read_fingerprints(text: str, columns: dict[str, Any] | None = None) -> list[str]:
        return [i.fingerprint for i in read_items(write_manifest(tmp_path, text), columns)]

    url = "https://example.org/x.mp3"
    assert len(set(read_fingerprints("id,path,note,language\n1,a.wav,x,\n2,a.wav,y,\n3,a.wav,x,de\n4,b.wav,x,\n"))) == 4
    assert len(set(read_fingerprints("id,path,note\n1,a.wav,x\n2,a.wav,x\n"))) == 1
    assert len(set(read_fingerprints(f"path,version\n{url},1\n{url},2\n{url},\n"))) == 3
    assert read_fingerprints(f"path,etag\n{url},1\n", {"version": "etag"}) != read_fingerprints(
        f"path,etag\n{url},2\n", {"version": "etag"}
    )
    assert read_fingerprints("path,note,take\na.wav,x,1\n") == read_fingerprints("take,path,note\n1,a.wav,x\n")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.csv", "", "empty"),
        ("m.csv", "id,path\n", "no rows"),
        ("m.csv", "id,text\n1,x\n", "no column holds a path or URL; its columns are id, text"),
        ("m.csv", "path,path\na.wav,b.wav\n", "more than once"),
        ("m.csv", b"\xff\xfep\0a\0t\0h\0", "no rows"),
        ("m.csv", b"path\0\0\0,who\na.wav,x\n", "null characters"),
        ("m.csv", 'path,"who\na.wav,x\n', "a quote is never closed"),
        ("m.csv", b"p\xe9th,path\n", "not valid UTF-8"),
        ("m.jsonl", "", "no rows"),
        ("m.jsonl", "path,id\na.wav,1\n", "no line is a JSON object"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(tmp_path: Path, name: str, text: str | bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        read_items(write_manifest(tmp_path, text, name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_semicolons_and_windows_line_ends(tmp_path: Path) -> None:
    (item,) = read_items(write_manifest(tmp_path, "\ufeffid;path;note\r\n1;a.wav;x,y\r\n"))
    assert (item.item_id, item.row) == ("1", {"note": "x,y"})


@pytest.mark.long
def test_rows_are_streamed(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"a")
    with (tmp_path / "m.csv").open("w") as file:
        file.write("id,path,note\n")
        file.writelines(f"{n},a.wav,some text\n" for n in range(100_000))
    import tracemalloc

    stream = open_manifest(tmp_path / "m.csv").items()
    next(stream)
    tracemalloc.start()
    count = 1 + sum(1 for _ in stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100_000
    assert peak < 2 * 2**20


@pytest.mark.parametrize(
    ("kind", "names", "expected"),
    [
        ("image", "sku,photo,title", "photo"),
        ("image", "sku,Image URL,title", "Image URL"),
        ("image", "sku,imageUrl", "imageUrl"),
        ("image", "sku,file_name", "file_name"),
        ("image", "sku,IMG,video_url", "IMG"),
        ("audio", "call,recording,photo", "recording"),
        ("audio", "call,audio_path", "audio_path"),
        ("video", "clip_url,picture", "clip_url"),
        ("image", "url,photo", "url"),
    ],
)
def test_a_shops_column_of_files_is_found(kind: str, names: str, expected: str, tmp_path: Path) -> None:
    cells = ",".join("a.wav" if name == expected else "other" for name in names.split(","))
    (item,) = read_items(write_manifest(tmp_path, f"{names}\n{cells}\n"), kinds=frozenset({kind}))
    assert (item.source, item.problem) == ("a.wav", None)


def test_two_columns_that_may_hold_the_files_are_refused_with_the_option(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "photo,image_url\na.wav,b.wav\n")
    with pytest.raises(UsageError, match="several columns may hold the files: photo, image_url") as caught:
        open_manifest(path, kinds=frozenset({"image"}))
    assert caught.value.hint == "name the one: --path-column photo"
    assert [item.source for item in read_items(path, {"path": "image_url"}, frozenset({"image"}))] == ["b.wav"]


def test_a_row_of_text_has_no_file_in_a_column_called_like_one(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, "product,file_name\nlamp,a.wav\n")
    job = make_job(capability="complete", source=str(path), params={"prompt": "{{ product }}"})
    (item,) = open_source(job, frozenset({"text"}), PARAMS).items()
    assert (item.location, item.row) == (None, {"product": "lamp", "file_name": "a.wav"})
