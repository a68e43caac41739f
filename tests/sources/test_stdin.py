from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from mediamill.tasks.domain import Item
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.sources import open_source


def read_list(data: bytes, monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    source = open_source(make_job(capability="transcribe", source="-"), frozenset({"audio"}), frozenset())
    assert (source.root, source.name, source.row_schema()) == ("-", "stdin", None)
    return list(source.items())


def test_each_line_is_a_path_or_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.wav").write_bytes(b"a")
    lines = f"a b.wav\r\n\nhttps://example.org/x.mp3\n{tmp_path}/a b.wav\nnowhere.wav\n".encode()
    found = read_list(lines + b"caf\xe9.wav\n" + b"x" * 10_000 + b"\na b.wav", monkeypatch)
    assert [i.item_id for i in found] == [
        "a b.wav",
        "https://example.org/x.mp3",
        f"{tmp_path}/a b.wav",
        "nowhere.wav",
        "row-6",
        "row-7",
        "a b.wav",
    ]
    assert [i.problem is None for i in found] == [True, True, True, False, False, False, True]
    assert found[0].location == found[2].location == str(tmp_path / "a b.wav")
    assert found[3].problem == "stdin line 5: no such file: nowhere.wav"


def test_an_empty_list_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="empty"):
        read_list(b"\n\n", monkeypatch)
