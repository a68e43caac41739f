"""Images with damage that viewers do not mind are shown as viewers show them; other files say what they are."""

from __future__ import annotations

import random
import struct
import warnings
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.images.image_info import read_image_info, verify_image
from mediamill.tasks.media.images.prepare import ImageLimits, PreparedImage, crop_to_size, prepare_image
from mediamill.tasks.media.images.repair import strip_png
from mediamill.tasks.media.undecodable import undecodable_error
from tests.helpers.cli_runs import mediamill, read_rows

pillow_heif.register_heif_opener(thumbnails=False)
ORIENTATION = 0x0112


def draw() -> Image.Image:
    """A picture 48 by 32 of which every turn and mirror looks different."""
    image = Image.new("RGB", (48, 32), (240, 240, 240))
    image.paste((20, 40, 220), (0, 0, 16, 16))
    image.paste((220, 30, 30), (32, 0, 48, 16))
    image.paste((30, 160, 40), (0, 16, 16, 32))
    return image


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def prepare(data: bytes, **options: Any) -> PreparedImage:
    return prepare_image(Path("x.jpg"), "0" * 64, ImageLimits(), data=data, **options)


def decode_sent(prepared: PreparedImage) -> Image.Image:
    assert prepared.input.payload is not None
    assert prepared.input.payload.data is not None
    data = prepared.input.payload.data
    sent = strip_png(data) if prepared.input.payload.mime == "image/png" else data
    with warnings.catch_warnings(action="ignore"):
        return Image.open(BytesIO(sent)).convert("RGB")


