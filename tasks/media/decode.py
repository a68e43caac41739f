"""Decode the audio of a recording as a stream, in bounded memory and time; each kind of broken file has its error.

FFmpeg (through PyAV) may use listed demuxers and decoders and the ``file`` protocol only: opening a file whose
content is a playlist would otherwise make network requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from av.stream import Disposition

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.av_input import open_media
from mediamill.tasks.media.file_extent import is_cut_off_mp4
from mediamill.tasks.media.formats import (
    DECODERS,
    DEMUXERS,
    MEASURED,
    WITH_CLOCK,
    WITH_START,
    WITH_TRACK_LENGTHS,
    container_name,
)
from mediamill.tasks.media.headerless import find_headerless_format
from mediamill.tasks.media.joins import MAX_HOLE_SECONDS, SeenTimes, find_jump_seconds
from mediamill.tasks.media.recording import DECODE_ERRORS, Check, Recording, check_plausible
from mediamill.tasks.media.source_file import count_foreign_tag_bytes
from mediamill.tasks.media.stamps import Stamps, read_stamps
from mediamill.tasks.media.track_clock import TOLERANCE_SECONDS, TrackClock
from mediamill.tasks.media.tracks import choose_track
from mediamill.tasks.media.undecodable import undecodable_error
from mediamill.tasks.media.wav import missing_share

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream

_CONTAINER_OPTIONS = {
    "format_whitelist": DEMUXERS,
    "protocol_whitelist": "file,subfile",
    "codec_whitelist": ",".join(sorted(DECODERS)),
    "max_streams": "100",
    "max_size": "65536",
}
_DECODER_OPTIONS = {"max_samples": str(2**20)}


@contextmanager
def open_recording(
    path: Path, head: bytes, check: Check | None = None, *, track: str | None = None
) -> Iterator[Recording]:
    """Open a file by its content, or by its suffix where that says that it has no header, and find its audio track.

    Args:
        path: a regular file.
        head: its first kilobytes, to say what it is when it is not audio.
        check: called often while decoding; what it raises ends the work.
        track: which audio track, by its number from 1, language or title; None for the default one.

    Raises:
        BadInput: ``not_audio``, ``undecodable``, ``no_audio`` or ``no_such_track``.
    """
    tag_bytes = count_foreign_tag_bytes(head, path)
    # The protocol's name keeps a file whose own name looks like one from being opened as that.
    name = f"subfile,,start,{tag_bytes},end,0,,:file:{path}" if tag_bytes else f"file:{path}"
    options, headerless = _CONTAINER_OPTIONS, find_headerless_format(path, head)
    if headerless is not None:
        options = {**options, "format_whitelist": headerless.demuxer, **headerless.options}
    try:
        handle = open_media(name, format=headerless.demuxer if headerless else None, options=options)
    except DECODE_ERRORS:
        raise undecodable_error(head, path) from None
    with handle:
        recording = _to_recording(path, handle, head, track)
        recording.check = check
        recording.has_foreign_tag = bool(tag_bytes)
        yield recording


def _to_recording(path: Path, handle: InputContainer, head: bytes, wanted_track: str | None) -> Recording:
    video_streams = [s for s in handle.streams if s.type == "video"]
    video = any(not s.disposition & Disposition.attached_pic for s in video_streams)
    streams = [s for s in handle.streams.audio if s.codec_context is not None]
    if not streams and (not len(handle.streams) or is_cut_off_mp4(path)):
        raise undecodable_error(head, path)
    if not streams:
        holds = "images or video but no audio" if video_streams else "no audio"
        raise BadInput(f"the file has no audio track: it holds {holds}", kind="no_audio")
    stream, track = choose_track(streams, wanted_track)
    stream.codec_context.options = _DECODER_OPTIONS
    codec = stream.codec_context.name.removesuffix("float").removeprefix("lib")
    name = container_name(handle.format.name, head, codec, brand=handle.metadata.get("major_brand", ""), video=video)
    rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
    if rate:
        check_plausible(rate, channels)
    stamps = read_stamps(path, handle, stream)
    declared_seconds = _read_declared_seconds(handle, stream, stamps)
    if declared_seconds is not None and name == "wav":
        declared_seconds /= 1 - missing_share(head, path.stat().st_size)
    demuxers = frozenset(handle.format.name.split(","))
    is_shared = len(_find_timed_streams(handle)) > 1 and not (demuxers & WITH_TRACK_LENGTHS and stream.duration)
    has_clock = bool(demuxers & (WITH_CLOCK | WITH_START))
    others_times = SeenTimes()
    clock = TrackClock(
        has_holes=bool(demuxers & WITH_CLOCK or stamps),
        jump_seconds=find_jump_seconds(path, demuxers),
        go_on=others_times.go_on,
    )
    return Recording(
        path,
        handle,
        stream,
        name,
        codec,
        rate,
        channels,
        declared_seconds,
        is_shared,
        track,
        len(streams),
        video,
        clock=clock,
        others_times=others_times,
        others=[s for s in _find_timed_streams(handle) if s is not stream] if has_clock else [],
        is_late=has_clock and _read_start(stream, stamps) > TOLERANCE_SECONDS,
        is_length_measured=bool(demuxers & MEASURED),
        stamps=stamps,
    )


def _find_timed_streams(handle: InputContainer) -> list[Stream]:
    """The tracks of pictures and sound; a cover has no time."""
    return [s for s in handle.streams if s.type in ("audio", "video") and not s.disposition & Disposition.attached_pic]


def _read_start(stream: AudioStream, stamps: Stamps) -> float:
    return stamps.correct(float((stream.start_time or 0) * (stream.time_base or 0)))


def _read_declared_seconds(handle: InputContainer, stream: AudioStream, stamps: Stamps) -> Fraction | None:
    if stamps.edits.seconds:
        unpaid = sum(end - start for start, end in stamps.edits.empty if end - start > MAX_HOLE_SECONDS)
        return Fraction(stamps.edits.seconds - unpaid).limit_denominator(1_000_000)
    if stream.duration and stream.time_base:
        seconds = stream.duration * stream.time_base
    elif handle.duration:
        seconds = Fraction(handle.duration, 1_000_000)
    else:
        return None
    return seconds if seconds > 0 else None
