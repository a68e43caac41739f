"""Pictures and videos in prompts: decoded to their end, bounded, refused in each vendor's words, described honestly."""

from __future__ import annotations

import base64
import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.helpers.local_server import RunningServer
from tests.helpers.paths import SAMPLES
from tests.helpers.visual_samples import DAY, HOUSE, PAGE, data_url, serve_folder
from tests.local.chat.test_chat_request import CHAT, MODEL, ask, words_of

PROMPT = {"type": "text", "text": "What is it?"}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"engine": "measure", "url_host": ["127.0.0.1"]}


def shown(server: RunningServer, dialect: str, *urls: str, kind: str = "image_url", **more: Any) -> httpx.Response:
    parts = [PROMPT, *({"type": kind, kind: {"url": url}} for url in urls)]
    return ask(server, dialect, messages=[{"role": "user", "content": parts}], **more)


def said(reply: httpx.Response) -> str:
    return str(reply.json()["choices"][0]["message"]["content"])


def url_of(image: Image.Image, form: str = "PNG", **options: Any) -> str:
    out = BytesIO()
    image.save(out, form, **options)
    return url_from(out.getvalue(), form.lower())


def url_from(data: bytes, form: str = "png", kind: str = "image") -> str:
    return f"data:{kind}/{form};base64,{base64.b64encode(data).decode()}"


def moving() -> str:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue")]
    return url_of(frames[0], "GIF", save_all=True, append_images=frames[1:])


def bomb() -> str:
    """A header that claims 30,000 by 30,000 pixels."""
    return data_url(SAMPLES / "broken" / "enormous.png")


HALF = url_from(HOUSE.read_bytes()[:3000], "jpeg")


@pytest.mark.parametrize("dialect", sorted(CHAT))
@pytest.mark.parametrize(
    "url",
    [
        HALF,
        bomb(),
        url_from(b"no picture"),
        "data:image/png;base64,%%%",
        "data:text/plain;base64,AAAA",
        "ftp://x/y.png",
    ],
    ids=["half", "bomb", "text", "not base64", "not a picture's URL", "ftp"],
)
def test_a_bad_picture_is_refused_and_free(dialect: str, url: str, local_server: RunningServer) -> None:
    reply = shown(local_server, dialect, url)
    assert reply.status_code == 400
    assert "image" in words_of(dialect, reply.json()).lower()
    assert local_server.bill()["billed"] == 0


@pytest.mark.parametrize(
    ("dialect", "url", "takes"),
    [
        ("openai", moving(), False),
        ("openai", url_of(Image.new("RGB", (8, 8)), "BMP"), False),
        ("openai", url_of(Image.new("RGB", (8, 8)), "WEBP"), True),
        ("xai", url_of(Image.new("RGB", (8, 8)), "WEBP"), False),
        ("xai", url_of(Image.new("RGB", (8, 8)), "JPEG"), True),
        ("together", moving(), True),
        ("groq", url_of(Image.new("1", (8192, 4051))), False),
        ("groq", url_of(Image.new("1", (8192, 4050))), True),
        ("together", url_of(Image.new("1", (8192, 4051))), True),
    ],
)
def test_each_vendor_takes_its_own_formats_and_sizes(
    dialect: str, url: str, takes: bool, local_server: RunningServer
) -> None:
    reply = shown(local_server, dialect, url)
    assert reply.status_code == (200 if takes else 400)
    if dialect == "openai" and not takes:
        assert reply.json()["error"]["code"] == "invalid_image_format"


