"""Images and videos in prompts: decoded completely, limited, refused in each provider's error format, described."""

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
from tests.local.chat.test_chat_request import CHAT, MODEL, ask, error_message

PROMPT = {"type": "text", "text": "What is it?"}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"engine": "measure", "url_host": ["127.0.0.1"]}


def ask_about(server: RunningServer, dialect: str, *urls: str, kind: str = "image_url", **more: Any) -> httpx.Response:
    parts = [PROMPT, *({"type": kind, kind: {"url": url}} for url in urls)]
    return ask(server, dialect, messages=[{"role": "user", "content": parts}], **more)


def content_of(reply: httpx.Response) -> str:
    return str(reply.json()["choices"][0]["message"]["content"])


def image_url_of(image: Image.Image, form: str = "PNG", **options: Any) -> str:
    out = BytesIO()
    image.save(out, form, **options)
    return to_data_url(out.getvalue(), form.lower())


def to_data_url(data: bytes, form: str = "png", kind: str = "image") -> str:
    return f"data:{kind}/{form};base64,{base64.b64encode(data).decode()}"


def animated_gif() -> str:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue")]
    return image_url_of(frames[0], "GIF", save_all=True, append_images=frames[1:])


def decompression_bomb() -> str:
    """A header that claims 30,000 by 30,000 pixels."""
    return data_url(SAMPLES / "broken" / "enormous.png")


HALF = to_data_url(HOUSE.read_bytes()[:3000], "jpeg")


@pytest.mark.parametrize("dialect", sorted(CHAT))
@pytest.mark.parametrize(
    "url",
    [
        HALF,
        decompression_bomb(),
        to_data_url(b"no picture"),
        "data:image/png;base64,%%%",
        "data:text/plain;base64,AAAA",
        "ftp://x/y.png",
    ],
    ids=["half", "decompression_bomb", "text", "not base64", "not a picture's URL", "ftp"],
)
def test_an_invalid_image_is_refused_and_free(dialect: str, url: str, local_server: RunningServer) -> None:
    reply = ask_about(local_server, dialect, url)
    assert reply.status_code == 400
    assert "image" in error_message(dialect, reply.json()).lower()
    assert local_server.bill()["billed"] == 0


@pytest.mark.parametrize(
    ("dialect", "url", "accepted"),
    [
        ("openai", animated_gif(), False),
        ("openai", image_url_of(Image.new("RGB", (8, 8)), "BMP"), False),
        ("openai", image_url_of(Image.new("RGB", (8, 8)), "WEBP"), True),
        ("xai", image_url_of(Image.new("RGB", (8, 8)), "WEBP"), False),
        ("xai", image_url_of(Image.new("RGB", (8, 8)), "JPEG"), True),
        ("together", animated_gif(), True),
        ("groq", image_url_of(Image.new("1", (8192, 4051))), False),
        ("groq", image_url_of(Image.new("1", (8192, 4050))), True),
        ("together", image_url_of(Image.new("1", (8192, 4051))), True),
    ],
)
def test_each_provider_accepts_its_own_formats_and_sizes(
    dialect: str, url: str, accepted: bool, local_server: RunningServer
) -> None:
    reply = ask_about(local_server, dialect, url)
    assert reply.status_code == (200 if accepted else 400)
    if dialect == "openai" and not accepted:
        assert reply.json()["error"]["code"] == "invalid_image_format"


