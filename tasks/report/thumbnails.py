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

MOST = 60
_SIDE = 128
_SECONDS = 2.0
"""Processor time that a run's end may spend on them; later ones go without."""
_LIMITS = ImageLimits(frozenset(), max_bytes=12_000)
_VIDEOS = (".mp4", ".webm")
"""What videos that were made are called; those that were asked about may be called anything."""
_FRAME_AT = 0.25
"""Second of a video that stands for it: many begin with a black frame."""


def thumbnails(locations: Mapping[str, str | None]) -> dict[str, str]:
    """``data:`` URLs of the first pictures and videos, by item id; URLs and what cannot be decoded go without."""
    made: dict[str, str] = {}
    ends = time.thread_time() + _SECONDS
    for item_id, location in locations.items():
        if len(made) >= MOST or time.thread_time() > ends:
            break
        item = Item(item_id, 0, item_id, location)
        if location is None or item.locations[0].startswith(("http://", "https://")):
            continue
        small = _small(Path(item.locations[0]))
        if small is not None:
            made[item_id] = small
    return made


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture of the contact sheet: whose it is, its file relative to OUT, its link, itself as a ``data:`` URL."""

    item_id: str
    file: str
    href: str
    thumbnail: str


def contact_sheet(out: Path, rows: Iterable[Mapping[str, Any]]) -> tuple[Frame, ...]:
    """The first pictures and videos that were made, small; those whose file is gone go without.

    Args:
        out: the folder of results.
        rows: results; pictures stand in ``images``, a video in ``file``.
    """
    frames: list[Frame] = []
    ends = time.thread_time() + _SECONDS
    media = (out / "media").resolve()
    for row in rows:
        for file in made_files(row):
            if len(frames) >= MOST or time.thread_time() > ends:
                return tuple(frames)
            place = (out / file).resolve()
            small = _small(place) if place.is_relative_to(media) else None
            if small is not None:
                frames.append(Frame(str(row["item_id"]), file, quote(file), small))
    return tuple(frames)


def made_files(row: Mapping[str, Any]) -> list[str]:
    """The files of a result's pictures, or of its video, relative to OUT; columns of these names may hold anything."""
    images, file = row.get("images"), row.get("file")
    if isinstance(file, str) and file.endswith(_VIDEOS):
        return [file]
    told = [one.get("file") for one in images if isinstance(one, dict)] if isinstance(images, list) else []
    return [file for file in told if isinstance(file, str)]


def _small(path: Path) -> str | None:
    for seen in (_picture, _frame):
        with suppress(BadInput, OSError):
            return f"data:image/jpeg;base64,{base64.b64encode(seen(path)).decode('ascii')}"
    return None


def _picture(path: Path) -> bytes:
    payload = prepare_image(path, "", _LIMITS, longest=_SIDE).input.payload
    assert payload is not None
    assert payload.data is not None
    return payload.data


def _frame(path: Path) -> bytes:
    from mediamill.tasks.media.frames import frames_at

    return frames_at(path, [_FRAME_AT], _SIDE)[0].data
