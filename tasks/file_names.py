"""Names of the files that items get: the source's own name, and a hash only where two items would have one name.

The plan gives each item its stem once and keeps it in the journal (``journal.planning``), so that an item which comes
later never renames an earlier one's file.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from urllib.parse import unquote, urlsplit

from mediamill.tasks.domain import Item

_MAX_STEM_BYTES = 180
"""With a hash, a part and a suffix, and the prefix of a temporary file, a name stays below the usual 255 bytes."""
_FORBIDDEN = frozenset('<>:"/\\|?*%$`~')
"""What a file system, a shell or a URL reads as something else; ``~`` is kept for what this module adds."""
_JOINERS = "\u200c\u200d"
"""Invisible, and part of how words in Persian or Hindi are written."""
_LEADING, _TRAILING = ". -", ". "
_HASH_CHARACTERS = 12
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)
"""Names of devices on Windows."""
_HASHED = re.compile(r"-[0-9a-f]{12,64}(?:-\d+)?$")
"""How names with a hash end; a plain stem that ends so gets one, too, and so never meets another's."""

_OLD_MAX_STEM_BYTES = 80
_OLD_UNSAFE = re.compile(r"[^\w.-]+")


def choose_stem(item: Item) -> str:
    """The stem that an item's files should have: its source's name without the extension, made safe, else its id.

    It is empty, and a hash is needed, where nothing is left of it or it could be taken for another's.
    """
    stem = _make_safe(_find_name(item))
    key = to_stem_key(stem)
    return "" if not key or _RESERVED.match(key) or _HASHED.search(key) else stem


def add_hash(stem: str, item_id: str, characters: int = _HASH_CHARACTERS) -> str:
    """The stem of an item whose plain one is empty or taken: with a hash of its id."""
    digest = _hash_id(item_id)[:characters]
    return f"{stem}-{digest}" if stem else digest


def to_stem_key(stem: str) -> str:
    """Equal for stems that are one name where a file system ignores case or Unicode forms, or that look alike."""
    plain = "".join(c for c in stem if c not in _JOINERS)
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", plain).casefold())


def name_file(item_id: str, stem: str | None, suffix: str, part: str | int | None = None) -> str:
    """The name of one of an item's files.

    Args:
        item_id: the item's id.
        stem: as the plan gave it; None for an item that an earlier program planned, whose files keep their old names.
        suffix: with its dot, e.g. ``.mp3``.
        part: tells apart several files of one item with one suffix.
    """
    if stem is None:
        return _to_old_name(item_id, suffix if part is None else f"-{part}{suffix}")
    return f"{stem}{suffix}" if part is None else f"{stem}~{part}{suffix}"


def _find_name(item: Item) -> str:
    """A name for an item: that of its file or URL where its id is that, too, else its id."""
    location = item.locations[0] if len(item.locations) == 1 else ""
    path = unquote(urlsplit(location).path) if item.is_url else location
    name = path.rstrip("/").rpartition("/")[2]
    stem, extension = os.path.splitext(name)  # noqa: PTH122 (a name, which may hold anything)
    if name and (item.item_id == location or item.item_id.rpartition("/")[2] == name):
        return stem
    return item.item_id.removesuffix(extension) if extension else item.item_id


def _make_safe(name: str) -> str:
    normalized = unicodedata.normalize("NFC", name)
    characters = (c if c in _JOINERS or (c.isprintable() and c not in _FORBIDDEN) else "-" for c in normalized)
    stem = "".join(characters).lstrip(_LEADING).encode()[:_MAX_STEM_BYTES].decode(errors="ignore")
    return stem.rstrip(_TRAILING)


def _hash_id(item_id: str) -> str:
    return hashlib.sha256(item_id.encode("utf-8", "surrogatepass")).hexdigest()


def _to_old_name(item_id: str, suffix: str) -> str:
    """The name that programs before journal version 5 gave: always with the hash of the id."""
    normalized = unicodedata.normalize("NFC", item_id).encode("utf-8", "replace").decode()
    stem = _OLD_UNSAFE.sub("-", normalized).strip(" .-_")
    stem = stem.encode()[:_OLD_MAX_STEM_BYTES].decode(errors="ignore").strip(" .-_")
    return f"{add_hash(stem, item_id)}{suffix}"