def test_groq_takes_little_in_a_request_and_more_by_url(local_server: RunningServer, tmp_path: Path) -> None:
    large = Image.effect_noise((2200, 2200), 90)
    large.save(tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size > 4_000_000
    assert shown(local_server, "groq", data_url(tmp_path / "large.png")).status_code == 413
    with (tmp_path / "larger.png").open("wb") as file:
        file.truncate(20 * 1024 * 1024 + 1)
    with serve_folder(tmp_path) as address:
        assert shown(local_server, "groq", f"{address}/large.png").status_code == 200
        assert shown(local_server, "groq", f"{address}/larger.png").status_code == 400
        assert shown(local_server, "groq", f"{address}/nothing.png").status_code == 400
    assert shown(local_server, "groq", "http://127.0.0.2:1/x.png").status_code == 400


def test_five_pictures_are_groqs_most(local_server: RunningServer) -> None:
    small = url_of(Image.new("RGB", (8, 8)))
    assert shown(local_server, "groq", *[small] * 5).status_code == 200
    reply = shown(local_server, "groq", *[small] * 6)
    assert (reply.status_code, "at most 5" in reply.text) == (400, True)
    assert shown(local_server, "together", *[small] * 6).status_code == 200


def test_detail_goes_only_where_it_is_known(local_server: RunningServer) -> None:
    part = {"type": "image_url", "image_url": {"url": data_url(HOUSE), "detail": "low"}}
    messages = [{"role": "user", "content": [PROMPT, part]}]
    statuses = {name: ask(local_server, name, messages=messages).status_code for name in CHAT}
    assert statuses == {**dict.fromkeys(CHAT, 200), "together": 400}
    tiled = shown(local_server, "openai", data_url(HOUSE), model="gpt-4.1").json()["usage"]["prompt_tokens"]
    low = ask(local_server, "openai", messages=messages, model="gpt-4.1").json()["usage"]["prompt_tokens"]
    assert tiled - low == 170


def test_a_description_says_that_it_is_one(local_server: RunningServer) -> None:
    exif = Image.Exif()
    exif[0x0110], exif[0x0112], exif[0x0132] = "Box Brownie", 6, "1901:02:03 04:05:06"
    reply = shown(local_server, "together", url_of(Image.new("RGB", (300, 100), (200, 30, 30)), "JPEG", exif=exif))
    assert said(reply) == (
        "A description, not a caption: a tall JPEG picture of 100 by 300 pixels, mostly red, of middling brightness, "
        "turned upright by its orientation, taken with Box Brownie, on 1901:02:03 04:05:06."
    )
    assert reply.headers["x-mediamill-engine"] == "measure-1"
    assert reply.headers["x-mediamill-simulated"] == "false"
    assert ask(local_server, "together").headers["x-mediamill-simulated"] == "true"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_any_kind_of_pixels_is_measured(mode: str, local_server: RunningServer) -> None:
    picture = Image.new(mode, (40, 20), "white" if mode not in ("I;16", "CMYK") else 0)
    form = "TIFF" if mode == "CMYK" else "PNG"
    words = said(shown(local_server, "together", url_of(picture, form)))
    assert "a wide" in words
    assert ("mostly black, dark" if mode == "I;16" else "mostly white, bright") in words


def test_what_was_measured_fills_a_schema(local_server: RunningServer) -> None:
    properties = {
        "width": {"type": "integer"},
        "image_height": {"type": "integer"},
        "dominantColors": {"type": "array", "items": {"type": "string"}},
        "caption": {"type": "string"},
    }
    schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    told = {"type": "json_schema", "json_schema": {"name": "seen", "schema": schema, "strict": True}}
    reply = shown(local_server, "openai", url_of(Image.new("RGB", (30, 10), "white")), response_format=told)
    found = json.loads(said(reply))
    assert (found["width"], found["image_height"], found["dominantColors"]) == (30, 10, ["white"])
    assert found["caption"].startswith("A description, not a caption")


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="the program tesseract is not on PATH")
def test_words_in_a_picture_are_read(local_server: RunningServer) -> None:
    assert "with the text" in said(shown(local_server, "together", data_url(PAGE)))


def test_a_video_is_measured_from_beginning_to_end(local_server: RunningServer) -> None:
    with serve_folder(DAY.parent) as address:
        for dialect, url in (("together", data_url(DAY)), ("compatible", f"{address}/{DAY.name}")):
            words = said(shown(local_server, dialect, url, kind="video_url"))
            assert words.startswith("A description, not a caption: a ")
            assert " video of 6.0 s, " in words
            assert " frames at " in words
            assert "mostly " in words
    assert len(local_server.bill()["calls"][0]["pictures"]) == 1


PLAYLIST = b"ffconcat version 1.0\nfile '/etc/hostname'\n"


@pytest.mark.parametrize("data", [b"no video", PLAYLIST, DAY.read_bytes()[:600]], ids=["text", "playlist", "half"])
def test_a_bad_video_is_refused_and_free(data: bytes, local_server: RunningServer) -> None:
    reply = shown(local_server, "together", url_from(data, "mp4", "video"), kind="video_url")
    assert reply.status_code == 400
    assert "Invalid video" in words_of("together", reply.json())
    assert local_server.bill()["billed"] == 0


def test_videos_go_nowhere_else(local_server: RunningServer) -> None:
    for dialect in ("openai", "groq", "xai"):
        reply = shown(local_server, dialect, data_url(DAY), kind="video_url", model=MODEL[dialect])
        assert reply.status_code == 400
        assert "video_url is not supported" in words_of(dialect, reply.json())
