"""Media files of items: safe names, complete contents."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.errors import StorageError
from mediamill.tasks.sinks.media import find_lost_media, publish_media
from mediamill.tasks.sinks.safe_names import to_safe_name

IDS = st.one_of(
    st.text(min_size=1),
    st.sampled_from(
        ["../../etc/passwd", "/abs", "..", ".", "~", "a\0b", "CON", "-rf", ".hidden", "a" * 5000, "\u202eexe"]
    ),
)


@given(IDS)
def test_a_safe_name_is_never_a_path_or_hidden(item_id: str) -> None:
    name = to_safe_name(item_id, ".mp3")
    assert os.path.basename(name) == name  # noqa: PTH119
    assert not name.startswith((".", "-", "~"))
    assert len(name.encode()) <= 120
    assert name.endswith(".mp3")
    assert all(c.isalnum() or c in "._-" or c == "\u005f" or c.isidentifier() or ord(c) > 127 for c in name)
    assert all(c.isprintable() for c in name)


@given(st.lists(IDS, unique=True))
def test_different_ids_have_names_that_differ_ignoring_case(ids: list[str]) -> None:
    assert len({to_safe_name(i, ".wav").casefold() for i in ids}) == len(ids)


def test_a_safe_name_keeps_readable_characters() -> None:
    assert to_safe_name("lesson 1/\u00c4pfel \u4f60\u597d.txt", ".wav").startswith(
        "lesson-1-\u00c4pfel-\u4f60\u597d.txt-"
    )


def test_a_file_is_published_once_and_again_when_it_is_torn(tmp_path: Path) -> None:
    (tmp_path / ".tmp").mkdir()

    def publish() -> str:
        file_to_publish = tmp_path / ".tmp" / "x"
        file_to_publish.write_bytes(b"sound")
        published = publish_media(file_to_publish, tmp_path, "a/b", ".wav")
        assert not file_to_publish.exists()
        assert published.sha256 == hashlib.sha256(b"sound").hexdigest()
        assert (tmp_path / published.file).read_bytes() == b"sound"
        return published.file

    file = publish()
    before = (tmp_path / file).stat().st_mtime_ns, (tmp_path / file).stat().st_ino
    assert publish() == file
    assert ((tmp_path / file).stat().st_mtime_ns, (tmp_path / file).stat().st_ino) == before
    (tmp_path / file).write_bytes(b"sou")
    row = orjson.dumps({"item_id": "a/b", "file": file, "bytes": 5})
    assert find_lost_media(tmp_path, [row, b'{"item_id":"c"}']) == ["a/b"]
    assert publish() == file
    assert find_lost_media(tmp_path, [row]) == []


def test_a_file_in_place_of_the_media_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("in the way")
    file_to_publish = tmp_path / "x"
    file_to_publish.write_bytes(b"sound")
    with pytest.raises(StorageError):
        publish_media(file_to_publish, tmp_path, "a", ".wav")


def test_a_row_of_several_files_is_lost_with_any_of_them(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    images = [{"file": f"media/{n}.png", "bytes": 3} for n in range(3)]
    for image in images:
        (tmp_path / str(image["file"])).write_bytes(b"png")
    rows = [orjson.dumps({"item_id": "a", **images[0], "images": images}), b'{"item_id":"b","images":["x",null,{}]}']
    assert find_lost_media(tmp_path, rows) == []
    (tmp_path / "media" / "2.png").write_bytes(b"p")
    assert find_lost_media(tmp_path, rows) == ["a"]
