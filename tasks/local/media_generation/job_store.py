"""Generated media and video jobs: their records are small enough to keep many in memory."""

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
"""Jobs and linked images that are kept."""

_QUEUED_SHARE = 0.25
_MICROSECONDS = 1_000_000

JobOutcome = Literal["completed", "failed", "stuck", "blocked"]


@dataclass(slots=True, kw_only=True)
class GeneratedMedia:
    """A file that links can lead to. The fields of a video job are stored in the jobs' file.

    Attributes:
        what: the spec; it is rendered when the file is downloaded.
        source: hash of the prompt and inputs, for fault rules.
        hops: its link redirects to the file.
        linked: Unix time of its newest link in microseconds; it identifies the link.
        dead: links created up to this time are expired, whatever their age.
    """

    id: str
    model: str
    what: ImageSpec | VideoSpec
    source: str | None = None
    hops: bool = False
    linked: int = 0
    dead: int = 0

    def create_link_token(self) -> str:
        """Create a link and return its token."""
        self.linked = max(int(time.time() * _MICROSECONDS), self.linked + 1)
        return f"{self.id}.{self.linked:x}"

    def is_link_valid(self, stamp: int, seconds: float) -> bool:
        """The link created at ``stamp`` (microseconds) still works, where links work for so many seconds."""
        return stamp > self.dead and time.time() < stamp / _MICROSECONDS + seconds


@dataclass(slots=True, kw_only=True)
class VideoJob(GeneratedMedia):
    """A job that generates a video.

    Attributes:
        wire: wire format of its replies: together, openai or xai.
        created, ready: Unix seconds of its creation and its end.
        usd: the billed US dollars; empty where the model has no price.
        fate: its outcome; a ``blocked`` job is done, but its video is withheld.
        error: code and message of a failed job.
        odd: a status that the first poll reports instead of the real one.
    """

    what: VideoSpec
    wire: str
    created: float
    ready: float
    usd: str = "0"
    fate: JobOutcome = "completed"
    error: Mapping[str, str] | None = None
    odd: str | None = None

    def compute_progress(self) -> float:
        """Elapsed share of its time, from 0 to 1; at 1 it has ended."""
        if self.fate == "stuck":
            return 0.5
        now, total = time.time(), self.ready - self.created
        return 1.0 if now >= self.ready else max(0.0, (now - self.created) / total)

    def compute_status(self) -> str:
        """The status now: queued, in_progress, completed, failed or blocked."""
        done = self.compute_progress()
        if done < 1:
            return "queued" if done < _QUEUED_SHARE else "in_progress"
        return self.fate


class JobStore:
    """Generated media by id; jobs are optionally stored in a file of JSON lines that outlives the server.

    Raises:
        StorageError: when the file cannot be written.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._items: OrderedDict[str, GeneratedMedia] = OrderedDict()
        self._file: RecordFile | None = None
        if file is not None:
            self._open_file(file)

    def add(self, item: GeneratedMedia) -> None:
        """Add an item; above :data:`MAX_KEPT_ITEMS` the oldest is dropped."""
        self._items[item.id] = item
        if len(self._items) > MAX_KEPT_ITEMS:
            self._items.popitem(last=False)
        if self._file is not None and isinstance(item, VideoJob):
            self._file.append(asdict(item))

    def get(self, item_id: str) -> GeneratedMedia | None:
        """The item of that id; None when there is none."""
        return self._items.get(item_id)

    def find_linked(self, token: str) -> tuple[GeneratedMedia, int] | None:
        """The item of a link's token, and when the link was created, in microseconds; None for an unknown token."""
        item_id, _, stamp = token.partition(".")
        item = self._items.get(item_id)
        try:
            return (item, int(stamp, 16)) if item is not None else None
        except ValueError:
            return None

    def reset(self) -> None:
        """Drop all items; the file keeps its lines."""
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
    """A new unique id."""
    return prefix + uuid.uuid4().hex
