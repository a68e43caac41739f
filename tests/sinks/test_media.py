"""Media files of items: named after them, with complete contents."""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import pytest

from mediamill.tasks.domain import Item
from mediamill.tasks.errors import StorageError
from mediamill.tasks.sinks.media import find_lost_media, publish_media


def test_a_file_is_published_once_and_again_when_it_is_torn(tmp_path: Path) -> None:
    (tmp_path / ".tmp").mkdir()

    def publish() -> str:
        file_to_publish = tmp_path / ".tmp" / "x"
        file_to_publish.write_bytes(b"sound")
        published = publish_media(file_to_publish, tmp_path, Item("a/b", 0, "b", file_stem="b"), ".wav")
        assert not file_to_publish.exists()
        assert published.sha256 == hashlib.sha256(b"sound").hexdigest()
        assert (tmp_path / published.file).read_bytes() == b"sound"
        return published.file

    file = publish()
    assert file == "media/b.wav"
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
        publish_media(file_to_publish, tmp_path, Item("a", 0, "a"), ".wav")


def test_a_row_of_several_files_is_lost_with_any_of_them(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    images = [{"file": f"media/{n}.png", "bytes": 3} for n in range(3)]
    for image in images:
        (tmp_path / str(image["file"])).write_bytes(b"png")
    rows = [orjson.dumps({"item_id": "a", **images[0], "images": images}), b'{"item_id":"b","images":["x",null,{}]}']
    assert find_lost_media(tmp_path, rows) == []
    (tmp_path / "media" / "2.png").write_bytes(b"p")
    assert find_lost_media(tmp_path, rows) == ["a"]


def test_a_video_is_never_written_over_by_another(tmp_path: Path) -> None:
    def publish(content: bytes, part: str | None = None) -> str:
        file_to_publish = tmp_path / "x"
        file_to_publish.write_bytes(content)
        item = Item("cat", 0, "row 1", file_stem="cat")
        return publish_media(file_to_publish, tmp_path, item, ".mp4", part, keeps_others=True).file

    assert publish(b"preview", "preview") == "media/cat~preview.mp4"
    assert [publish(b"full"), publish(b"full")] == ["media/cat.mp4"] * 2
    other = publish(b"another")
    assert other == f"media/cat~{hashlib.sha256(b'another').hexdigest()[:12]}.mp4"
    contents = {path.name: path.read_bytes() for path in (tmp_path / "media").iterdir()}
    assert contents == {"cat~preview.mp4": b"preview", "cat.mp4": b"full", Path(other).name: b"another"}
