"""Which pictures were asked about before: equal ones, and those that look alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from mediamill.tasks.domain import Input
from mediamill.tasks.media.images.perceptual_hash import NearDuplicateIndex, hash_thumbnail


@dataclass(frozen=True, slots=True)
class GroupLeader:
    """The first item of a group, and its pictures as (SHA-256, recipe)."""

    item_id: str
    inputs: tuple[tuple[str, str], ...]


class DuplicateGroups:
    """The first item of every group of pictures that are asked the same.

    A group's name begins with what is asked; ``near`` ones end in the hash of how a single picture looks, others
    name the bytes of all. It is made from the results an OUT has, so that a later run keeps an earlier one's groups.
    """

    def __init__(self) -> None:
        self._leaders: dict[str, GroupLeader] = {}
        self._hashes: dict[str, NearDuplicateIndex] = {}

    @classmethod
    def from_results(cls, results: Iterable[bytes]) -> DuplicateGroups:
        """The groups of earlier results."""
        made = cls()
        for line in results:
            row = orjson.loads(line)
            if row.get("looks") and row.get("duplicate_of") is None:
                inputs = [(one["sha256"], one["recipe"]) for one in row.get("pictures") or ()]
                made.join(row["looks"], row["item_id"], inputs)
        return made

    @staticmethod
    def to_group_name(asked: str, thumbnails: Sequence[bytes | None], inputs: Sequence[Input]) -> str:
        """The name of the group: by how it looks where there is one picture with a thumbnail, else by its bytes."""
        if len(thumbnails) == 1 and thumbnails[0] is not None:
            return f"{asked} near {hash_thumbnail(thumbnails[0]):016x}"
        digest = hashlib.sha256("\n".join(one.sha256 for one in inputs).encode()).hexdigest()
        return f"{asked} exact {digest}"

    def join(self, looks: str, item_id: str, inputs: Sequence[tuple[str, str]]) -> GroupLeader | None:
        """The first item of the group; None when this one is it, or stands alone."""
        name = looks
        asked, kind, value = looks.split(" ")
        if kind == "near":
            leaders = self._hashes.setdefault(asked, NearDuplicateIndex())
            name = leaders.find_nearest(int(value, 16)) or looks
            if name == looks and looks not in self._leaders:
                leaders.add(int(value, 16), looks)
        found = self._leaders.setdefault(name, GroupLeader(item_id, tuple(inputs)))
        return None if found.item_id == item_id else found
