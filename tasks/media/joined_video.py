"""A video that was joined of several byte by byte: its pictures follow each other as players show them.

Its timestamps name no single moment, so it cannot be sought by them: its packets are counted, and those before the key
frame of a moment are passed over undecoded.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
from av.stream import Disposition

from mediamill.tasks.media.decode_report import describe_jumps
from mediamill.tasks.media.frame_finder import ROUNDING_SECONDS, STALE_SECONDS, Check, FoundFrame, decode_packet
from mediamill.tasks.media.joins import SeenTimes, find_jump_seconds
from mediamill.tasks.media.track_clock import TrackClock
from mediamill.tasks.media.video_file import open_video

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_MIN_KEY_SECONDS = 0.5
"""Key frames that follow sooner are not noted."""
_MAX_KNOWN_FILES = 64


@dataclass(frozen=True, slots=True)
class JoinedVideo:
    """Where the packets of a joined video stand in time.

    Attributes:
        offsets: from which packet on, counted from 0, by how many seconds timestamps are ahead of the file's times.
        keys: packets with a key frame, and their times in seconds from the file's beginning; in order.
        end: when the last picture ends, in seconds from the file's beginning.
        warnings: what its rows say of the joins.
    """

    offsets: tuple[tuple[int, float], ...]
    keys: tuple[tuple[int, float], ...]
    end: float
    warnings: tuple[str, ...]

    def find_key(self, at: float) -> tuple[int, float]:
        """The key frame from which a moment's picture can be decoded: its packet, and its time in seconds."""
        n_before = bisect_right(self.keys, at + ROUNDING_SECONDS, key=lambda key: key[1])
        return self.keys[n_before - 1] if n_before else (0, -math.inf)


_known: OrderedDict[tuple[str, int, int], JoinedVideo | None] = OrderedDict()
_lock = threading.Lock()


def find_joins(path: Path, zero: float, check: Check) -> JoinedVideo | None:
    """Read the timestamps of all packets; None where a video's clock never starts anew. A file is read once.

    Args:
        path: the video.
        zero: the timestamp at which it begins, in seconds.
        check: called often; what it raises ends the work.

    Raises:
        BadInput: as :func:`mediamill.tasks.media.video_file.open_video`.
    """
    status = path.stat()
    key = (str(path), status.st_size, status.st_mtime_ns)
    with _lock:
        if key in _known:
            return _known[key]
    joined = _read_joins(path, zero, check)
    with _lock:
        _known[key] = joined
        while len(_known) > _MAX_KNOWN_FILES:
            _known.popitem(last=False)
    return joined


def _read_joins(path: Path, zero: float, check: Check) -> JoinedVideo | None:
    with open_video(path) as (container, stream, _):
        jump_seconds = find_jump_seconds(path, container.format.name.split(","))
        if math.isinf(jump_seconds):
            return None
        seen = SeenTimes()
        clock = TrackClock(jump_seconds=jump_seconds, go_on=seen.go_on)
        base, typical = float(stream.time_base or 0), 1 / float(stream.average_rate or 25)
        packets = clock.follow(_read_packets(container, stream, seen, check), lambda p: _measure(p, base, typical))
        parts, keys = [_Part(0)], list[tuple[int, float, _Part]]()
        for number, (_, packet) in enumerate(packets):
            if clock.restarts >= len(parts):
                parts.append(_Part(number))
            time, seconds = _measure(packet, base, typical)
            if time is None:
                continue
            parts[-1].start, parts[-1].end = min(parts[-1].start, time), max(parts[-1].end, time + seconds)
            if packet.is_keyframe and not (keys and keys[-1][2] is parts[-1] and time < keys[-1][1] + _MIN_KEY_SECONDS):
                keys.append((number, time, parts[-1]))
    return _join(zero, parts, keys, describe_jumps(clock)) if clock.restarts else None


@dataclass(slots=True)
class _Part:
    """From which packet on; first and last timestamp in seconds; by how many seconds these are ahead of the times."""

    number: int
    start: float = math.inf
    end: float = -math.inf
    offset: float = 0.0


def _join(
    zero: float, parts: Sequence[_Part], keys: Sequence[tuple[int, float, _Part]], warnings: tuple[str, ...]
) -> JoinedVideo:
    """Each part's first picture follows the last one before it."""
    end = 0.0
    parts[0].offset = zero
    for part in parts:
        if part is not parts[0]:
            part.offset = part.start - end
        end = max(end, part.end - part.offset)
    return JoinedVideo(
        tuple((part.number, part.offset) for part in parts),
        tuple((number, time - part.offset) for number, time, part in keys),
        end,
        warnings,
    )