def assert_looks_like(sent: Image.Image, expected: Image.Image) -> None:
    assert sent.size == expected.size
    difference = np.abs(np.asarray(sent, np.int16) - np.asarray(expected.convert("RGB"), np.int16))
    assert difference.mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("JPEG", {"quality": 95}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("AVIF", {"quality": 95}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_an_image_is_turned_exactly_once(form: str, options: dict[str, Any], orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    tags = {"tiffinfo": {ORIENTATION: orientation}} if form == "TIFF" else {"exif": exif}
    data = encode(draw(), form, **options, **tags)
    with Image.open(BytesIO(data)) as image:
        expected = ImageOps.exif_transpose(image).convert("RGB")
    prepared = prepare(data)
    assert_looks_like(decode_sent(prepared), expected)
    info = read_image_info(Path("x"), data)
    assert (info.width, info.height) == expected.size == (prepared.width, prepared.height)
    smaller = prepare(data, max_side=24)
    assert_looks_like(decode_sent(smaller), expected.resize(smaller_size := decode_sent(smaller).size))
    assert max(smaller_size) == 24
    cropped = crop_to_size(Path("x"), "0" * 64, (16, 16), data)
    assert cropped.payload is not None
    assert cropped.payload.data is not None
    assert_looks_like(Image.open(BytesIO(cropped.payload.data)), ImageOps.fit(expected, (16, 16)))


def test_a_tiff_that_was_turned_twice_is_not_answered_by_what_was_bought_then() -> None:
    upright, turned = (encode(draw(), "TIFF", tiffinfo={ORIENTATION: value}) for value in (1, 3))
    assert prepare(upright).input.recipe == "jpeg-88-48x32"
    assert prepare(turned).input.recipe == "jpeg-88-48x32-upright"


def to_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def insert_chunks(png: bytes, *chunks: bytes, at_end: bool = False) -> bytes:
    at = len(png) - 12 if at_end else 33
    return png[:at] + b"".join(chunks) + png[at:]


PNG = encode(draw(), "PNG")
BIG = zlib.compress(bytes(3 * 2**20), 9)
DAMAGED_PNGS = {
    "profile that expands": insert_chunks(PNG, to_chunk(b"iCCP", b"p\0\0" + BIG)),
    "text that expands": insert_chunks(PNG, to_chunk(b"zTXt", b"k\0\0" + BIG)),
    "text that expands at the end": insert_chunks(PNG, to_chunk(b"zTXt", b"k\0\0" + BIG), at_end=True),
    "many texts": insert_chunks(PNG, *[to_chunk(b"tEXt", b"k\0" + b"v" * 1_000_000) for _ in range(70)]),
    "text with a wrong sum": insert_chunks(PNG, to_chunk(b"tEXt", b"k\0v")[:-1] + b"\0"),
    "profile that is none": insert_chunks(PNG, to_chunk(b"iCCP", b"p\0\0no zlib")),
    "transparent colour that is empty": insert_chunks(PNG, to_chunk(b"tRNS", b"")),
    "transparent colour of half its length": insert_chunks(PNG, to_chunk(b"tRNS", b"\0\1\0")),
    "transparent colour with a wrong sum": insert_chunks(PNG, to_chunk(b"tRNS", bytes(6))[:-1] + b"\0"),
    "exif that is none": insert_chunks(PNG, to_chunk(b"eXIf", b"\xff" * 40)),
    "international text that is none": insert_chunks(PNG, to_chunk(b"iTXt", b"k\0\1\0\0\0no zlib")),
}


@pytest.mark.parametrize("name", DAMAGED_PNGS)
def test_damage_in_a_png_beside_its_picture_is_passed_over(name: str) -> None:
    prepared = prepare(DAMAGED_PNGS[name])
    assert_looks_like(decode_sent(prepared), draw())
    assert all(warning.startswith(("metadata", "profile")) for warning in prepared.warnings)
    assert read_image_info(Path("x"), DAMAGED_PNGS[name]).width == 48
    assert verify_image(Path("x"), DAMAGED_PNGS[name]).width == 48


def make_with_metadata(form: str) -> bytes:
    exif, more = Image.Exif(), PngInfo()
    exif[0x010E] = "x" * 300
    more.add_text("z", "v" * 500, zip=True)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"exif": exif, "icc_profile": profile, "comment": b"c" * 200},
        "PNG": {"exif": exif, "icc_profile": profile, "pnginfo": more},
        "WEBP": {"exif": exif, "icc_profile": profile, "lossless": True},
        "TIFF": {"description": "x" * 300, "icc_profile": profile},
        "AVIF": {"exif": exif, "icc_profile": profile},
    }
    return encode(draw(), form, **options[form])


def find_metadata(form: str, data: bytes) -> Iterator[tuple[int, int]]:
    if form == "PNG":
        for name in (b"iCCP", b"zTXt", b"eXIf"):
            at = data.index(name)
            yield at + 4, at + 8 + int.from_bytes(data[at - 4 : at], "big")
    elif form == "WEBP":
        for name in (b"ICCP", b"EXIF"):
            at = data.index(name)
            yield at + 8, at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
    else:
        start = data.index(b"x" * 100)
        yield start - (20 if form == "JPEG" else 0), start + 200


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_no_damage_in_metadata_is_damage_in_the_picture(form: str) -> None:
    data, chance = make_with_metadata(form), random.Random(form)
    places = list(find_metadata(form, data))
    for _ in range(60):
        damaged = bytearray(data)
        low, high = chance.choice(places)
        for _ in range(chance.choice([1, 3, 20])):
            damaged[chance.randrange(low, high)] = chance.randrange(256)
        assert decode_sent(prepare(bytes(damaged))).size == (48, 32)


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_a_jpeg_without_its_end_is_shown_as_viewers_show_it(progressive: bool) -> None:
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 255, (96, 96, 3), dtype=np.uint8)).resize((480, 480))
    data = encode(noise, "JPEG", quality=80, progressive=progressive)
    prepared = prepare(data[:-2])
    rest = "the image may lack detail" if progressive else "nearly all of the image is there"
    assert prepared.warnings == (f"truncated: the file ends early; {rest}",)
    assert prepared.input.recipe == "jpeg-88-480x480"
    assert_looks_like(decode_sent(prepared), Image.open(BytesIO(data)))
    cut = prepare(data[: len(data) * 3 // 4])
    assert cut.warnings[0].startswith("truncated: the file ends early; the ")
    with pytest.raises(BadInput) as wrong:
        prepare(data[: len(data) // (1000 if progressive else 10)])
    assert wrong.value.kind == "undecodable"
    with pytest.raises(BadInput):
        verify_image(Path("x"), data[:-2])


OTHERS = {
    b"<!DOCTYPE html><html>not found</html>": "a web page, perhaps a failed download",
    b'\xef\xbb\xbf<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>': "an XML document",
    b'<?xml version="1.0"?><!-- by hand --><svg xmlns="http://www.w3.org/2000/svg"/>': "an SVG drawing",
    b'<svg xmlns="http://www.w3.org/2000/svg"/>': "an SVG drawing",
    b'{"error": "not found"}': "JSON, perhaps a failed download",
    b"%PDF-1.7\n": "a PDF document",
    b"\0\0\1\0\1\0 \0": "a Windows icon (ICO)",
    b"\xff\x0a\xfa\x1f": "a JPEG XL image",
    b"\0\0\0\x0cJXL \r\n\x87\n": "a JPEG XL image",
    b"8BPS\0\1": "a Photoshop document",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n": "a Git LFS pointer",
    b"/annex/objects/SHA256E-s5--0.jpg\n": "a git-annex pointer",
    b"PK\x03\x04": "a ZIP archive",
    b"just words": "text",
}


@pytest.mark.parametrize("data", OTHERS, ids=list(OTHERS.values()))
def test_a_file_that_is_no_picture_says_what_it_is(data: bytes) -> None:
    with pytest.raises(BadInput) as wrong:
        prepare(data)
    assert (wrong.value.kind, OTHERS[data] in wrong.value.message) == ("not_a_picture", True)
    assert "git" not in OTHERS[data].lower() or "git" in (wrong.value.hint or "")
    assert OTHERS[data] in undecodable_error(data, Path("x")).message


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"RIFF\0\0\0\0WAVEfmt ", "a WAV recording"), (b"ID3\x03", "an MP3"), (b"\0\0\0\x18ftypisom", "an MP4")],
)
def test_sound_and_video_are_named_where_a_picture_is_wanted(data: bytes, name: str) -> None:
    with pytest.raises(BadInput, match=name):
        prepare(data)


@pytest.mark.parametrize("magic", [b"\x89PNG\r\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"\0\0\0\x18ftypavif"])
def test_the_beginning_of_a_picture_is_called_damaged(magic: bytes) -> None:
    with pytest.raises(BadInput, match=r"damaged or cut off|cannot be decoded") as wrong:
        prepare(magic)
    assert wrong.value.kind == "undecodable"


@pytest.mark.long
def test_a_caption_of_a_damaged_picture_says_so_in_its_row(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "a.jpg").write_bytes(encode(draw(), "JPEG")[:-2])
    (source / "b.png").write_bytes(DAMAGED_PNGS["text that expands"])
    (source / "c.jpg").write_bytes(b"%PDF-1.7\n")
    done = mediamill(
        "caption", source, "--provider", "local", "--out", out, "--no-prefect", "--yes", home=tmp_path / "home"
    )
    assert done.returncode == 3, done.stderr
    assert "it holds a PDF document" in done.stdout
    warnings = {row["item_id"]: row["warnings"] for row in read_rows(out)}
    assert {row["item_id"]: row["flags"] for row in read_rows(out)} == {"a.jpg": ["truncated"], "b.png": []}
    assert warnings["a.jpg"] == ["truncated: the file ends early; nearly all of the image is there"]
    assert warnings["b.png"] == ["metadata: damaged or too large, and passed over"]
