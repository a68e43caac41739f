"""Audio, as the rest of the house uses it: probe for a quote, prepare to send."""

from __future__ import annotations

from mediamill.tasks.media.info import AudioInfo, Clip
from mediamill.tasks.media.prepare import listened, prepare, quick
from mediamill.tasks.media.probe import probe

__all__ = ["AudioInfo", "Clip", "listened", "prepare", "probe", "quick"]
