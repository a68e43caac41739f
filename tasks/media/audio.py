"""Audio, as the rest of the house uses it: probe for a quote, prepare to send."""

from __future__ import annotations

from tasks.media.info import AudioInfo, Clip
from tasks.media.prepare import listened, prepare, quick
from tasks.media.probe import probe

__all__ = ["AudioInfo", "Clip", "listened", "prepare", "probe", "quick"]
