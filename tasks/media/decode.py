"""Decode the audio of a recording as a stream, in bounded memory and time; each kind of broken file has its error.

FFmpeg (through PyAV) may use listed demuxers and decoders and the ``file`` protocol only: opening a file whose
content is a playlist would otherwise make network requests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
from av.stream import Disposition

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.audio_info import Timeline, Track
from mediamill.tasks.media.av_input import open_media
from mediamill.tasks.media.formats import (
    CLIPPED,
    DECODERS,
    DEMUXERS,
    MAX_CHANNELS,
    MEASURED,
    RATES,
    WITH_CLOCK,
    WITH_JUMPS,
    WITH_START,
    WITH_TRACK_LENGTHS,
    container_name,
)
from mediamill.tasks.media.source_file import count_foreign_tag_bytes
from mediamill.tasks.media.track_clock import TOLERANCE_SECONDS, TrackClock, make_silence
from mediamill.tasks.media.tracks import choose_track
from mediamill.tasks.media.undecodable import is_cut_off_mp4, undecodable_error
from mediamill.tasks.media.wav import missing_share

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

MAX_SECONDS = 24 * 3600
"""Maximum length of a recording that is decoded; a few kilobytes of FLAC can claim days of silence."""

MAX_CPU_SECONDS = 600.0
"""Maximum processor time for one file; a day of stereo MP3 needs about a third of it."""

_CONTAINER_OPTIONS = {
    "format_whitelist": DEMUXERS,
    "protocol_whitelist": "file,subfile",
    "codec_whitelist": ",".join(sorted(DECODERS)),
    "max_streams": "100",
    "max_size": "65536",
}
_DECODER_OPTIONS = {"max_samples": str(2**20)}
Check = Callable[[], None]
"""Called regularly while decoding; what it raises ends the work."""

_CHECK_EVERY_PACKETS = 256
_MAX_REORDERED_PACKETS = 32
"""The first timestamp of a video is within so many packets: they come in the order of decoding."""
_DECODE_ERRORS = (av.FFmpegError, ValueError, MemoryError, UnicodeError)


@dataclass(slots=True)
class Recording:
    """An open file and one of its audio tracks, with the counts of decoding it so far.

    Attributes:
        container, codec: common names, see :mod:`mediamill.tasks.media.formats`.
        declared_seconds: length by the header; None when it states none.
        is_shared_length: that is the length of all tracks together, and this one may be shorter.
        track: which of the file's audio tracks it is.
        tracks: audio tracks in the file.
        video: there is a video track too (cover art is not counted).
        others: the tracks of pictures and sound beside it, where the container stamps its packets.
        others_start: their first timestamp so far, in seconds; infinite without any.
        is_late: the container's timestamps do not begin at 0, so that its length may count from there or from 0.
        is_length_measured: the declared length is only where the file ends.
        has_foreign_tag: an ID3 tag stands before a container that has no place for one.
        samples: decoded samples by sample rate.
        packets, broken_packets: compressed packets so far, and those that could not be decoded.
        last_time: the latest end of a packet in any track so far, by the container's timestamps, in seconds.
        clock: where the track stands in time.
    """

    path: Path
    handle: InputContainer
    stream: AudioStream
    container: str
    codec: str
    rate: int
    channels: int
    declared_seconds: Fraction | None
    is_shared_length: bool
    track: Track
    tracks: int
    video: bool
    has_foreign_tag: bool = False
    others: list[Stream] = field(default_factory=list)
    others_start: float = math.inf
    is_late: bool = False
    is_length_measured: bool = False
    samples: dict[int, int] = field(default_factory=dict)
    packets: int = 0
    broken_packets: int = 0
    last_time: float = 0.0
    check: Check | None = None
    clock: TrackClock = field(default_factory=TrackClock)
    _seen_packets: dict[int, int] = field(default_factory=dict)
    _decoded_seconds: float = 0.0
    _clock_started: float = field(default_factory=time.thread_time)

    @property
    def length(self) -> Fraction:
        """Exact seconds decoded so far, with the silence in holes."""
        return sum((Fraction(n, rate) for rate, n in self.samples.items()), Fraction(0))

    @property
    def timeline(self) -> Timeline:
        """From positions in what was decoded so far to the file's clock."""
        return self.clock.to_timeline(self.others_start)

    def decode_frames(self, max_seconds: float | None = None) -> Iterator[AudioFrame]:
        """Decode to the end; single damaged packets are skipped, and holes in the timestamps are silence.

        Raises:
            BadInput: ``too_long`` past ``max_seconds``; ``undecodable`` when it takes too long to decode,
                or its sample rate or number of channels is implausible.
        """
        bound_seconds = min(max_seconds or MAX_SECONDS, MAX_SECONDS)
        for silence, frame in self.clock.follow(self._decode(), _measure_frame):
            for silent_frame in make_silence(frame, silence) if silence else ():
                self._count_samples(silent_frame, bound_seconds)
                yield silent_frame
            self._count_samples(frame, bound_seconds)
            yield frame

    def _decode(self) -> Iterator[AudioFrame]:
        for packet in self._packets():
            try:
                decoded = packet.decode()
            except _DECODE_ERRORS:
                self.broken_packets += 1
                continue
            for frame in decoded:
                _check_plausible(frame.sample_rate, frame.layout.nb_channels)
                yield frame

    def pause_clock(self) -> None:
        """Stop the clock of processor time, before another thread goes on."""
        self._clock_started = time.thread_time() - self._clock_started

    def resume_clock(self) -> None:
        """Start the clock again, in the thread that goes on."""
        self._clock_started = time.thread_time() - self._clock_started

    def scan_packets(self, max_packets: int | None = None) -> Fraction | None:
        """Length by the timestamps and durations of the packets, undecoded; ``clock`` has the holes after it.

        Returns:
            Seconds; None when there are more than ``max_packets`` or one states no duration.
        """
        total, packets = Fraction(0), (packet for packet in self._packets() if packet.size)
        typical = self._guess_packet_seconds()
        for n, (_, packet) in enumerate(self.clock.follow(packets, lambda p: _measure_packet(p, typical)), 1):
            if (max_packets is not None and n > max_packets) or not (packet.duration or typical):
                return None
            total += packet.duration * (packet.time_base or 0) if packet.duration else typical
        return total + Fraction(self.clock.silence).limit_denominator(1_000_000)

    def _guess_packet_seconds(self) -> Fraction:
        """Length of a packet whose container does not state it; 0 where packets differ."""
        context = self.stream.codec_context
        if not self.clock.has_holes or not context.frame_size:
            return Fraction(0)
        return Fraction(context.frame_size, context.sample_rate)

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        n_read = 0
        packets = self.handle.demux([self.stream, *self.others])
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except _DECODE_ERRORS:
                self.broken_packets += 1
                return
            n_read += 1
            if n_read % _CHECK_EVERY_PACKETS == 0:
                self._check_limits()
            self._note_time(packet)
            if packet.stream_index != self.stream.index:
                continue
            if packet.size:
                self.packets += 1
            yield cast("Packet[AudioStream]", packet)

    def _note_time(self, packet: Packet[Any]) -> None:
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None or packet.time_base is None:
            return
        self.last_time = max(self.last_time, float((stamp + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index != self.stream.index and packet.size:
            n_seen = self._seen_packets.get(packet.stream_index, 0)
            self._seen_packets[packet.stream_index] = n_seen + 1
            if n_seen < _MAX_REORDERED_PACKETS:
                start = float(stamp * packet.time_base)  # an MP4 shows nothing of what is before its 0
                self.others_start = min(self.others_start, max(start, 0.0) if self.container in CLIPPED else start)

    def _check_limits(self) -> None:
        if self.check is not None:
            self.check()
        if time.thread_time() - self._clock_started > MAX_CPU_SECONDS:
            raise BadInput(f"decoding it took more than {MAX_CPU_SECONDS:.0f} s of processor time", kind="undecodable")

    def _count_samples(self, frame: AudioFrame, bound_seconds: float) -> None:
        self.samples[frame.sample_rate] = self.samples.get(frame.sample_rate, 0) + frame.samples
        self._decoded_seconds += frame.samples / frame.sample_rate
        if self._decoded_seconds > bound_seconds:
            declared = (
                f" of {format_seconds(self.declared_seconds)}"
                if self.declared_seconds and self.declared_seconds > bound_seconds
                else ""
            )
            raise BadInput(
                f"the recording{declared} is longer than the {format_seconds(bound_seconds)} that can be taken",
                kind="too_long",
                hint="cut it into shorter files",
            )


@contextmanager
def open_recording(
    path: Path, head: bytes, check: Check | None = None, *, track: str | None = None
) -> Iterator[Recording]:
    """Open a file by its content and find its audio track.

    Args:
        path: a regular file.
        head: its first kilobytes, to say what it is when it is not audio.
        check: called often while decoding; what it raises ends the work.
        track: which audio track, by its number from 1 or its language; None for the default one.

    Raises:
        BadInput: ``not_audio``, ``undecodable``, ``no_audio`` or ``no_such_track``.
    """
    tag_bytes = count_foreign_tag_bytes(head, path)
    # The protocol's name keeps a file whose own name looks like one from being opened as that.
    name = f"subfile,,start,{tag_bytes},end,0,,:file:{path}" if tag_bytes else f"file:{path}"
    try:
        handle = open_media(name, options=_CONTAINER_OPTIONS)
    except _DECODE_ERRORS:
        raise undecodable_error(head) from None
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
        raise undecodable_error(head)
    if not streams:
        holds = "images or video but no audio" if video_streams else "no audio"
        raise BadInput(f"the file has no audio track: it holds {holds}", kind="no_audio")
    stream, track = choose_track(streams, wanted_track)
    stream.codec_context.options = _DECODER_OPTIONS
    codec = stream.codec_context.name.removesuffix("float").removeprefix("lib")
    name = container_name(handle.format.name, head, codec, brand=handle.metadata.get("major_brand", ""), video=video)
    rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
    if rate:
        _check_plausible(rate, channels)
    declared_seconds = _read_declared_seconds(handle, stream)
    if declared_seconds is not None and name == "wav":
        declared_seconds /= 1 - missing_share(head, path.stat().st_size)
    demuxers = frozenset(handle.format.name.split(","))
    is_shared = not demuxers & WITH_TRACK_LENGTHS and len(_find_timed_streams(handle)) > 1
    has_clock = bool(demuxers & (WITH_CLOCK | WITH_START))
    clock = TrackClock(has_holes=bool(demuxers & WITH_CLOCK), can_jump=bool(demuxers & WITH_JUMPS))
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
        others=[s for s in _find_timed_streams(handle) if s is not stream] if has_clock else [],
        is_late=has_clock and float((stream.start_time or 0) * (stream.time_base or 0)) > TOLERANCE_SECONDS,
        is_length_measured=bool(demuxers & MEASURED),
    )


def _find_timed_streams(handle: InputContainer) -> list[Stream]:
    """The tracks of pictures and sound; a cover has no time."""
    return [s for s in handle.streams if s.type in ("audio", "video") and not s.disposition & Disposition.attached_pic]


def _measure_frame(frame: AudioFrame) -> tuple[float | None, float]:
    return frame.time, frame.samples / frame.sample_rate


def _measure_packet(packet: Packet[AudioStream], typical: Fraction) -> tuple[float | None, float]:
    base = float(packet.time_base or 0)
    seconds = packet.duration * base if packet.duration else float(typical)
    return None if packet.pts is None else packet.pts * base, seconds


def _read_declared_seconds(handle: InputContainer, stream: AudioStream) -> Fraction | None:
    if stream.duration and stream.time_base:
        seconds = stream.duration * stream.time_base
    elif handle.duration:
        seconds = Fraction(handle.duration, 1_000_000)
    else:
        return None
    return seconds if seconds > 0 else None


def _check_plausible(rate: int, channels: int) -> None:
    if rate not in RATES:
        raise BadInput(f"a sample rate of {rate} Hz is not plausible", kind="undecodable")
    if channels > MAX_CHANNELS:
        raise BadInput(f"{channels} channels are not plausible", kind="undecodable")


def format_seconds(seconds: float | Fraction) -> str:
    """Format a length for people: ``3.2 s``, ``12 min``, ``4 h``, ``1 h 5 min``."""
    if seconds < 60:  # noqa: PLR2004
        return f"{float(seconds):.1f} s"
    hours, minutes = divmod(round(float(seconds) / 60), 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "") if part)
