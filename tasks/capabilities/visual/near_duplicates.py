"""Which images were sent before: equal images, and images that look alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from mediamill.tasks.domain import Input
from mediamill.tasks.media.images.perceptual_hash import NearDuplicateIndex, hash_thumbnail


@dataclass(frozen=True, slots=True)
class GroupLeader:
    """The first item of a group, and its images as (SHA-256, recipe)."""

    item_id: str
    inputs: tuple[tuple[str, str], ...]


class DuplicateGroups:
    """The first item of every group of equal or nearly equal images with the same prompt.

    A group's name begins with the hash of the prompt and the model. The name of a ``near`` group ends with the
    perceptual hash of its image, that of an ``exact`` group with the hash of all image bytes. The groups are built
    from OUT's results, so that a later run keeps the groups of an earlier one.
    """

    def __init__(self) -> None:
        self._leaders: dict[str, GroupLeader] = {}
        self._hashes: dict[str, NearDuplicateIndex] = {}

    @classmethod
    def from_results(cls, results: Iterable[bytes]) -> DuplicateGroups:
        """The groups of earlier results, given as JSON rows."""
        groups = cls()
        for line in results:
            row = orjson.loads(line)
            if row.get("looks") and row.get("duplicate_of") is None:
                inputs = [(image["sha256"], image["recipe"]) for image in row.get("pictures") or ()]
                groups.join(row["looks"], row["item_id"], inputs)
        return groups

    @staticmethod
    def to_group_name(prompt_hash: str, thumbnails: Sequence[bytes | None], inputs: Sequence[Input]) -> str:
        """The name of the images' group: by the look of a single image with a thumbnail, otherwise by the bytes."""
        if len(thumbnails) == 1 and thumbnails[0] is not None:
            return f"{prompt_hash} near {hash_thumbnail(thumbnails[0]):016x}"
        digest = hashlib.sha256("\n".join(source.sha256 for source in inputs).encode()).hexdigest()
        return f"{prompt_hash} exact {digest}"

    def join(self, group_name: str, item_id: str, inputs: Sequence[tuple[str, str]]) -> GroupLeader | None:
        """Put an item into its group.

        Returns:
            The group's first item; None when this item is the first.
        """
        name = group_name
        prompt_hash, kind, value = group_name.split(" ")
        if kind == "near":
            index = self._hashes.setdefault(prompt_hash, NearDuplicateIndex())
            name = index.find_nearest(int(value, 16)) or group_name
            if name == group_name and group_name not in self._leaders:
                index.add(int(value, 16), group_name)
        leader = self._leaders.setdefault(name, GroupLeader(item_id, tuple(inputs)))
        return None if leader.item_id == item_id else leader
