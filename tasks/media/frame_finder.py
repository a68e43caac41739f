"""Find the picture that a video shows at a moment: by seeking where that works, otherwise in one pass.

A seek may land late (MPEG-TS and MPEG-PS have no index, an index may be wrong) or on a picture that cannot be decoded
alone. Then it is tried from earlier, and at last the video is decoded from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.stream import Disposition
from av.video.frame import PictureType

from mediamill.tasks.media.edit_list import NO_EDITS, EditList, read_edit_lists

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MIN_LATE_SECONDS = 0.25
"""Pictures that begin less than this after the sound begin with it; decoders reorder the first few."""

_STEPS_BACK = (0.0, 1.0, 4.0, 16.0, 64.0, 256.0)
"""Seconds before the moment at which a seek is tried, one after another."""
_INDEXED = frozenset({"mov", "matroska", "webm"})
_MAX_REORDERED_FRAMES = 3
"""Containers with an index go by the order of decoding, which may be this many pictures ahead."""
ROUNDING_SECONDS = 0.001
STALE_SECONDS = 1.0
"""A picture that was over more than this before a moment is not what is shown then."""

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class FoundFrame:
    """A picture at a moment in seconds.

    ``is_moved`` is true when a plain seek shows another one, or none; ``is_stale`` when it is the last one that can be
    decoded, and was over long before.
    """

    at: float
    frame: VideoFrame
    is_moved: bool
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class VideoClock:
    """When a video's pictures begin, in seconds: by the container's timestamps, and after the file's first sound.

    ``edits`` says where there are none.
    """

    start: float
    late: float
    edits: EditList = NO_EDITS

    @property
    def zero(self) -> float:
        """The timestamp at which the file begins, in seconds."""
        return self.start - self.late


class FrameFinder:
    """Finds pictures of one opened video, whose times count from the file's first picture or sound.

    Args:
        container, stream: the video.
        clock: when its pictures begin.
        check: called often; what it raises ends the work.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, clock: VideoClock, check: Check) -> None:
        self._container, self._stream, self._clock, self._check = container, stream, clock, check
        self._base = float(stream.time_base or 0) or 1.0
        self._has_ended = False
        self._origin = clock.zero
        names = set(container.format.name.split(","))
        fps = float(stream.average_rate or 0)
        self._slack = min(_MAX_REORDERED_FRAMES / fps, MIN_LATE_SECONDS) if names & _INDEXED and fps else 0.0

    def find(self, at: float) -> FoundFrame | None:
        """The picture shown at a moment, in seconds; that before it where none begins then; None when it is not found.

        A moment before the first picture gets the first one, a moment past the end the last one.
        """
        moment = self._clock.edits.find_shown(at + self._origin)
        for step in _STEPS_BACK:
            slack = self._slack if not step else 0.0
            frame = self._find_from(moment - step, moment, slack)
            if frame is not None:
                is_stale = moment > find_frame_end(frame, self._stream) + STALE_SECONDS and self._has_ended
                is_moved = step > 0 or moment != at + self._origin
                return FoundFrame(at, frame, is_moved=is_moved, is_stale=is_stale)
            if at - step < 0:
                break
        return None

    def _find_from(self, seek_to: float, moment: float, slack: float) -> VideoFrame | None:
        """The last picture up to a moment, decoded from a key frame before it; None without such a key frame.

        ``slack`` is by how much the key frame may be late; it is then the picture itself.
        """
        try:
            self._container.seek(int(seek_to / self._base), stream=self._stream)
        except av.FFmpegError:
            return None
        packets = self._skip_to_key_frame()
        first = next(packets, None)
        if first is None or first.pts is None:
            return None
        key_time = first.pts * self._base
        if key_time > moment + max(slack, ROUNDING_SECONDS) and not self._is_first(key_time):
            return None
        last: VideoFrame | None = None
        self._has_ended = False
        for frame in self._decode(first, packets):
            time = frame.time
            if time is None or time < key_time - ROUNDING_SECONDS:
                continue  # it needs pictures before the key frame
            if last is None and not _is_whole(frame):
                return None  # the index calls a picture a key frame that is none
            if last is not None and time > moment:
                return last
            last = frame
            if time >= moment:
                return last
        self._has_ended = True
        return last

    def _is_first(self, time: float) -> bool:
        return time <= self._clock.start + ROUNDING_SECONDS

    def _skip_to_key_frame(self) -> Iterator[Packet[VideoStream]]:
        has_key_frame = False
        for number, packet in enumerate(self._container.demux(self._stream)):
            if number % 64 == 0:
                self._check()
            has_key_frame = has_key_frame or packet.is_keyframe
            if has_key_frame:
                yield packet

    def _decode(self, first: Packet[VideoStream], rest: Iterator[Packet[VideoStream]]) -> Iterator[VideoFrame]:
        yield from decode_packet(first)
        for packet in rest:
            for frame in decode_packet(packet):
                self._check()
                yield frame


