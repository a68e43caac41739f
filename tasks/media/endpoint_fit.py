"""Whether a recording fits an endpoint whole, and how it is cut when it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.audio_info import AudioInfo, PreparedAudio
from mediamill.tasks.media.formats import sendable
from mediamill.tasks.media.prepare import prepare
from mediamill.tasks.media.probe import probe
from mediamill.tasks.media.source_file import read_head
from mediamill.tasks.wire import AudioLimits

if TYPE_CHECKING:
    from mediamill.tasks.media.decode import Check

DEFAULT_PIECE_SECONDS = 600.0
"""How long pieces are where the endpoint takes more: short enough that many are heard side by side and a lost
one costs little, long enough that seams are few."""

MIN_PIECE_SECONDS = 5.0

_WORST, _TYPICAL, _BEST = 32_320, 18_500, 8_000
"""Bytes a second of 16 kHz mono FLAC: noise, speech, and less than any speech was seen to need."""
_HEADERS = 65_536
_WORTH_PROBING = 4 * 2**20
_TOO_MUCH = frozenset({"too_long", "too_large"})


@dataclass(frozen=True, slots=True)
class CutOptions:
    """How a recording is to be cut and prepared.

    Attributes:
        seconds: longest piece asked for; None leaves it to what the endpoint takes.
        overlap: seconds neighbouring pieces share.
        keep_whole: cut only what cannot go whole, and then as little as possible.
        normalize, trim: shape short clips first.
    """

    seconds: float | None = None
    overlap: float = 0.0
    keep_whole: bool = False
    normalize: bool = False
    trim: bool = False


@dataclass(frozen=True, slots=True)
class CutPoints:
    """Where a recording was cut, in samples at 16 kHz; its length once it is known."""

    points: tuple[int, ...] = ()
    length: int | None = None


def limit_whole(limits: AudioLimits, cutting: CutOptions) -> AudioLimits:
    """What may go whole: what the endpoint takes, or no more than a piece where their length was asked for."""
    if cutting.seconds is None or cutting.keep_whole:
        return limits
    return replace(limits, max_seconds=min(cutting.seconds, limits.max_seconds or math.inf))


def max_piece_seconds(limits: AudioLimits, cutting: CutOptions) -> float:
    """The longest a piece may be: as asked for, never more than surely fits.

    Raises:
        BadInput: ``too_large`` when not even a few seconds fit.
    """
    most = min((limits.max_bytes - _HEADERS) / _WORST, (limits.max_seconds or math.inf) - 1)
    if most < MIN_PIECE_SECONDS:
        raise BadInput(
            f"the endpoint takes only {limits.max_bytes} bytes at once, too few to cut recordings for",
            kind="too_large",
            hint="choose another --provider",
        )
    return min(most, cutting.seconds or (most if cutting.keep_whole else DEFAULT_PIECE_SECONDS))


def prepare_if_fits(
    path: Path, sha256: str, limits: AudioLimits, scratch: Path, cutting: CutOptions, *, check: Check | None = None
) -> PreparedAudio | None:
    """The recording made ready to go whole; None when it must be cut.

    It is tried wherever it might fit: only a recording whose own header shows that it cannot is not.

    Raises:
        BadInput: those of :func:`mediamill.tasks.media.prepare.prepare`, except ``too_long`` and ``too_large``.
        StorageError: when the scratch folder cannot take it.
    """
    allowed = limit_whole(limits, cutting)
    if _hopeless(path, allowed):
        return None
    try:
        return prepare(path, sha256, allowed, scratch, normalize=cutting.normalize, trim=cutting.trim, check=check)
    except BadInput as error:
        if error.kind in _TOO_MUCH:
            return None
        raise


def expected_pieces(info: AudioInfo, size: int, limits: AudioLimits, cutting: CutOptions) -> int:
    """How many requests a recording is likely to take, by its header."""
    allowed = limit_whole(limits, cutting)
    seconds, most = float(info.seconds), allowed.max_seconds or math.inf
    if seconds <= most and (_as_is(info, size, allowed) or seconds * _TYPICAL <= allowed.max_bytes):
        return 1
    longest = max_piece_seconds(limits, cutting)
    searched = min(60.0, longest / 3)
    return max(math.ceil(seconds / (longest - searched / 2 - min(cutting.overlap, longest / 3))), 1)


def _hopeless(path: Path, limits: AudioLimits) -> bool:
    """True when trying would be for nothing; small files are simply tried."""
    size = read_head(path)[1]
    if size < _WORTH_PROBING:
        return False
    try:
        info = probe(path)
    except BadInput:  # a header that does not tell; decoding will
        return False
    seconds = float(info.seconds)
    if info.exact and limits.max_seconds is not None and seconds > limits.max_seconds:
        return True
    return not _as_is(info, size, limits) and seconds * _BEST > limits.max_bytes


def _as_is(info: AudioInfo, size: int, limits: AudioLimits) -> bool:
    return size <= limits.max_bytes and sendable(info.container, info.codec, limits) is not None
