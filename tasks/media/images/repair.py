"""Images that viewers show although something in them is damaged: their metadata, or a JPEG's missing end."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from mediamill.tasks.errors import BadInput

T = TypeVar("T")

MAX_REPAIR_BYTES = 64 * 2**20
MAX_MISSING_SHARE = 0.5
"""A JPEG of which more is missing is refused: what is left says little of the picture."""
CUT_OFF = "truncated:"
"""How the warning for an image without its end begins."""
METADATA_WARNING = "metadata: damaged or too large, and passed over"
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_PICTURE = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_PNG_COLOUR_TYPE_AT = 25
_PNG_TRANSPARENCY_BYTES = {0: range(2, 3), 2: range(6, 7), 3: range(1, 257)}
"""How long the chunk of transparent colours is, by the type of a PNG's colours."""
_MAX_EXIF_BYTES = 64 * 1024
_JPEG_MAGIC, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_START_OF_SCAN, _COMMENT, _ADOBE, _PROGRESSIVE_FRAME = 0xDA, 0xFE, 0xEE, 0xC2
_APP_SEGMENTS = range(0xE0, 0xF0)
_GREY = 128
"""What decoders show where a JPEG has no more data."""


def read_leniently(
    path: Path, data: bytes | None, read: Callable[[bytes | None, str | None], T], *, cut_off: bool = True
) -> T:
    """Read an image; where that fails, once more without its metadata, and with the end that a JPEG lacks.

    Args:
        path: the file.
        data: its bytes, where they have been read.
        read: reads the image from bytes (None for the file as it is), with the warning that goes with them.
        cut_off: show a JPEG that ends early.

    Raises:
        BadInput: of the first attempt when no other succeeds, or that a JPEG is cut off too early.
    """
    try:
        return read(data, None)
    except BadInput as error:
        if error.kind not in ("undecodable", "not_a_picture"):
            raise
        first_error = error
    whole = data if data is not None else _read_bounded(path)
    for candidate, warning in _list_repairs(whole, cut_off=cut_off):
        try:
            return read(candidate, warning)
        except BadInput as error:
            if error.kind != "undecodable":
                raise
    raise first_error


def _read_bounded(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_REPAIR_BYTES + 1)
    except OSError:
        return b""
    return data if len(data) <= MAX_REPAIR_BYTES else b""


def _list_repairs(data: bytes, *, cut_off: bool) -> Iterator[tuple[bytes, str]]:
    if data.startswith(_PNG_MAGIC):
        yield strip_png(data), METADATA_WARNING
    if data.startswith(_JPEG_MAGIC):
        stripped = strip_jpeg(data)
        yield stripped, METADATA_WARNING
        if cut_off:
            for candidate in (data, stripped):
                whole = candidate + _JPEG_END
                missing = measure_missing(whole)
                if missing is not None:
                    yield whole, _to_cut_off_warning(missing, is_progressive=_is_progressive(whole))
    if data[4:8] == b"ftyp":
        yield data.replace(b"Exif", b"free"), METADATA_WARNING
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        yield strip_webp(data), METADATA_WARNING


def _is_progressive(data: bytes) -> bool:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _START_OF_SCAN:  # noqa: PLR2004
        if data[at + 1] == _PROGRESSIVE_FRAME:
            return True
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _to_cut_off_warning(missing: float, *, is_progressive: bool) -> str:
    """The warning for a JPEG without its end.

    Raises:
        BadInput: when too much of it is missing.
    """
    if missing > MAX_MISSING_SHARE:
        message = f"the image is cut off: {missing:.0%} of it is missing"
        raise BadInput(message, kind="undecodable", hint="copy or download it again")
    if missing:
        shown = f"the lowest {max(missing, 0.01):.0%} of the image is missing"
    else:
        shown = "the image may lack detail" if is_progressive else "nearly all of the image is there"
    return f"{CUT_OFF} the file ends early; {shown}"


def measure_missing(data: bytes) -> float | None:
    """The share of a JPEG's rows, from below, for which it has no data; None where it cannot be decoded at all."""
    import numpy as np
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(BytesIO(data), formats=("JPEG",)) as image:
            image.draft(None, (max(image.size[0] // 8, 1), max(image.size[1] // 8, 1)))
            pixels = np.asarray(image.convert("L"))
    except Exception:  # noqa: BLE001 - decoders raise whatever broken files make them raise
        return None
    shown = np.flatnonzero((pixels != _GREY).any(axis=1))
    return 1.0 - (int(shown[-1]) + 1) / len(pixels) if len(shown) else 1.0


def strip_png(data: bytes) -> bytes:
    """A PNG with its picture alone, and its transparent colours and its orientation where they are intact."""
    parts, at = [_PNG_MAGIC], len(_PNG_MAGIC)
    transparency = _PNG_TRANSPARENCY_BYTES.get(data[_PNG_COLOUR_TYPE_AT] if len(data) > _PNG_COLOUR_TYPE_AT else -1, ())
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        name, end = data[at + 4 : at + 8], at + 12 + length
        lengths = {b"eXIf": range(_MAX_EXIF_BYTES + 1), b"tRNS": transparency}.get(name, ())
        if name in _PNG_PICTURE or (length in lengths and _has_right_crc(data, at, end)):
            parts.append(data[at:end])
        at = end
    return b"".join(parts)


def _has_right_crc(data: bytes, at: int, end: int) -> bool:
    return zlib.crc32(data[at + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")


def strip_jpeg(data: bytes) -> bytes:
    """A JPEG without comments and application data, save that which says how its colours are coded."""
    parts, at = [_JPEG_MAGIC], len(_JPEG_MAGIC)
    while at + 4 <= len(data) and data[at] == 0xFF:  # noqa: PLR2004 (each segment begins with it)
        marker = data[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 (filling)
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _START_OF_SCAN:
            break
        if marker == _ADOBE or (marker not in _APP_SEGMENTS and marker != _COMMENT):
            parts.append(data[at:end])
        at = end
    return b"".join([*parts, data[at:]])


def strip_webp(data: bytes) -> bytes:
    """A WebP without profile, EXIF and XMP."""
    parts, at = [b"WEBP"], 12
    while at + 8 <= len(data):
        name, end = data[at : at + 4], at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        end += end & 1
        if name == b"VP8X":
            parts.append(data[at : at + 8] + bytes([data[at + 8] & ~0x2C]) + data[at + 9 : end])
        elif name not in (b"ICCP", b"EXIF", b"XMP "):
            parts.append(data[at:end])
        at = end
    body = b"".join(parts)
    return b"RIFF" + len(body).to_bytes(4, "little") + body