def test_groq_accepts_larger_images_by_url_than_in_the_request(local_server: RunningServer, tmp_path: Path) -> None:
    large = Image.effect_noise((2200, 2200), 90)
    large.save(tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size > 4_000_000
    assert ask_about(local_server, "groq", data_url(tmp_path / "large.png")).status_code == 413
    with (tmp_path / "larger.png").open("wb") as file:
        file.truncate(20 * 1024 * 1024 + 1)
    with serve_folder(tmp_path) as address:
        assert ask_about(local_server, "groq", f"{address}/large.png").status_code == 200
        assert ask_about(local_server, "groq", f"{address}/larger.png").status_code == 400
        assert ask_about(local_server, "groq", f"{address}/nothing.png").status_code == 400
    assert ask_about(local_server, "groq", "http://127.0.0.2:1/x.png").status_code == 400


def test_groq_accepts_no_more_than_five_images(local_server: RunningServer) -> None:
    small = image_url_of(Image.new("RGB", (8, 8)))
    assert ask_about(local_server, "groq", *[small] * 5).status_code == 200
    reply = ask_about(local_server, "groq", *[small] * 6)
    assert (reply.status_code, "at most 5" in reply.text) == (400, True)
    assert ask_about(local_server, "together", *[small] * 6).status_code == 200


def test_detail_is_accepted_only_where_the_provider_has_it(local_server: RunningServer) -> None:
    part = {"type": "image_url", "image_url": {"url": data_url(HOUSE), "detail": "low"}}
    messages = [{"role": "user", "content": [PROMPT, part]}]
    statuses = {name: ask(local_server, name, messages=messages).status_code for name in CHAT}
    assert statuses == {**dict.fromkeys(CHAT, 200), "together": 400}
    tiled = ask_about(local_server, "openai", data_url(HOUSE), model="gpt-4.1").json()["usage"]["prompt_tokens"]
    low = ask(local_server, "openai", messages=messages, model="gpt-4.1").json()["usage"]["prompt_tokens"]
    assert tiled - low == 170


def test_a_description_has_the_measurements_and_says_it_is_no_caption(local_server: RunningServer) -> None:
    exif = Image.Exif()
    exif[0x0110], exif[0x0112], exif[0x0132] = "Box Brownie", 6, "1901:02:03 04:05:06"
    reply = ask_about(
        local_server, "together", image_url_of(Image.new("RGB", (300, 100), (200, 30, 30)), "JPEG", exif=exif)
    )
    assert content_of(reply) == (
        "A description, not a caption: a tall JPEG picture of 100 by 300 pixels, mostly red, of middling brightness, "
        "turned upright by its orientation, taken with Box Brownie, on 1901:02:03 04:05:06."
    )
    assert reply.headers["x-mediamill-engine"] == "measure-1"
    assert reply.headers["x-mediamill-simulated"] == "false"
    assert ask(local_server, "together").headers["x-mediamill-simulated"] == "true"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_image_mode_is_measured(mode: str, local_server: RunningServer) -> None:
    image = Image.new(mode, (40, 20), "white" if mode not in ("I;16", "CMYK") else 0)
    image_format = "TIFF" if mode == "CMYK" else "PNG"
    description = content_of(ask_about(local_server, "together", image_url_of(image, image_format)))
    assert "a wide" in description
    assert ("mostly black, dark" if mode == "I;16" else "mostly white, bright") in description


def test_measurements_fill_a_schema(local_server: RunningServer) -> None:
    properties = {
        "width": {"type": "integer"},
        "image_height": {"type": "integer"},
        "dominantColors": {"type": "array", "items": {"type": "string"}},
        "caption": {"type": "string"},
    }
    schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    response_format = {"type": "json_schema", "json_schema": {"name": "seen", "schema": schema, "strict": True}}
    reply = ask_about(
        local_server, "openai", image_url_of(Image.new("RGB", (30, 10), "white")), response_format=response_format
    )
    answer = json.loads(content_of(reply))
    assert (answer["width"], answer["image_height"], answer["dominantColors"]) == (30, 10, ["white"])
    assert answer["caption"].startswith("A description, not a caption")


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="the program tesseract is not on PATH")
def test_text_in_an_image_is_recognised(local_server: RunningServer) -> None:
    assert "with the text" in content_of(ask_about(local_server, "together", data_url(PAGE)))


def test_a_video_is_measured_from_beginning_to_end(local_server: RunningServer) -> None:
    with serve_folder(DAY.parent) as address:
        for dialect, url in (("together", data_url(DAY)), ("compatible", f"{address}/{DAY.name}")):
            words = content_of(ask_about(local_server, dialect, url, kind="video_url"))
            assert words.startswith("A description, not a caption: a ")
            assert " video of 6.0 s, " in words
            assert " frames at " in words
            assert "mostly " in words
    assert len(local_server.bill()["calls"][0]["pictures"]) == 1


PLAYLIST = b"ffconcat version 1.0\nfile '/etc/hostname'\n"


@pytest.mark.parametrize("data", [b"no video", PLAYLIST, DAY.read_bytes()[:600]], ids=["text", "playlist", "half"])
def test_an_invalid_video_is_refused_and_free(data: bytes, local_server: RunningServer) -> None:
    reply = ask_about(local_server, "together", to_data_url(data, "mp4", "video"), kind="video_url")
    assert reply.status_code == 400
    assert "Invalid video" in error_message("together", reply.json())
    assert local_server.bill()["billed"] == 0


def test_videos_are_refused_by_providers_without_video_input(local_server: RunningServer) -> None:
    for dialect in ("openai", "groq", "xai"):
        reply = ask_about(local_server, dialect, data_url(DAY), kind="video_url", model=MODEL[dialect])
        assert reply.status_code == 400
        assert "video_url is not supported" in error_message(dialect, reply.json())
