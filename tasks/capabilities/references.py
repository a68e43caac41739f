"""Reference pictures: local ones decoded, bounded and sent along, addresses passed on to the provider."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tasks.capabilities.base import Kit
from tasks.errors import BadInput
from tasks.item import Input, Item, Payload
from tasks.media.pictures.limits import PictureLimits

_LONGEST = 2048
_LIMITS = PictureLimits(frozenset({"jpeg", "png", "webp"}), max_bytes=8_000_000)
_DECODED = 32 * 2**20


async def referenced(places: Sequence[str], item: Item, kit: Kit) -> tuple[Input, ...]:
    """Paths and addresses as inputs, in order.

    Raises:
        BadInput: naming the picture that cannot be read or decoded.
    """
    return tuple([await _one(place, item, kit) for place in places])


async def _one(place: str, item: Item, kit: Kit) -> Input:
    from tasks.media.pictures.prepare import prepare

    if place.startswith(("http://", "https://")):
        digest = hashlib.sha256(f"url:{place}\n".encode()).hexdigest()
        return Input(digest, "url", payload=Payload("", "", 0, url=place))
    try:
        local = Item(item.item_id, item.index, place, str(Path(place).expanduser().absolute()))
        async with kit.fetch(local) as media, kit.hold(_DECODED + 2 * media.size):
            made = await kit.thread(
                prepare, media.path, media.sha256, _LIMITS, longest=_LONGEST, data=media.data, check=kit.check
            )
    except BadInput as error:
        error.message = f"{item.source}: reference picture {error.message if place in error.message else place}"
        raise
    return made.input
