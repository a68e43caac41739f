"""A small Parquet file that stands for endless rows or texts is refused in one line, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mediamill.tasks.errors import UsageError
from mediamill.tasks.sources.parquet import MAX_ROWS, ParquetReader

WHOLE_DICTIONARY = 100_000_000


def write_repeated(path: Path, text: str, rows: int, **more: Any) -> Path:
    """A file whose rows all hold one text, which is stored once."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
    table = pa.table({"text": column, **more})
    pq.write_table(table, path, compression="zstd", dictionary_pagesize_limit=WHOLE_DICTIONARY)
    return path


def read_all(path: Path) -> list[Any]:
    return list(ParquetReader(path, path.name).rows())


@pytest.mark.long
def test_a_footer_with_too_many_rows_is_refused(tmp_path: Path) -> None:
    path = write_repeated(tmp_path / "m.parquet", "hi", 1_000_000)
    footer = pq.read_metadata(path)
    part = pq.read_metadata(path)
    while footer.num_rows <= MAX_ROWS:
        footer.append_row_groups(part)
    footer.write_metadata_file(path)
    with pytest.raises(UsageError, match=r"says that it has 101,000,000 rows; a manifest has at most 100,000,000"):
        read_all(path)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_text_that_a_file_repeats_without_end_is_refused(tmp_path: Path, *, wrapped: bool) -> None:
    path = write_repeated(tmp_path / "m.parquet", "x" * 1_000_000, 2000)
    if wrapped:
        texts = pq.read_table(path, read_dictionary=["text"]).column("text").combine_chunks()
        struct = pa.StructArray.from_arrays([texts], names=["inner"])
        pq.write_table(pa.table({"s": struct}), path, compression="zstd", dictionary_pagesize_limit=WHOLE_DICTIONARY)
    with pytest.raises(UsageError, match=r"its rows expand to more than 1,000 times the file's"):
        read_all(path)


def test_lists_that_expand_are_refused_before_they_are_read(tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), pa.array(["y" * 1_000_000]))
    lists = pa.ListArray.from_arrays(pa.array([0, 2000], pa.int32()), texts)
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"d": lists}), path, compression="zstd", dictionary_pagesize_limit=WHOLE_DICTIONARY)
    with pytest.raises(UsageError, match=r"'d\.list\.element' expands to 2,000,016,000 bytes from a file of"):
        read_all(path)


@pytest.mark.long
def test_a_row_longer_than_a_line_is_a_problem_and_the_rest_is_read(tmp_path: Path) -> None:
    texts = ["a", "b" * 5_000_000, "c" * 4_000_000]
    pq.write_table(pa.table({"id": ["1", "2", "3"], "text": texts}), tmp_path / "m.parquet")
    first, second, third = read_all(tmp_path / "m.parquet")
    assert (first.values, third.values["text"]) == ({"id": "1", "text": "a"}, texts[2])
    assert second.problem == "the row is longer than 4,194,304 bytes"


def test_constant_columns_and_nested_rows_are_read_as_they_are(tmp_path: Path) -> None:
    rows = 5000
    lists = [["one", None, f"{n}"] for n in range(rows)]
    structs = [{"a": "same", "b": n} for n in range(rows)]
    path = write_repeated(tmp_path / "m.parquet", "the same prompt " * 20, rows, n=range(rows), l=lists, s=structs)
    found = read_all(path)
    assert [row.values for row in found] == pq.read_table(path).to_pylist()


@pytest.mark.long
def test_memory_stays_bounded(tmp_path: Path) -> None:
    path = write_repeated(tmp_path / "m.parquet", "x" * 20_000_000, 100_000)
    code = (
        "import resource, sys; from pathlib import Path; from mediamill.tasks.sources.parquet import ParquetReader\n"
        "try:\n    [row.number for row in ParquetReader(Path(sys.argv[1]), 'm').rows()]\n"
        "except Exception as error: print(type(error).__name__)\n"
        "status = Path('/proc/self/status')\n"  # on Linux ru_maxrss begins at the peak of what started the process
        "if status.exists(): print(status.read_text().split('VmHWM:')[1].split()[0])\n"
        "else: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=120, check=True)
    name, peak = done.stdout.split()
    assert name == "UsageError"
    assert int(peak) / (1024 if sys.platform == "darwin" else 1) < 600_000, done.stdout
