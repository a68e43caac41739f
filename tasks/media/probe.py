"""Read the length of a recording from its header: quick enough to quote thousands of files."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.audio_info import AudioInfo, to_seconds
from mediamill.tasks.media.file_extent import may_be_joined_matroska
from mediamill.tasks.media.source_file import read_head
from mediamill.tasks.media.wav import parse_wav_header

if TYPE_CHECKING:
    from mediamill.tasks.media.recording import Recording

_MP3_INDEXES = (b"Xing", b"Info", b"VBRI")
_MAX_PACKETS = 400_000
_MAX_SCANNED_BYTES = 2 * 2**30
"""Larger files are not read for their length alone."""
_MATROSKA = frozenset({"mkv", "webm"})
_WITHOUT_INDEX = frozenset({"aac", "amr", "ac3", "eac3", "ts", "mpeg", "flv", "wv"})


def read_audio_info(path: Path, *, track: str | None = None) -> AudioInfo:
    """Read what a recording is, without decoding it.

    The length in the header counts where the container has an index of the track. The packets of other files, such as
    MP3 without an index or sound beside a video in Matroska, are counted (about 1 ms for a minute of audio); the length
    is only a guess when that takes too long.

    Args:
        path: the file.
        track: which audio track, by its number from 1, language or title; None for the default one.

    Raises:
        BadInput: the kinds of :func:`mediamill.tasks.media.prepare.prepare_audio` that show without decoding.
    """
    from mediamill.tasks.media.decode import open_recording

    head, size = read_head(path)
    wav_info = parse_wav_header(head, size)
    if wav_info is not None and track in (None, "1"):
        if not wav_info.seconds:
            raise no_samples_error()
        return wav_info
    with open_recording(path, head, track=track) as recording:
        seconds, exact = recording.declared_seconds, True
        if seconds is None or not _has_index(recording):
            counted_seconds = recording.scan_packets(_MAX_PACKETS) if size <= _MAX_SCANNED_BYTES else None
            seconds, exact = (counted_seconds, True) if counted_seconds is not None else (seconds, False)
        if not seconds:
            raise no_samples_error()
        return to_audio_info(recording, to_seconds(seconds), exact=exact)


def to_audio_info(recording: Recording, seconds: Decimal, *, exact: bool = True) -> AudioInfo:
    """What an open recording is, of the given length."""
    rate = max(recording.samples, key=recording.samples.__getitem__, default=recording.rate)
    container, codec, channels = recording.container, recording.codec, recording.channels
    return AudioInfo(
        container, codec, seconds, rate, channels, exact, recording.video, recording.tracks, recording.track
    )


def no_samples_error() -> BadInput:
    """The error for a well-formed file without a single sample."""
    return BadInput("the recording holds no audio: 0 samples", kind="empty", hint="record or download it again")


def _has_index(recording: Recording) -> bool:
    if recording.container == "mp3":
        return has_mp3_index(recording.path)
    if recording.container in _WITHOUT_INDEX or (
        recording.container in _MATROSKA and may_be_joined_matroska(recording.path)
    ):
        return False
    return not recording.is_shared_length and not recording.is_late


def has_mp3_index(path: Path) -> bool:
    """True when an MP3's first frame is a Xing, Info or VBRI header, which states the number of frames."""
    with path.open("rb") as file:
        tag = file.read(10)
        if tag[:3] == b"ID3" and len(tag) == 10:  # noqa: PLR2004
            file.seek(10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True)))
        else:
            file.seek(0)
        start = file.read(4096)
    return any(name in start for name in _MP3_INDEXES)
