"""Small pictures for the page, made of those that were asked about."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from pathlib import Path

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
        try:
            small = prepare(Path(item.locations[0]), "", _LIMITS, longest=_SIDE)
        except (BadInput, OSError):
            continue
        payload = small.input.payload
        if payload is not None and payload.data is not None:
            made[item_id] = f"data:image/jpeg;base64,{base64.b64encode(payload.data).decode('ascii')}"
    return made
