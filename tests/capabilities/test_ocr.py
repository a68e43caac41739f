"""Text in images on the command line: read for real with the extra, refused in one line without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from mediamill.flows.cli.main import cli
from mediamill.tasks.errors import UsageError
from mediamill.tasks.system import ocr_models
from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.integration import require_integration
from tests.helpers.ocr_pages import ENGLISH, SPOILED, draw_page, load_font, measure_errors
from tests.helpers.paths import SAMPLES

_PAGE = SAMPLES / "pictures" / "page.png"
_HEADING = "Notes from the harbour office, printed in two columns"
_HOURS = "Opening hours\nMonday to Friday: 9 to 18\nSaturday: 10 to 14\nSunday: closed"


def test_without_the_extra_one_line_names_it_and_pictures_are_described_without_their_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ocr_models, "_PACKAGES", ("no_such_package",))
    monkeypatch.delenv("MEDIAMILL_OCR_IN_DESCRIPTIONS")
    ocr_models.find_ocr_models.cache_clear()
    try:
        with pytest.raises(UsageError, match="no_such_package is not installed") as refused:
            cli.main(["ocr", str(_PAGE), "--out", str(tmp_path / "out"), "--quote"], standalone_mode=False)
        assert "mediamill[ocr]" in (refused.value.hint or "")
        assert not ocr_models.reads_described_pictures()
    finally:
        ocr_models.find_ocr_models.cache_clear()
    assert not (tmp_path / "out").exists()


@pytest.mark.long
def test_pages_are_read_however_they_lie_with_boxes_in_the_images_own_pixels(tmp_path: Path) -> None:
    require_integration("rapidocr")
    pages = tmp_path / "pages"
    pages.mkdir()
    page = draw_page(load_font(11), ENGLISH)
    for name, spoil in SPOILED.items():
        spoil(page).save(pages / f"{name}.png")
    large = page.resize((page.width * 2, page.height * 2), Image.Resampling.BICUBIC)
    large.save(pages / "large.png")
    draw_page(load_font(11), ENGLISH, columns=2, heading=_HEADING).save(pages / "columns.png")
    done = mediamill("ocr", pages, "--out", tmp_path / "out", "--beside", home=tmp_path / "home", timeout=600)
    assert done.returncode == 0, done.stderr
    rows = {row["item_id"].removesuffix(".png"): row for row in read_rows(tmp_path / "out")}
    assert rows.keys() == {*SPOILED, "large", "columns"}
    text = " ".join(ENGLISH)
    for name, row in rows.items():
        expected = f"{_HEADING} {text}" if name == "columns" else text
        assert measure_errors(expected, row["text"]) < 0.02, (name, row["text"])
        assert row["confidence"] > 0.9
        assert row["left_out_lines"] == 0
        assert row["simulated"] is False
        assert row["engine"] == ocr_models.name_ocr_engine()
        assert row["cost_basis"] == "free"
        assert (pages / f"{name}.txt").read_text(encoding="utf-8").strip() == row["text"].strip()
    angles = {name: round(rows[name]["angle"]) % 360 for name in SPOILED}
    assert angles == dict(zip(SPOILED, (0, 90, 180, 270, 3, 353, 0, 0), strict=True))
    assert {line["block"] for line in rows["columns"]["lines"]} == {0, 1, 2}
    assert_boxes_hold_ink(page, rows["clean"]["lines"])
    assert_boxes_hold_ink(large, rows["large"]["lines"])
    again = mediamill("ocr", pages, "--out", tmp_path / "out", home=tmp_path / "home")
    assert "nothing to do" in again.stdout


def assert_boxes_hold_ink(page: Image.Image, lines: list[dict[str, Any]]) -> None:
    """Nearly all dark pixels of the page are inside of the boxes, which are no larger than lines."""
    dark = page.point(lambda value: 255 if value < 128 else 0)
    outside = dark.copy()
    for line in lines:
        assert line["bottom"] - line["top"] < page.height * 0.04
        outside.paste(0, (line["left"], line["top"], line["right"] + 1, line["bottom"] + 1))
    assert sum(outside.histogram()[128:]) < 0.01 * sum(dark.histogram()[128:])


@pytest.mark.long
def test_a_description_has_the_text_in_the_picture_and_its_key_the_models(tmp_path: Path) -> None:
    require_integration("rapidocr")
    rows = {}
    for value in ("1", "0"):
        out = tmp_path / value
        done = mediamill(
            *("caption", _PAGE, "--provider", "local", "--out", out),
            home=tmp_path / "home",
            env={"MEDIAMILL_OCR_IN_DESCRIPTIONS": value},
        )
        assert done.returncode == 0, done.stderr
        rows[value] = read_rows(out)[0]
    assert f"with the text '{' '.join(_HOURS.split())}'" in rows["1"]["text"]
    assert "with the text" not in rows["0"]["text"]
    assert rows["1"]["engine"] == f"measure-1+{ocr_models.name_ocr_engine()}"
    assert rows["1"]["request_key"] != rows["0"]["request_key"]


@pytest.mark.long
def test_long_pages_all_pages_of_a_tiff_and_white_text_on_nothing_are_read(tmp_path: Path) -> None:
    require_integration("rapidocr")
    pages = tmp_path / "pages"
    pages.mkdir()
    lines = [f"{n:03d} {' '.join(ENGLISH[n % len(ENGLISH)].split()[:6])}" for n in range(70)]
    scroll = Image.new("L", (900, 2800), 255)
    for n, line in enumerate(lines):
        ImageDraw.Draw(scroll).text((40, 10 + 40 * n), line, font=load_font(10), fill=20)
    scroll.save(pages / "scroll.png")
    sheets = [scroll.crop((0, 400 * n, 900, 400 * (n + 1))) for n in range(3)]
    sheets[0].save(pages / "sheets.tif", save_all=True, append_images=sheets[1:])
    layer = Image.new("RGBA", (900, 200), (255, 255, 255, 0))
    ImageDraw.Draw(layer).text((40, 80), "White letters on nothing at all", font=load_font(16), fill="white")
    layer.save(pages / "white.png")
    done = mediamill("ocr", pages, "--out", tmp_path / "out", "--settle", "0", home=tmp_path / "home", timeout=600)
    assert done.returncode == 0, done.stderr
    rows = {row["item_id"]: row for row in read_rows(tmp_path / "out")}
    assert measure_errors(" ".join(lines), rows["scroll.png"]["text"]) < 0.01
    assert len(rows["scroll.png"]["lines"]) == len(lines)
    assert rows["white.png"]["text"] == "White letters on nothing at all"
    tiff = rows["sheets.tif"]
    assert (tiff["pages"], tiff["warnings"], len(tiff["pictures"])) == (3, [], 3)
    assert [page.split("\n") for page in tiff["text"].split("\f")] == [lines[10 * n : 10 * (n + 1)] for n in range(3)]
    assert [line["page"] for line in tiff["lines"]] == [1 + n // 10 for n in range(30)]
    assert len(read_rows(tmp_path / "out", "calls")) == 5


_READ_WITHOUT_NETWORK = """
import subprocess
import sys
from pathlib import Path

events = []
sys.addaudithook(lambda event, _: events.append(event) if event.startswith("socket.") else None)
from mediamill.tasks.local.ocr.base import join_lines
from mediamill.tasks.local.ocr.ocr_worker import read_page

print(join_lines(read_page(Path(sys.argv[1]).read_bytes(), 1).lines))
reached = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"} & set(events)
assert not reached, reached
"""


@pytest.mark.long
def test_nothing_reaches_the_network(tmp_path: Path) -> None:
    require_integration("rapidocr")
    command = [sys.executable, "-c", _READ_WITHOUT_NETWORK, str(_PAGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == _HOURS
