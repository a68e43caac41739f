"""Thumbnails for the report page, of input and generated images and videos; a video is shown by one of its frames."""

from __future__ import annotations

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
from mediamill.tasks.report.thumbnail_files import Thumbnail

MAX_THUMBNAILS = 60
_MAX_SIDE_PIXELS = 128
_MAX_CPU_SECONDS = 2.0
"""Processor time that the end of a run may spend on thumbnails; the rest get none."""
_LIMITS = ImageLimits(frozenset(), max_bytes=12_000)
_VIDEO_SUFFIXES = (".mp4", ".webm")
"""Suffixes of generated videos; input videos may have any name."""
_FRAME_AT_SECONDS = 0.25
"""The frame that stands for a video: many begin with a black one."""


def make_thumbnails(locations: Mapping[str, str | None]) -> dict[str, Thumbnail]:
    """The first images and videos by item id; none for URLs and for files that cannot be decoded."""
    made: dict[str, Thumbnail] = {}
    deadline = time.thread_time() + _MAX_CPU_SECONDS
    for item_id, location in locations.items():
        if len(made) >= MAX_THUMBNAILS or time.thread_time() > deadline:
            break
        item = Item(item_id, 0, item_id, location)
        if location is None or item.locations[0].startswith(("http://", "https://")):
            continue
        thumbnail = _make_thumbnail(Path(item.locations[0]))
        if thumbnail is not None:
            made[item_id] = thumbnail
    return made


@dataclass(frozen=True, slots=True)
class SheetImage:
    """An image of the contact sheet: its item, its file relative to OUT, its link, its thumbnail."""

    item_id: str
    file: str
    href: str
    thumbnail: Thumbnail


def make_contact_sheet(out: Path, rows: Iterable[Mapping[str, Any]]) -> tuple[SheetImage, ...]:
    """Thumbnails of the first generated images and videos whose file exists.

    Args:
        out: the folder of results.
        rows: results; images are in ``images``, a video in ``file``.
    """
    images: list[SheetImage] = []
    deadline = time.thread_time() + _MAX_CPU_SECONDS
    media = (out / "media").resolve()
    for row in rows:
        for file in list_media_files(row):
            if len(images) >= MAX_THUMBNAILS or time.thread_time() > deadline:
                return tuple(images)
            path = (out / file).resolve()
            thumbnail = _make_thumbnail(path) if path.is_relative_to(media) else None
            if thumbnail is not None:
                images.append(SheetImage(str(row["item_id"]), file, quote(file), thumbnail))
    return tuple(images)


def list_media_files(row: Mapping[str, Any]) -> list[str]:
    """The files of a result's images or video, relative to OUT; columns of these names may hold anything."""
    images, file = row.get("images"), row.get("file")
    if isinstance(file, str) and file.endswith(_VIDEO_SUFFIXES):
        return [file]
    files = [image.get("file") for image in images if isinstance(image, dict)] if isinstance(images, list) else []
    return [file for file in files if isinstance(file, str)]


def _make_thumbnail(path: Path) -> Thumbnail | None:
    for render in (_render_image, _render_video_frame):
        with suppress(BadInput, OSError):
            return Thumbnail(render(path))
    return None


def _render_image(path: Path) -> bytes:
    payload = prepare_image(path, "", _LIMITS, max_side=_MAX_SIDE_PIXELS).input.payload
    assert payload is not None
    assert payload.data is not None
    return payload.data


def _render_video_frame(path: Path) -> bytes:
    from mediamill.tasks.media.frames import extract_frames

    return extract_frames(path, [_FRAME_AT_SECONDS], _MAX_SIDE_PIXELS)[0].data
