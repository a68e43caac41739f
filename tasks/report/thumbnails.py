"""Small pictures for the page, of those that were asked about and of those that were made."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tasks.errors import BadInput
from tasks.item import Item
from tasks.media.pictures.limits import PictureLimits
from tasks.media.pictures.prepare import prepare

MOST = 60
_SIDE = 128
_SECONDS = 2.0
"""Processor time that a run's end may spend on them; later ones go without."""
_LIMITS = PictureLimits(frozenset(), max_bytes=12_000)


def thumbnails(locations: Mapping[str, str | None]) -> dict[str, str]:
    """``data:`` URLs of the first pictures, by item id; URLs and what cannot be decoded any more go without."""
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
    """The first pictures that were made, small; those whose file is gone go without.

    Args:
        out: the folder of results.
        rows: results; those that made pictures have them in ``images``.
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
    """The files of a result's pictures, relative to OUT; a column ``images`` may hold anything else."""
    images = row.get("images")
    told = [one.get("file") for one in images if isinstance(one, dict)] if isinstance(images, list) else []
    return [file for file in told if isinstance(file, str)]


def _small(path: Path) -> str | None:
    try:
        payload = prepare(path, "", _LIMITS, longest=_SIDE).input.payload
    except (BadInput, OSError):
        return None
    if payload is None or payload.data is None:
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(payload.data).decode('ascii')}"
