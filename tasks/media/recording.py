"""An open recording: one sound track of a file, decoded in bounded memory and time, on the file's own clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.audio_info import Timeline, Track
from mediamill.tasks.media.formats import CLIPPED, MAX_CHANNELS, RATES
from mediamill.tasks.media.joins import MAX_HOLE_SECONDS, SeenTimes
from mediamill.tasks.media.stamps import PLAIN, Stamps
from mediamill.tasks.media.track_clock import TrackClock, make_silence

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

DECODE_ERRORS = (av.FFmpegError, ValueError, MemoryError, UnicodeError)
"""What PyAV raises for damaged files."""

Check = Callable[[], None]
"""Called regularly while decoding; what it raises ends the work."""

_CHECK_EVERY_PACKETS = 256
_MAX_REORDERED_PACKETS = 32
"""The first timestamp of a video is within so many packets: they come in the order of decoding."""


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
        others_times: when they had packets so far.
        others_start: their first timestamp so far, in seconds; infinite without any.
        is_late: the container's timestamps do not begin at 0, so that its length may count from there or from 0.
        is_length_measured: the declared length is only where the file ends.
        has_foreign_tag: an ID3 tag stands before a container that has no place for one.
        samples: decoded samples by sample rate.
        packets, broken_packets: compressed packets so far, and those that could not be decoded.
        last_time: the latest end of a packet in any track so far, by the container's timestamps, in seconds.
        clock: where the track stands in time.
        stamps: what is corrected in the track's timestamps.
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
    others_times: SeenTimes = field(default_factory=SeenTimes)
    others_start: float = math.inf
    is_late: bool = False
    is_length_measured: bool = False
    samples: dict[int, int] = field(default_factory=dict)
    packets: int = 0
    broken_packets: int = 0
    last_time: float = 0.0
    check: Check | None = None
    clock: TrackClock = field(default_factory=TrackClock)
    stamps: Stamps = PLAIN
    _seen_packets: dict[int, int] = field(default_factory=dict)
    _decoded_seconds: float = 0.0
    _clock_started: float = field(default_factory=time.thread_time)

    @property
    def length(self) -> Fraction:
        """Exact seconds decoded so far, with the silence in holes."""
        return sum((Fraction(n, rate) for rate, n in self.samples.items()), Fraction(0))

    @property
    def has_gaps(self) -> bool:
        """True when silence was put in, or what others hear in an empty edit was left out."""
        return self.clock.silence > 0 or bool(self.stamps.edits.empty)

    @property
    def holes_recipe(self) -> str:
        """What was done with holes in the timestamps, as a part of a recipe: ``-gaps``, ``-joined``, both, or empty.

        A jump over :data:`MAX_HOLE_SECONDS` never had silence, so it has no recipe of its own.
        """
        is_joined = any(seconds <= MAX_HOLE_SECONDS for _, seconds in self.clock.jumps)
        return "-gaps" * self.has_gaps + "-joined" * is_joined

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
        for silence, frame in self.clock.follow(self._decode(), self._measure_frame):
            for silent_frame in make_silence(frame, silence) if silence else ():
                self._count_samples(silent_frame, bound_seconds)
                yield silent_frame
            self._count_samples(frame, bound_seconds)
            yield frame

    def _decode(self) -> Iterator[AudioFrame]:
        for packet in self._packets():
            try:
                decoded = packet.decode()
            except DECODE_ERRORS:
                self.broken_packets += 1
                continue
            for frame in decoded:
                check_plausible(frame.sample_rate, frame.layout.nb_channels)
                if not self._is_hidden(*_measure_frame(frame)):
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
            Seconds; None when there are more than ``max_packets``, or neither durations nor timestamps.
        """
        total = Fraction(0)
        for n, (_, (_, seconds)) in enumerate(self.clock.follow(self._measure_packets(), _to_floats), 1):
            if (max_packets is not None and n > max_packets) or not seconds:
                return None
            total += seconds
        return total + Fraction(self.clock.silence).limit_denominator(1_000_000)

    def _measure_packets(self) -> Iterator[tuple[float | None, Fraction]]:
        """Time and length of each packet; where nothing states a length, it lasts until the next one."""
        typical, length = self._guess_packet_seconds(), Fraction(0)
        waiting: tuple[float | None, Fraction] | None = None
        for packet in self._packets():
            base = packet.time_base or Fraction(0)
            time = None if packet.pts is None else float(packet.pts * base)
            seconds = packet.duration * base if packet.duration else typical
            if not packet.size or self._is_hidden(time, float(seconds)):
                continue
            time = None if time is None else self.stamps.correct(time)
            if waiting is not None:
                length = waiting[1] or _measure_gap(waiting[0], time) or length
                yield waiting[0], length
            waiting = time, seconds
        if waiting is not None:
            yield waiting[0], waiting[1] or length

    def _guess_packet_seconds(self) -> Fraction:
        """Length of a packet whose container does not state it; 0 where packets differ."""
        context = self.stream.codec_context
        if not self.clock.has_holes or not context.frame_size:
            return Fraction(0)
        return Fraction(context.frame_size, context.sample_rate)

    def _measure_frame(self, frame: AudioFrame) -> tuple[float | None, float]:
        time, seconds = _measure_frame(frame)
        return None if time is None else self.stamps.correct(time), seconds

    def _is_hidden(self, time: float | None, seconds: float) -> bool:
        return time is not None and bool(self.stamps) and self.stamps.is_hidden(time, seconds)

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        n_read = 0
        packets = self.handle.demux([self.stream, *self.others])
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except DECODE_ERRORS:
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
        time = float(stamp * packet.time_base)
        if packet.stream_index == self.stream.index:
            time = self.stamps.correct(time)
        self.last_time = max(self.last_time, time + float((packet.duration or 0) * packet.time_base))
        if packet.stream_index != self.stream.index and packet.size:
            self.others_times.add(time)
            n_seen = self._seen_packets.get(packet.stream_index, 0)
            self._seen_packets[packet.stream_index] = n_seen + 1
            if n_seen < _MAX_REORDERED_PACKETS:
                # an MP4 shows nothing of what is before its 0
                self.others_start = min(self.others_start, max(time, 0.0) if self.container in CLIPPED else time)

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


def _measure_frame(frame: AudioFrame) -> tuple[float | None, float]:
    return frame.time, frame.samples / frame.sample_rate


def _to_floats(packet: tuple[float | None, Fraction]) -> tuple[float | None, float]:
    return packet[0], float(packet[1])


def _measure_gap(time: float | None, next_time: float | None) -> Fraction:
    """From one timestamp to the next; 0 where there is none, or the clock jumps."""
    if time is None or next_time is None or not 0 < next_time - time <= MAX_HOLE_SECONDS:
        return Fraction(0)
    return Fraction(next_time - time).limit_denominator(1_000_000)


def check_plausible(rate: int, channels: int) -> None:
    """Check a sample rate, in Hz, and a number of channels.

    Raises:
        BadInput: ``undecodable`` when only a damaged file has them.
    """
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