def _read_packets(
    container: InputContainer, stream: VideoStream, seen: SeenTimes, check: Check
) -> Iterator[Packet[Any]]:
    """The packets of the video; the times of those of other tracks are noted."""
    streams = [
        s for s in container.streams if s.type in ("audio", "video") and not s.disposition & Disposition.attached_pic
    ]
    for number, packet in enumerate(container.demux(streams)):
        if number % 64 == 0:
            check()
        if packet.stream_index == stream.index and packet.size:
            yield packet
        elif packet.dts is not None and packet.time_base is not None:
            seen.add(float(packet.dts * packet.time_base))


def _measure(packet: Packet[Any], base: float, typical: float) -> tuple[float | None, float]:
    """When a packet's picture is shown and for how long, in seconds."""
    stamp = packet.dts if packet.pts is None else packet.pts
    return None if stamp is None else stamp * base, (packet.duration or 0) * base or typical


def find_in_joined(
    container: InputContainer, stream: VideoStream, joined: JoinedVideo, moments: Sequence[float], check: Check
) -> Iterator[FoundFrame]:
    """Yield the pictures that a joined video shows at these moments.

    Args:
        container: the video, before anything was read from it.
        stream: its video track.
        joined: where its packets stand in time.
        moments: in seconds from the file's first picture or sound.
        check: called often; what it raises ends the work.
    """
    waiting = sorted(moments)
    decoder = _Decoder(container, stream, joined, check)
    decoder.skip_to(waiting[0])
    shown: VideoFrame | None = None
    last: VideoFrame | None = None
    last_end = -math.inf
    for time, frame in decoder.decode():
        while waiting and time > waiting[0] + ROUNDING_SECONDS:
            yield FoundFrame(waiting.pop(0), shown or frame, is_moved=True)
        if not waiting:
            return
        last, last_end = frame, time + 1 / float(stream.average_rate or 1)
        shown = None if decoder.skip_to(waiting[0]) else frame
    if last is not None:
        yield from (FoundFrame(at, last, is_moved=True, is_stale=at > last_end + STALE_SECONDS) for at in waiting)


class _Decoder:
    """Decodes a joined video from key frames that are chosen on the way."""

    def __init__(self, container: InputContainer, stream: VideoStream, joined: JoinedVideo, check: Check) -> None:
        self._container, self._stream, self._joined, self._check = container, stream, joined, check
        self._number, self._target, self._key_time = -1, 0, -math.inf
        self._is_decoding = False

    def skip_to(self, at: float) -> bool:
        """Pass over what is before the key frame of a moment; False when that key frame is behind."""
        target, time = self._joined.find_key(at)
        if target <= self._number:
            return False
        self._target, self._key_time = target, time
        return True

    def decode(self) -> Iterator[tuple[float, VideoFrame]]:
        """Yield pictures with their times, in seconds from the file's beginning, in order."""
        offsets, part = self._joined.offsets, 0
        for packet in self._container.demux(self._stream):
            if not packet.size:
                continue
            self._number += 1
            if self._number % 64 == 0:
                self._check()
            if part + 1 < len(offsets) and self._number == offsets[part + 1][0]:
                yield from self._drain(offsets[part][1])
                part += 1
            if self._number < self._target:
                self._is_decoding = False
                continue
            if not self._is_decoding:
                self._stream.codec_context.flush_buffers()
                self._is_decoding = True
            yield from self._stamp(decode_packet(packet), offsets[part][1])
        yield from self._drain(offsets[part][1])

    def _drain(self, offset: float) -> Iterator[tuple[float, VideoFrame]]:
        """What the decoder still holds of the part that ends."""
        if self._is_decoding:
            self._is_decoding = False
            try:
                frames = self._stream.codec_context.decode(None)
            except (av.FFmpegError, ValueError):
                frames = []
            yield from self._stamp(frames, offset)

    def _stamp(self, frames: Sequence[VideoFrame], offset: float) -> Iterator[tuple[float, VideoFrame]]:
        for frame in frames:
            self._check()
            if frame.pts is None:
                continue
            time = frame.pts * float(self._stream.time_base or 0) - offset
            if time >= self._key_time - ROUNDING_SECONDS:  # others need pictures before the key frame
                yield time, frame
