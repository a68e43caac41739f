"""Images: prepared to look like the original, broken ones refused, similar ones found."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.images.image_info import broken_image_error, read_image_info
from mediamill.tasks.media.images.perceptual_hash import (
    MAX_DISTANCE_BITS,
    NearDuplicateIndex,
    count_differing_bits,
    hash_thumbnail,
)
from mediamill.tasks.media.images.prepare import ImageLimits, PreparedImage, prepare_image
from tests.helpers.hypothesis_profile import make_repeatable
from tests.helpers.paths import OUTSIDE_SAMPLES, SAMPLES, needs_outside_samples

PICTURES = SAMPLES / "pictures"
HOUSE = (PICTURES / "house.jpg").read_bytes()


def prepare_and_open(path: Path, limits: ImageLimits | None = None, **more: Any) -> tuple[PreparedImage, Image.Image]:
    prepared = prepare_image(path, "0" * 64, limits or ImageLimits(), **more)
    payload = prepared.input.payload
    assert payload is not None
    assert payload.data is not None
    image = Image.open(BytesIO(payload.data))
    image.load()
    return prepared, image


def test_an_image_that_fits_is_sent_unchanged() -> None:
    prepared, _ = prepare_and_open(PICTURES / "house.jpg")
    assert prepared.input.recipe == "as-is"
    assert prepared.input.payload is not None
    assert prepared.input.payload.data == HOUSE


@pytest.mark.parametrize("name", ["sideways.jpg", "print.jpg", "phone.heic"])
def test_rotated_cmyk_and_heic_images_look_like_the_original(name: str) -> None:
    prepared, image = prepare_and_open(PICTURES / name)
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (480, 360))
    assert prepared.input.recipe == "jpeg-88-480x360"
    with Image.open(PICTURES / "house.jpg") as whole:
        difference = np.abs(np.asarray(image, np.int16) - np.asarray(whole.convert("RGB"), np.int16))
    assert difference.mean() < 6


def test_sixteen_bits_are_scaled_to_eight() -> None:
    _, image = prepare_and_open(PICTURES / "ramp16.tif")
    row = np.asarray(image.convert("L"))[100].astype(int)
    assert (row[0] < 5, row[-1] > 250, abs(row[150] - 128) < 6) == (True, True, True)


def test_transparency_becomes_white_in_a_jpeg() -> None:
    _, image = prepare_and_open(PICTURES / "badge.webp", ImageLimits(frozenset({"jpeg"})))
    corner, middle = image.convert("RGB").getpixel((2, 2)), image.convert("RGB").getpixel((128, 128))
    assert corner == (255, 255, 255)
    assert middle is not None
    assert not isinstance(middle, (int, float))
    assert middle[2] > 150


def test_white_on_transparent_ground_is_put_on_black_in_a_jpeg() -> None:
    layer = Image.new("RGBA", (80, 60), (255, 255, 255, 0))
    layer.paste((255, 255, 255, 255), (20, 20, 60, 40))
    data = BytesIO()
    layer.save(data, "PNG")
    limits = ImageLimits(frozenset({"jpeg"}))
    prepared, image = prepare_and_open(Path("a.png"), limits, data=data.getvalue())
    assert image.convert("L").getextrema() == (0, 255)
    assert prepared.input.recipe.endswith("-black")
    assert prepared.warnings == ("transparent: put on black, because nothing is seen on white",)


def test_each_page_of_a_tiff_can_be_taken_and_a_missing_one_is_a_clear_error() -> None:
    data = BytesIO()
    pages = [Image.new("L", (40 + 10 * n, 50), 50 * n) for n in range(3)]
    pages[0].save(data, "TIFF", save_all=True, append_images=pages[1:])
    taken = [prepare_and_open(Path("a.tif"), data=data.getvalue(), frame=n) for n in range(3)]
    assert [image.size for _, image in taken] == [page.size for page in pages]
    assert [prepared.input.recipe for prepared, _ in taken] == [
        "jpeg-88-40x50",
        "jpeg-88-50x50-page2",
        "jpeg-88-60x50-page3",
    ]
    with pytest.raises(BadInput, match="cannot be decoded"):
        prepare_and_open(Path("a.tif"), data=data.getvalue(), frame=3)


def test_a_long_page_is_not_reduced_where_the_shorter_side_counts() -> None:
    data = BytesIO()
    Image.new("L", (90, 1000), 255).save(data, "PNG")
    for short, size in ((None, (22, 250)), (60, (60, 666)), (200, (90, 1000))):
        limits = ImageLimits(max_short_side=short)
        prepared = prepare_image(Path("a.png"), "0" * 64, limits, max_side=250, data=data.getvalue())
        assert (prepared.width, prepared.height) == size


def test_the_first_of_several_frames_is_taken_with_a_warning() -> None:
    prepared, image = prepare_and_open(PICTURES / "morning.gif")
    assert (image.size, prepared.warnings) == ((240, 180), ("frames: the first of 8 was taken",))


@make_repeatable()
@given(st.integers(1, 700), st.integers(1, 700), st.integers(50, 400))
def test_any_size_is_reduced_to_the_maximum_side(width: int, height: int, max_side: int) -> None:
    out = BytesIO()
    Image.new("RGB", (width, height), (10, 90, 200)).save(out, "PNG")
    prepared = prepare_image(Path("a.png"), "0" * 64, ImageLimits(), max_side=max_side, data=out.getvalue())
    assert max(prepared.width, prepared.height) <= max(max_side * 1.1, 1)
    assert min(prepared.width, prepared.height) >= 1
    if max(width, height) <= max_side:
        assert (prepared.width, prepared.height) == (width, height)


def test_the_byte_limit_is_kept() -> None:
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 255, (600, 800, 3), dtype=np.uint8))
    out = BytesIO()
    noise.save(out, "PNG")
    prepared = prepare_image(Path("a.png"), "0" * 64, ImageLimits(max_bytes=60_000), data=out.getvalue())
    assert prepared.input.payload is not None
    assert prepared.input.payload.size <= 60_000
    assert prepared.input.recipe == f"jpeg-{prepared.input.recipe.split('-')[1]}-{prepared.width}x{prepared.height}"


@make_repeatable()
@given(st.integers(0, len(HOUSE) - 1))
def test_a_file_cut_off_anywhere_is_refused_or_flagged(end: int) -> None:
    if end < len(HOUSE) // 4:
        with pytest.raises(BadInput) as wrong:
            prepare_image(Path("a.jpg"), "0" * 64, ImageLimits(), data=HOUSE[:end])
        assert wrong.value.kind in {"empty", "not_a_picture", "undecodable"}
    elif end > len(HOUSE) * 3 // 4:
        prepared = prepare_image(Path("a.jpg"), "0" * 64, ImageLimits(), data=HOUSE[:end])
        assert [warning.partition(":")[0] for warning in prepared.warnings] == ["truncated"]


@make_repeatable()
@given(st.integers(0, len(HOUSE) - 1), st.integers(0, 255))
def test_a_changed_byte_is_at_worst_a_clear_error(at: int, value: int) -> None:
    changed = HOUSE[:at] + bytes([value]) + HOUSE[at + 1 :]
    with contextlib.suppress(BadInput):
        prepared = prepare_image(Path("a.jpg"), "0" * 64, ImageLimits(), max_side=100, data=changed)
        assert max(prepared.width, prepared.height) <= 110


@pytest.mark.parametrize(
    ("name", "kind"),
    [("cut-off.jpg", "undecodable"), ("enormous.png", "too_many_pixels"), ("text.jpg", "not_a_picture")],
)
def test_the_broken_samples_say_what_is_wrong(name: str, kind: str) -> None:
    with pytest.raises(BadInput) as wrong:
        prepare_image(SAMPLES / "broken" / name, "0" * 64, ImageLimits())
    assert wrong.value.kind == kind


def test_reading_the_header_decodes_nothing() -> None:
    with pytest.raises(BadInput, match="3600 million pixels"):
        read_image_info(SAMPLES / "broken" / "enormous.png")
    assert read_image_info(PICTURES / "sideways.jpg").width == 480


SWEEP = """
import sys
from pathlib import Path
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.images.prepare import ImageLimits, prepare_image
for name in sys.argv[1:]:
    try:
        prepare_image(Path(name), "0" * 64, ImageLimits(), max_side=1120)
        print("ok")
    except BadInput as error:
        print("bad", error.kind)
