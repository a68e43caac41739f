"""Which column of a manifest holds the files: its names in the tables of shops, archives and data sets."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import product

from mediamill.tasks.errors import UsageError

PATH_NAMES = ("path", "file", "filename", "audio", "url", "source", "uri")
"""The first of these that a manifest has holds its files, whatever other columns are called."""

_NOUNS = {
    "audio": ("audio", "recording", "sound", "video", "clip", "media"),
    "video": ("video", "clip", "movie", "film", "media"),
    "image": ("image", "img", "photo", "photograph", "picture", "pic", "media"),
}
_ENDINGS = ("url", "uri", "link", "path", "file", "filename", "src")
_PAIRS = (
    *product(sorted({noun for nouns in _NOUNS.values() for noun in nouns} | {"file"}), _ENDINGS),
    ("file", "name"),
)


def _make_kind_names(nouns: tuple[str, ...]) -> frozenset[str]:
    joined = ("".join(pair) for pair in _PAIRS if pair[0] in (*nouns, "file"))
    return frozenset({*nouns, *joined})


_KIND_NAMES = {kind: _make_kind_names(nouns) for kind, nouns in _NOUNS.items()}
"""The names by kind, in small letters and without what stands between words. A row that is a text has none."""


def find_path_column(where: str, names: Sequence[str], kinds: frozenset[str], taken: frozenset[str]) -> str | None:
    """The column that holds the files: one with a usual name, else the only one that is called like them.

    ``image_url``, ``Image URL`` and ``imageUrl`` are the same name.

    Args:
        where: the manifest, for messages.
        names: its columns.
        kinds: kinds of media that are wanted; a column of pictures is none of recordings.
        taken: columns with a meaning of their own.

    Raises:
        UsageError: when several columns could be it.
    """
    usual = {to_plain_name(name): name for name in reversed(names) if name not in taken}
    found = next((usual[name] for name in PATH_NAMES if name in usual), None)
    if found is not None:
        return found
    wanted = frozenset[str]().union(*(_KIND_NAMES.get(kind, ()) for kind in kinds))
    candidates = [name for name in names if name not in taken and _join_words(name) in wanted]
    if len(candidates) > 1:
        raise UsageError(
            f"{where}: several columns may hold the files: {', '.join(candidates)}",
            hint=f"name the one: --path-column {shlex.quote(candidates[0])}",
        )
    return candidates[0] if candidates else None


def list_path_names() -> frozenset[str]:
    """Every name of such a column in small letters, with each way to join its words."""
    joined = {separator.join(pair) for pair in _PAIRS for separator in ("", "_", "-", " ")}
    return frozenset({*PATH_NAMES, *joined}).union(*_NOUNS.values())


def to_plain_name(name: str) -> str:
    """A column's name in small letters, without the mark of a comment before it."""
    return name.lstrip("# ").lower()


def _join_words(name: str) -> str:
    return "".join(character for character in to_plain_name(name) if character.isalnum())
