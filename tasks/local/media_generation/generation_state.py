"""What requests for pictures and videos share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mediamill.tasks.local.media_generation.job_store import Shelf
from mediamill.tasks.local.media_generation.media_cache import Files
from mediamill.tasks.local.media_generation.models import Makers


@dataclass(slots=True)
class Studio:
    """Models by dialect, jobs, and files.

    Attributes:
        job_seconds: least and most from a job's creation to its end.
        link_seconds: how long a link works.
    """

    makers: Mapping[str, Makers]
    job_seconds: tuple[float, float] = (0.0, 0.2)
    link_seconds: float = 3600.0
    shelf: Shelf = field(default_factory=Shelf)
    files: Files = field(default_factory=Files)

    def listed(self, told: Any, dialect: str) -> Any:
        """A list of models, with those that make pictures and videos; Together's tell what each does."""
        makers = self.makers[dialect]
        kinds = {**dict.fromkeys(makers.images, "image"), **dict.fromkeys(makers.videos, "video")}
        if isinstance(told, list):
            return [{**one, "type": kinds[one["id"]], "pricing": {}} if one["id"] in kinds else one for one in told]
        for one in told["data"]:
            if "displayType" in one and one["id"] in kinds:
                one |= {"displayType": kinds[one["id"]], "inputModalities": ["MODALITY_TEXT"]}
        return told

    def names(self, dialect: str) -> list[str]:
        """The dialect's models that make pictures or videos."""
        return [*self.makers[dialect].images, *self.makers[dialect].videos]

    def close(self) -> None:
        """Remove the files."""
        self.shelf.close()
        self.files.close()


def open_studio(
    makers: Mapping[str, Makers], job_seconds: tuple[float, float], link_seconds: float, bill_file: Path | None
) -> Studio:
    """A studio; beside the bill's file is one of its jobs, so that both outlive the server.

    Raises:
        StorageError: when that cannot be written.
    """
    file = None if bill_file is None else bill_file.with_name(bill_file.name + ".jobs")
    return Studio(makers, job_seconds, link_seconds, Shelf(file))
