"""Whether a whole recording fits an endpoint, and how it is cut when it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.audio_info import AudioInfo, PreparedAudio
from mediamill.tasks.media.formats import find_send_format
from mediamill.tasks.media.prepare import prepare_audio
from mediamill.tasks.media.probe import read_audio_info
from mediamill.tasks.media.source_file import read_head
from mediamill.tasks.wire import AudioLimits

if TYPE_CHECKING:
    from mediamill.tasks.media.recording import Check

DEFAULT_PIECE_SECONDS = 600.0
"""Length of a piece where the endpoint accepts longer ones: short enough that many run in parallel and a lost one
costs little, long enough that there are few cuts."""

MIN_PIECE_SECONDS = 5.0

_MAX_BYTES_PER_SECOND, _TYPICAL_BYTES_PER_SECOND, _MIN_BYTES_PER_SECOND = 32_320, 18_500, 8_000
"""Bytes per second of 16 kHz mono FLAC: for noise, for speech, and below all speech that was measured."""
_HEADER_BYTES = 65_536
_MIN_PROBED_BYTES = 4 * 2**20
_TOO_BIG_KINDS = frozenset({"too_long", "too_large"})


@dataclass(frozen=True, slots=True)
class CutOptions:
    """How a recording is to be cut and prepared.

    Attributes:
        piece_seconds: requested maximum length of a piece; None for what suits the endpoint.
        overlap: seconds that neighbouring pieces share.
        keep_whole: cut only what cannot be sent whole, and then as little as possible.
        normalize, trim: what is done to short clips first.
        track: which audio track, by its number from 1, language or title; None for the default one.
        channel: which of its channels, from 1; None for the mix.
    """

    piece_seconds: float | None = None
    overlap: float = 0.0
    keep_whole: bool = False
    normalize: bool = False
    trim: bool = False
    track: str | None = None
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class CutPoints:
    """Where a recording was cut, in samples at 16 kHz, and its length in samples; None until that is known."""

    points: tuple[int, ...] = ()
    length: int | None = None


def limit_whole_file(limits: AudioLimits, cut_options: CutOptions) -> AudioLimits:
    """Limits for a whole recording: the endpoint's, and the length of a piece where one was requested."""
    if cut_options.piece_seconds is None or cut_options.keep_whole:
        return limits
    return replace(limits, max_seconds=min(cut_options.piece_seconds, limits.max_seconds or math.inf))


def max_piece_seconds(limits: AudioLimits, cut_options: CutOptions) -> float:
    """Maximum length of a piece: the requested one, but never more than surely fits.

    Raises:
        BadInput: ``too_large`` when not even a few seconds fit.
    """
    max_seconds = min((limits.max_bytes - _HEADER_BYTES) / _MAX_BYTES_PER_SECOND, (limits.max_seconds or math.inf) - 1)
    if max_seconds < MIN_PIECE_SECONDS:
        raise BadInput(
            f"the endpoint accepts only {limits.max_bytes} bytes at once, too few to cut recordings for",
            kind="too_large",
            hint="choose another --provider",
        )
    return min(
        max_seconds, cut_options.piece_seconds or (max_seconds if cut_options.keep_whole else DEFAULT_PIECE_SECONDS)
    )


def prepare_if_fits(
    path: Path, sha256: str, limits: AudioLimits, scratch: Path, cut_options: CutOptions, *, check: Check | None = None
) -> PreparedAudio | None:
    """Prepare the whole recording to be sent; None when it must be cut.

    It is tried unless the recording's own header shows that it cannot fit.

    Raises:
        BadInput: those of :func:`mediamill.tasks.media.prepare.prepare_audio`, but not ``too_long`` and ``too_large``.
        StorageError: when the scratch folder cannot take it.
    """
    whole_file_limits = limit_whole_file(limits, cut_options)
    if _cannot_fit(path, whole_file_limits, cut_options):
        return None
    try:
        return prepare_audio(
            path,
            sha256,
            whole_file_limits,
            scratch,
            normalize=cut_options.normalize,
            trim=cut_options.trim,
            track=cut_options.track,
            channel=cut_options.channel,
            check=check,
        )
    except BadInput as error:
        if error.kind in _TOO_BIG_KINDS:
            return None
        raise


def estimate_pieces(info: AudioInfo, size: int, limits: AudioLimits, cut_options: CutOptions) -> tuple[int, int]:
    """Estimate from its header how many requests a recording takes: as is likely, and at most."""
    whole_file_limits = limit_whole_file(limits, cut_options)
    seconds, max_seconds = float(info.seconds), whole_file_limits.max_seconds or math.inf
    fits_as_is = _audio_fits_as_is(info, size, whole_file_limits, cut_options)

    def fits(bytes_per_second: int) -> bool:
        fits_encoded = seconds * bytes_per_second + _HEADER_BYTES <= whole_file_limits.max_bytes
        return seconds <= max_seconds and (fits_as_is or fits_encoded)

    if fits(_MAX_BYTES_PER_SECOND):
        return 1, 1
    piece_seconds = max_piece_seconds(limits, cut_options)
    search_seconds = min(60.0, piece_seconds / 3)
    overlap = min(cut_options.overlap, piece_seconds / 3)
    likely = max(math.ceil(seconds / (piece_seconds - search_seconds / 2 - overlap)), 1)
    shortest = piece_seconds - search_seconds - overlap - min(1.0, piece_seconds / 10)  # as CutPlan's search window
    most = 1 + math.ceil(max(seconds - piece_seconds, 0.0) / shortest)
    return (1 if fits(_TYPICAL_BYTES_PER_SECOND) else likely), max(most, likely)


def _cannot_fit(path: Path, limits: AudioLimits, cut_options: CutOptions) -> bool:
    """True when the recording cannot fit by its header; False for small files, which are simply tried."""
    size = read_head(path)[1]
    if size < _MIN_PROBED_BYTES:
        return False
    try:
        info = read_audio_info(path, track=cut_options.track)
    except BadInput:  # the header does not show it; decoding will
        return False
    seconds = float(info.seconds)
    if info.exact and limits.max_seconds is not None and seconds > limits.max_seconds:
        return True
    return not _audio_fits_as_is(info, size, limits, cut_options) and seconds * _MIN_BYTES_PER_SECOND > limits.max_bytes


def _audio_fits_as_is(info: AudioInfo, size: int, limits: AudioLimits, cut_options: CutOptions) -> bool:
    if cut_options.channel is not None:  # a channel is always converted
        return False
    return size <= limits.max_bytes and find_send_format(info.container, info.codec, limits) is not None
