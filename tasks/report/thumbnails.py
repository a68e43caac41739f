"""Small pictures for the page, of what was asked about and of what was made; a video is shown by a frame of it."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mediamill.tasks.domain import Item
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.images.prepare import ImageLimits, prepare_image

MAX_THUMBNAILS = 60
_MAX_SIDE_PIXELS = 128
_MAX_CPU_SECONDS = 2.0
"""Processor time that a run's end may spend on them; later ones go without."""
_LIMITS = ImageLimits(frozenset(), max_bytes=12_000)
_VIDEO_SUFFIXES = (".mp4", ".webm")
"""What videos that were made are called; those that were asked about may be called anything."""
_FRAME_AT_SECONDS = 0.25
"""Second of a video that stands for it: many begin with a black frame."""


def make_thumbnails(locations: Mapping[str, str | None]) -> dict[str, str]:
    """``data:`` URLs of the first pictures and videos, by item id; URLs and what cannot be decoded go without."""
    urls: dict[str, str] = {}
    deadline = time.thread_time() + _MAX_CPU_SECONDS
    for item_id, location in locations.items():
        if len(urls) >= MAX_THUMBNAILS or time.thread_time() > deadline:
            break
        item = Item(item_id, 0, item_id, location)
        if location is None or item.locations[0].startswith(("http://", "https://")):
            continue
        url = _make_data_url(Path(item.locations[0]))
        if url is not None:
            urls[item_id] = url
    return urls


@dataclass(frozen=True, slots=True)
class SheetImage:
    """A picture of the contact sheet: whose it is, its file relative to OUT, its link, itself as a ``data:`` URL."""

    item_id: str
    file: str
    href: str
    thumbnail: str


def make_contact_sheet(out: Path, rows: Iterable[Mapping[str, Any]]) -> tuple[SheetImage, ...]:
    """The first pictures and videos that were made, small; those whose file is gone go without.

    Args:
        out: the folder of results.
        rows: results; pictures stand in ``images``, a video in ``file``.
    """
    images: list[SheetImage] = []
    deadline = time.thread_time() + _MAX_CPU_SECONDS
    media = (out / "media").resolve()
    for row in rows:
        for file in list_media_files(row):
            if len(images) >= MAX_THUMBNAILS or time.thread_time() > deadline:
                return tuple(images)
            path = (out / file).resolve()
            url = _make_data_url(path) if path.is_relative_to(media) else None
            if url is not None:
                images.append(SheetImage(str(row["item_id"]), file, quote(file), url))
    return tuple(images)


def list_media_files(row: Mapping[str, Any]) -> list[str]:
    """The files of a result's pictures, or of its video, relative to OUT; columns of these names may hold anything."""
    images, file = row.get("images"), row.get("file")
    if isinstance(file, str) and file.endswith(_VIDEO_SUFFIXES):
        return [file]
    files = [one.get("file") for one in images if isinstance(one, dict)] if isinstance(images, list) else []
    return [file for file in files if isinstance(file, str)]


def _make_data_url(path: Path) -> str | None:
    for render in (_render_image, _render_video_frame):
        with suppress(BadInput, OSError):
            return f"data:image/jpeg;base64,{base64.b64encode(render(path)).decode('ascii')}"
    return None


def _render_image(path: Path) -> bytes:
    payload = prepare_image(path, "", _LIMITS, longest=_MAX_SIDE_PIXELS).input.payload
    assert payload is not None
    assert payload.data is not None
    return payload.data


def _render_video_frame(path: Path) -> bytes:
    from mediamill.tasks.media.frames import extract_frames

    return extract_frames(path, [_FRAME_AT_SECONDS], _MAX_SIDE_PIXELS)[0].data
