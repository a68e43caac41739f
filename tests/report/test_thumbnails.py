"""The contact sheet: thumbnails of generated images, bounded in number, and none from outside OUT/media."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from shutil import copyfile
from typing import Any

from PIL import Image

from mediamill.tasks.report.thumbnails import MAX_THUMBNAILS, list_media_files, make_contact_sheet, make_thumbnails
from tests.helpers.paths import SAMPLES

VIDEO = SAMPLES / "videos" / "day.mp4"


def write_results(out: Path, count: int) -> list[dict[str, Any]]:
    """Write result rows with two images each."""
    (out / "media").mkdir(parents=True)
    files = [f"media/{n} <b>.png" for n in range(count)]
    for n, file in enumerate(files):
        Image.new("RGB", (300, 200), (n % 256, 0, 0)).save(out / file)
    return [
        {"item_id": f"p{at}", "images": [{"file": file} for file in files[at : at + 2]]} for at in range(0, count, 2)
    ]


def test_the_first_images_are_shown_and_linked(tmp_path: Path) -> None:
    frames = make_contact_sheet(tmp_path, write_results(tmp_path, MAX_THUMBNAILS + 4))
    assert len(frames) == MAX_THUMBNAILS
    assert (frames[2].item_id, frames[2].href) == ("p2", "media/2%20%3Cb%3E.png")
    assert all(frame.thumbnail.startswith("data:image/jpeg;base64,") for frame in frames)
    assert sum(len(frame.thumbnail) for frame in frames) < 200_000


def test_files_that_are_missing_broken_or_outside_media_are_left_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = write_results(out, 4)
    (out / "media" / "0 <b>.png").unlink()
    (out / "media" / "1 <b>.png").write_bytes(b"torn")
    Image.new("RGB", (9, 9)).save(tmp_path / "private.png")
    rows.append({"item_id": "x", "images": [{"file": "../private.png"}, {"file": str(tmp_path / "private.png")}]})
    assert [frame.item_id for frame in make_contact_sheet(out, rows)] == ["p2", "p2"]


def test_a_video_is_shown_by_one_of_its_frames(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    copyfile(VIDEO, tmp_path / "media" / "clip.mp4")
    (frame,) = make_contact_sheet(tmp_path, [{"item_id": "v", "file": "media/clip.mp4"}])
    assert make_thumbnails({"v": str(VIDEO)}) == {"v": frame.thumbnail}
    with Image.open(BytesIO(base64.b64decode(frame.thumbnail.partition(",")[2]))) as shown:
        assert max(shown.size) == 128


def test_columns_of_those_names_may_hold_any_value() -> None:
    for images in (None, 3, "text", ["a", None, {"file": 3}, {}], {"file": "x"}):
        assert list_media_files({"images": images, "file": images}) == []
