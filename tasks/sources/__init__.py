"""Sources: a folder, glob, file, URL, manifest or stdin list becomes a stream of Items."""

from __future__ import annotations

from mediamill.tasks.sources.base import Source
from mediamill.tasks.sources.factory import open_source

__all__ = ["Source", "open_source"]
