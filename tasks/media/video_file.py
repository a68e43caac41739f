"""Open a video by its content, in bounded memory and time; each kind of broken file has its error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.stream import Disposition

from mediamill.tasks.errors import BadInput, build_memory_error
from mediamill.tasks.media.av_input import open_media
from mediamill.tasks.media.file_extent import is_cut_off_mp4
from mediamill.tasks.media.source_file import empty_file_error, read_head

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

DEMUXERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,m4v,h264,hevc,ivf,rm,dv,mxf,gxf,wtv,nut"
"""Formats that may be opened as video. Playlists and lists of other files are not among them: they would use the
network."""

MAX_PIXELS = 40_000_000
MAX_CPU_SECONDS = 600.0
_OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file", "max_streams": "100"}
_CUT_OFF = "it is damaged or cut off"
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_VIDEO_STARTS = (b"\x1aE\xdf\xa3", b"FLV\x01", b"0&\xb2u", b"OggS", b"\0\0\x01\xba", b"GIF8", b"DKIF")


class CpuBudget:
    """Bounds the processor time of one file."""

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self._began_at, self._check = time.thread_time(), check

    def check(self) -> None:
        """Call this often; what it raises ends the work."""
        self._check()
        if time.thread_time() - self._began_at > MAX_CPU_SECONDS:
            raise BadInput(f"the video takes more than {MAX_CPU_SECONDS:.0f} s to decode", kind="undecodable")


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream, int]]:
    """Open a video: yields it with its first video track and its size in bytes; decoding errors become BadInput.

    Raises:
        BadInput: as :func:`mediamill.tasks.media.frames.read_video_info`.
    """
    head, size = read_head(path)
    if not size:
        raise empty_file_error()
    try:
        container = open_media(path, options=_OPTIONS)
    except (av.FFmpegError, ValueError, OSError):
        raise _unopened_error(head) from None
    with container:
        if not len(container.streams) or any(stream.codec_context is None for stream in container.streams.video):
            raise broken_video_error(_CUT_OFF)
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams and is_cut_off_mp4(path):
            raise broken_video_error(_CUT_OFF)
        if not streams:
            raise BadInput("the file has no video track", kind="no_video", hint="`transcribe` takes audio")
        stream = streams[0]
        stream.thread_type = "NONE"
        pixels = (stream.width or 0) * (stream.height or 0)
        if pixels > MAX_PIXELS:
            raise BadInput(f"its frames have {pixels / 1e6:.0f} million pixels", kind="too_many_pixels")
        try:
            yield container, stream, size
        except BadInput:
            raise
        except (av.FFmpegError, ValueError, OSError) as error:
            raise broken_video_error(str(error).splitlines()[0] if str(error) else type(error).__name__) from None
        except MemoryError:
            raise build_memory_error("there was not enough memory to decode the video") from None


def _unopened_error(head: bytes) -> BadInput:
    if head[4:8] in _MP4_BOXES or head.startswith(_VIDEO_STARTS) or head[8:12] == b"AVI ":
        return broken_video_error(_CUT_OFF)
    return BadInput(
        "the file's content is not a video in any format that is known here",
        kind="not_a_video",
        hint="check that it plays in a media player",
    )


def broken_video_error(why: str) -> BadInput:
    """The error for a video that cannot be decoded."""
    return BadInput(
        f"the video cannot be decoded: {why}", kind="undecodable", hint="play it elsewhere, or copy it again"
    )
