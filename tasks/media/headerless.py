"""Recordings of telephone systems that begin with sound itself: what they are, only their file's suffix tells.

Suffixes are those of Asterisk, SoX and FFmpeg. One that is used for several things, or at several rates, tells nothing
surely: there is a line that says how to convert such a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mediamill.tasks.media.content_kind import describe_content

_GSM_FRAME_BYTES, _GSM_MARK = 33, 0xD
_CHECKED_FRAMES = 4
_SLN_RATES = {
    "sln": 8000, "sln8": 8000, "slin": 8000, "sln12": 12_000, "sln16": 16_000, "sln24": 24_000, "sln32": 32_000,
    "sln44": 44_100, "sln48": 48_000, "sln96": 96_000, "sln192": 192_000,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class HeaderlessFormat:
    """The demuxer that reads a headerless file, and its options."""

    demuxer: str
    options: Mapping[str, str] = field(default_factory=dict)


_FORMATS = {
    "gsm": HeaderlessFormat("gsm"),
    "g722": HeaderlessFormat("g722"),
    "722": HeaderlessFormat("g722"),
    **{name: HeaderlessFormat("g723_1") for name in ("g723_1", "tco", "rco")},
    "g728": HeaderlessFormat("g728"),
    "g729": HeaderlessFormat("g729"),
    **{name: HeaderlessFormat("mulaw", {"sample_rate": "8000"}) for name in ("ulaw", "ul", "ulw", "mulaw", "pcmu")},
    **{name: HeaderlessFormat("alaw", {"sample_rate": "8000"}) for name in ("alaw", "al", "alw", "pcma")},
    **{name: HeaderlessFormat("sln", {"sample_rate": str(rate)}) for name, rate in _SLN_RATES.items()},
}

_CONVERSIONS = {
    "vox": "sox -t vox -r 8000 FILE out.wav (or -r 6000)",
    **dict.fromkeys(
        ("g726", "g726-16", "g726-24", "g726-32", "g726-40"),
        "ffmpeg -f g726le -code_size 4 -i FILE out.wav (2 to 5 bits a sample; or -f g726)",
    ),
    **dict.fromkeys(("raw", "pcm", "s16", "sw"), "ffmpeg -f s16le -ar 16000 -ac 1 -i FILE out.wav (with its own rate)"),
    "g723": "ffmpeg -f g723_1 -i FILE out.wav",
    "sbc": "ffmpeg -f sbc -i FILE out.wav",
    **dict.fromkeys(("dss", "ds2"), "the dictation machine's own program"),
    **dict.fromkeys(("siren7", "siren14", "g719", "ilbc", "c2"), "the telephone system's own tools"),
}


def find_headerless_format(path: Path, head: bytes) -> HeaderlessFormat | None:
    """How a file is read whose suffix says that it has no header; None for all others, and where the bytes say more.

    Args:
        path: the file; its suffix counts.
        head: its first bytes.
    """
    found = _FORMATS.get(path.suffix.lower().removeprefix("."))
    if found is None or describe_content(head, includes_media=True):
        return None
    if found.demuxer == "gsm":
        marks = {byte >> 4 for byte in head[: _CHECKED_FRAMES * _GSM_FRAME_BYTES : _GSM_FRAME_BYTES]}
        return found if marks == {_GSM_MARK} else None
    return found


def describe_conversion(path: Path) -> str | None:
    """With what a file is converted whose suffix says that it is sound, but not which; None for other suffixes."""
    return _CONVERSIONS.get(path.suffix.lower().removeprefix("."))