print(next(line for line in open("/proc/self/status") if "VmHWM" in line).split()[1])
"""


FOLDERS = [
    SAMPLES / "pictures",
    SAMPLES / "broken",
    *(
        pytest.param(OUTSIDE_SAMPLES / name, marks=(needs_outside_samples, pytest.mark.long))
        for name in ("image", "image_bad", "tiny")
    ),
]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_strange_image_ends_within_bounds(folder: Path) -> None:
    files = sorted(map(str, folder.iterdir()))
    done = subprocess.run(
        [sys.executable, "-c", SWEEP, *files], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    *lines, peak = done.stdout.splitlines()
    assert len(lines) == len(files)
    assert int(peak) < 400_000
    if folder.name in ("pictures", "image"):
        assert sum(line == "ok" for line in lines) >= len(files) - 1


def to_thumbnail(image: Image.Image) -> bytes:
    return image.convert("L").resize((32, 32), Image.Resampling.LANCZOS).tobytes()


def test_a_recompressed_image_looks_alike_and_another_does_not() -> None:
    with Image.open(PICTURES / "house.jpg") as whole:
        house = hash_thumbnail(to_thumbnail(whole))
        worse = BytesIO()
        whole.resize((300, 225)).save(worse, "JPEG", quality=30)
    with Image.open(worse) as small:
        assert count_differing_bits(house, hash_thumbnail(to_thumbnail(small))) <= MAX_DISTANCE_BITS
    with Image.open(PICTURES / "page.png") as page:
        assert count_differing_bits(house, hash_thumbnail(to_thumbnail(page))) > 4 * MAX_DISTANCE_BITS


HASHES = st.integers(0, 2**64 - 1)


@make_repeatable()
@given(HASHES, st.sets(st.integers(0, 63), max_size=8))
def test_an_image_is_found_within_four_bits_and_never_beyond(hashed: int, flipped: set[int]) -> None:
    index = NearDuplicateIndex()
    index.add(hashed, "first")
    other = hashed
    for bit in flipped:
        other ^= 1 << bit
    assert index.find_nearest(other) == ("first" if len(flipped) <= MAX_DISTANCE_BITS else None)


def test_the_index_finds_the_same_nearest_image_as_a_full_search() -> None:
    digests = (hashlib.blake2b(str(n).encode(), digest_size=8).digest() for n in range(3000))
    hashes = [int.from_bytes(digest, "big") for digest in digests]
    index = NearDuplicateIndex()
    for number, hashed in enumerate(hashes):
        index.add(hashed, str(number))
    for number in range(0, 3000, 97):
        query = hashes[number] ^ 0b1001
        best = min(range(3000), key=lambda n: count_differing_bits(hashes[n], query))
        assert index.find_nearest(query) == str(best)


def test_an_image_for_which_memory_is_short_is_not_called_broken() -> None:
    error = broken_image_error(MemoryError())
    assert (error.kind, error.transient) == ("memory", True)
    assert broken_image_error(OSError("truncated")).kind == "undecodable"
