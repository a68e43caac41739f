"""What was made, and the jobs that make videos: small enough to keep them all."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from mediamill.tasks.local.billing.record_file import RecordFile
from mediamill.tasks.local.media_generation.specs import ImageSpec, VideoSpec

MAX_KEPT_ITEMS = 100_000
"""Jobs and linked pictures that are remembered."""

_QUEUED_SHARE = 0.25
_MICROSECONDS = 1_000_000

JobOutcome = Literal["completed", "failed", "stuck", "blocked"]


@dataclass(slots=True, kw_only=True)
class GeneratedMedia:
    """A file that can be linked to.

    Attributes:
        what: is drawn when the file is fetched.
        source: hash of the prompt and inputs, for fault rules.
        hops: its link redirects to the file.
        linked: when its last link was made, in microseconds; links are told apart by it.
        dead: links made up to then are expired, whatever their age.
    """

    id: str
    model: str
    what: ImageSpec | VideoSpec
    source: str | None = None
    hops: bool = False
    linked: int = 0
    dead: int = 0

    def create_link_token(self) -> str:
        """A new link's token."""
        self.linked = max(int(time.time() * _MICROSECONDS), self.linked + 1)
        return f"{self.id}.{self.linked:x}"

    def is_link_valid(self, stamp: int, seconds: float) -> bool:
        """The link made at ``stamp`` still works, where links live so many seconds."""
        return stamp > self.dead and time.time() < stamp / _MICROSECONDS + seconds


@dataclass(slots=True, kw_only=True)
class VideoJob(GeneratedMedia):
    """A video on its way.

    Attributes:
        wire: whose job it is told as: together, openai or xai.
        created, ready: Unix seconds.
        usd: what was billed for it.
        fate: how it ends; ``blocked`` is done, but what it shows is withheld.
        error: code and message of one that fails.
        odd: a status that is told once, before the others.
    """

    what: VideoSpec
    wire: str
    created: float
    ready: float
    usd: str = "0"
    fate: JobOutcome = "completed"
    error: Mapping[str, str] | None = None
    odd: str | None = None

    def progress(self) -> float:
        """Share of its time that is over, 0 to 1; it has ended at 1."""
        if self.fate == "stuck":
            return 0.5
        now, total = time.time(), self.ready - self.created
        return 1.0 if now >= self.ready else max(0.0, (now - self.created) / total)

    def status(self) -> str:
        """Queued, in_progress, completed, failed or blocked."""
        done = self.progress()
        if done < 1:
            return "queued" if done < _QUEUED_SHARE else "in_progress"
        return self.fate


class JobStore:
    """What was made, by id; optionally jobs are in a file of JSON lines that outlives the server.

    Raises:
        StorageError: when the file cannot be written.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._items: OrderedDict[str, GeneratedMedia] = OrderedDict()
        self._file: RecordFile | None = None
        if file is not None:
            self._open_file(file)

    def add(self, item: GeneratedMedia) -> None:
        """Remember it; the oldest are forgotten above a bound."""
        self._items[item.id] = item
        if len(self._items) > MAX_KEPT_ITEMS:
            self._items.popitem(last=False)
        if self._file is not None and isinstance(item, VideoJob):
            self._file.append(asdict(item))

    def get(self, item_id: str) -> GeneratedMedia | None:
        """By its id."""
        return self._items.get(item_id)

    def find_linked(self, token: str) -> tuple[GeneratedMedia, int] | None:
        """What a link's token stands for, and when the link was made."""
        item_id, _, stamp = token.partition(".")
        item = self._items.get(item_id)
        try:
            return (item, int(stamp, 16)) if item is not None else None
        except ValueError:
            return None

    def reset(self) -> None:
        """Forget all; the file keeps what it has."""
        self._items.clear()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open_file(self, file: Path) -> None:
        self._file, lines = RecordFile.open(file, "the jobs")
        for line in lines[-MAX_KEPT_ITEMS:]:
            try:
                entry: Any = orjson.loads(line)
                job = VideoJob(**{**entry, "what": VideoSpec(**entry["what"])})
            except (ValueError, TypeError, KeyError):
                continue
            self._items[job.id] = job


def make_id(prefix: str = "") -> str:
    """An id nobody had before."""
    return prefix + uuid.uuid4().hex