def find_in_one_pass(
    container: InputContainer, stream: VideoStream, clock: VideoClock, moments: Sequence[float], check: Check
) -> Iterator[FoundFrame]:
    """Yield the pictures shown at these moments, decoded from the start; those of a raw stream are counted by its rate.

    Args:
        container: the video, before anything was read from it.
        stream: its video track.
        clock: when its pictures begin.
        moments: in seconds from the file's first picture or sound.
        check: called often; what it raises ends the work.
    """
    waiting = sorted(moments)
    seconds_a_frame = 1 / float(stream.average_rate or stream.guessed_rate or 25)
    last: VideoFrame | None = None
    for number, frame in enumerate(decode_all(container, stream, check)):
        time = number * seconds_a_frame if frame.time is None else frame.time - clock.zero
        if frame.time is not None and clock.edits.is_empty_at(frame.time):
            continue
        while waiting and time > waiting[0] + ROUNDING_SECONDS:
            yield FoundFrame(waiting.pop(0), last or frame, is_moved=True)
        if not waiting:
            return
        last = frame
    if last is not None:
        end = find_frame_end(last, stream) - clock.zero if last.time is not None else float("inf")
        yield from (FoundFrame(at, last, is_moved=True, is_stale=at > end + STALE_SECONDS) for at in waiting)


def decode_all(container: InputContainer, stream: VideoStream, check: Check) -> Iterator[VideoFrame]:
    """Yield the pictures from the current position on; single damaged packets are skipped."""
    for number, packet in enumerate(container.demux(stream)):
        if number % 64 == 0:
            check()
        yield from decode_packet(packet)


def decode_packet(packet: Packet[VideoStream]) -> list[VideoFrame]:
    """The pictures of a packet; none when it is damaged."""
    try:
        return packet.decode()
    except (av.FFmpegError, ValueError):
        return []


def _is_whole(frame: VideoFrame) -> bool:
    """False for a picture that only says what changed since another one."""
    return frame.key_frame or frame.pict_type not in (PictureType.P, PictureType.B, PictureType.S)


def find_frame_end(frame: VideoFrame, stream: VideoStream) -> float:
    """Until when a picture is shown, by its timestamp and duration, in seconds."""
    seconds = float((frame.duration or 0) * (frame.time_base or 0)) or 1 / float(stream.average_rate or 1)
    return (frame.time or 0.0) + seconds


def read_video_clock(path: Path, container: InputContainer, stream: VideoStream) -> VideoClock:
    """Read when the pictures begin. The container is read to their first packet, so seek or open it again after it."""
    starts = [
        float(s.start_time * s.time_base)
        for s in container.streams
        if s.type in ("audio", "video") and not s.disposition & Disposition.attached_pic and s is not stream
        if s.start_time is not None and s.time_base is not None
    ]
    base = float(stream.time_base or 0)
    declared = None if stream.start_time is None else stream.start_time * base
    first = next((packet.pts for packet in container.demux(stream) if packet.size and packet.pts is not None), None)
    start = declared if declared is not None else (first or 0) * base
    if first is not None and first * base - start >= MIN_LATE_SECONDS:
        start = first * base  # FFmpeg looked at the first seconds only, and took the start of the others
    late = start - min(starts, default=start)
    is_mp4 = "mov" in container.format.name.split(",")
    edits = read_edit_lists(path).get(stream.id, NO_EDITS) if is_mp4 else NO_EDITS
    return VideoClock(start, late if late >= MIN_LATE_SECONDS else 0.0, edits)


def measure_by_packets(container: InputContainer, stream: VideoStream, check: Check) -> float:
    """When the last picture ends, in seconds, from all packets of the video; those of a raw stream are counted."""
    base, end, n_packets = float(stream.time_base or 0) or 1.0, None, 0
    for packet in container.demux(stream):
        if n_packets % 64 == 0:
            check()
        n_packets += bool(packet.size)
        if packet.pts is not None and packet.size:
            end = max(end or 0.0, (packet.pts + (packet.duration or 0)) * base)
    return n_packets / float(stream.average_rate or stream.guessed_rate or 25) if end is None else end


def find_video_end(container: InputContainer, stream: VideoStream, declared_end: float, check: Check) -> float | None:
    """When the last picture ends by its packet's timestamp, in seconds; None when no packet near the end is found.

    Args:
        container: the video; it is read from near its end.
        stream: its video track.
        declared_end: timestamp at which the file should end, in seconds.
        check: called often; what it raises ends the work.
    """
    base = float(stream.time_base or 0) or 1.0
    for step in _STEPS_BACK[1:]:
        try:
            container.seek(int(max(declared_end - step, 0.0) / base), stream=stream)
        except av.FFmpegError:
            return None
        end = None
        for number, packet in enumerate(container.demux(stream)):
            if number % 64 == 0:
                check()
            if packet.pts is not None and packet.size:
                end = max(end or 0.0, (packet.pts + (packet.duration or 0)) * base)
        if end is not None:
            return end
        if declared_end - step <= 0:
            break
    return None
