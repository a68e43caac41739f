"""The contact sheet: thumbnails of generated images, bounded in number, and none from outside OUT/media."""

from __future__ import annotations

import json
import shutil
from io import BytesIO
from pathlib import Path
from shutil import copyfile
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image

from mediamill.tasks.report.thumbnails import MAX_THUMBNAILS, list_media_files, make_contact_sheet, make_thumbnails
from tests.helpers.cli_runs import mediamill
from tests.helpers.paths import SAMPLES
from tests.report.report_pages import parse_page

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
    assert sum(len(frame.thumbnail.data) for frame in frames) < 150_000


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
    with Image.open(BytesIO(frame.thumbnail.data)) as shown:
        assert max(shown.size) == 128


def list_shown(out: Path) -> list[Path]:
    """The pictures of a page, as its links lead to them."""
    page = parse_page((out / "report.html").read_text())
    return [out / unquote(value) for name, value in page.values if name == "src"]


@pytest.mark.long
def test_the_page_shows_every_photograph_from_files_beside_it(tmp_path: Path) -> None:
    """Names and pictures may be anything; the page goes on where its folder is moved, and is built without strays."""
    (tmp_path / "photos").mkdir()
    for n, name in enumerate(("a", "<b> '\"#%?&", "ж" * 60)):
        noise = Image.effect_noise((400, 300), 90 + n).convert("RGB")
        noise.save(tmp_path / "photos" / f"{name}.png")
    command = ("caption", tmp_path / "photos", "--provider", "local", "--out", tmp_path / "out", "--no-prefect")
    done = mediamill(*command, "--settle", "0", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    shutil.move(tmp_path / "out", tmp_path / "moved")
    out = tmp_path / "moved"
    shown = list_shown(out)
    assert len(shown) == 3
    for path in shown:
        with Image.open(path) as picture:
            picture.load()
    (tmp_path / "photos" / "a.png").unlink()
    torn, _gone, kept = shown  # in the order of their names: <b>, a, ж
    torn.write_bytes(b"torn")
    (out / "report_files" / "mine.jpg").write_bytes(b"of somebody")
    verified = mediamill("report", out, "--verify", "--json", home=tmp_path / "home")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    (finding,) = json.loads(verified.stdout)["findings"]
    assert (finding["path"], finding["mended"]) == (f"report_files/{torn.name}", True)
    assert list_shown(out) == [torn, kept]
    assert {file.name for file in (out / "report_files").iterdir()} == {"mine.jpg", torn.name, kept.name}
    assert json.loads(mediamill("report", out, "--verify", "--json", home=tmp_path / "home").stdout)["findings"] == []


def test_columns_of_those_names_may_hold_any_value() -> None:
    for images in (None, 3, "text", ["a", None, {"file": 3}, {}], {"file": "x"}):
        assert list_media_files({"images": images, "file": images}) == []
