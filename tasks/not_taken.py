"""What a folder or pattern holds that a run did not take, and why: nothing is passed over in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

_MAX_EXTENSIONS = 8


@dataclass(frozen=True, slots=True)
class NotTaken:
    """What a run read in its folder and did not take. Hidden files and OUT's own are not counted.

    With a limit the folder is read only as far as the limit reaches.
    """

    extensions: Annotated[dict[str, int], "files that are not listed as the right kind, by extension"] = field(
        default_factory=dict
    )
    outside_links: Annotated[int, "links that lead to a file outside the folder"] = 0
    linked_folders: Annotated[int, "links that lead to a folder outside"] = 0
    broken_links: Annotated[int, "links that lead nowhere, and what is no file, such as a pipe"] = 0
    unsettled: Annotated[int, "files changed so recently that they may still be written"] = 0
    settle_seconds: Annotated[float, "how long a file must be unchanged to be taken, in seconds"] = 0.0
    with_sidecar: Annotated[int, "items with a text file beside them, which --skip-existing passes over"] = 0
    pattern: Annotated[str | None, "a pattern that names files of one of the extensions"] = None

    def __bool__(self) -> bool:
        numbers = (self.outside_links, self.linked_folders, self.broken_links, self.unsettled, self.with_sidecar)
        return bool(self.extensions) or any(numbers)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NotTaken:
        """The inverse of :func:`dataclasses.asdict`; fields that another version wrote are passed over."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})

    def describe(self) -> list[str]:
        """Each reason in words, with its number and what to do; empty when everything was taken."""
        reasons = []
        if self.extensions:
            example = f", e.g. '{self.pattern}'" if self.pattern else ""
            reasons.append(
                f"files with other extensions: {_format_extensions(self.extensions)}; "
                f"name them one by one, with a pattern{example}, or in a manifest"
            )
        if self.outside_links:
            reasons.append(f"links that lead out of the folder: {self.outside_links:,}; --allow-paths follows them")
        if self.linked_folders:
            reasons.append(f"links to folders outside: {self.linked_folders:,}; name such a folder as the source")
        if self.broken_links:
            reasons.append(f"links that lead nowhere, pipes and the like: {self.broken_links:,}")
        if self.unsettled:
            reasons.append(
                f"files changed less than {self.settle_seconds:g} s ago: {self.unsettled:,}; "
                "they wait for the next run, --settle 0 takes them at once"
            )
        if self.with_sidecar:
            reasons.append(f"items that have a text file beside them: {self.with_sidecar:,}, as --skip-existing says")
        return reasons


def _format_extensions(extensions: Mapping[str, int]) -> str:
    ordered = sorted(extensions.items(), key=lambda pair: (-pair[1], pair[0]))
    parts = [f"{number:,} {extension or 'without one'}" for extension, number in ordered[:_MAX_EXTENSIONS]]
    rest = ordered[_MAX_EXTENSIONS:]
    if rest:
        parts.append(f"{sum(number for _, number in rest):,} of {len(rest):,} more extensions")
    return ", ".join(parts)
