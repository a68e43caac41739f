"""Decode the audio of a recording as a stream, in bounded memory and time; each kind of broken file has its error.

FFmpeg (through PyAV) may use listed demuxers and decoders and the ``file`` protocol only: opening a file whose
content is a playlist would otherwise make network requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.stream import Disposition

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.av_input import open_media
from mediamill.tasks.media.formats import DECODERS, DEMUXERS, MAX_CHANNELS, RATES, container_name
from mediamill.tasks.media.source_file import count_foreign_tag_bytes
from mediamill.tasks.media.undecodable import undecodable_error
from mediamill.tasks.media.wav import missing_share

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

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
_DECODE_ERRORS = (av.FFmpegError, ValueError, MemoryError, UnicodeError)


@dataclass(slots=True)
class Recording:
    """An open file and its first audio track, with the counts of decoding it so far.

    Attributes:
        container, codec: common names, see :mod:`mediamill.tasks.media.formats`.
        declared_seconds: length by the header; None when it states none.
        tracks: audio tracks in the file.
        video: there is a video track too (cover art is not counted).
        has_foreign_tag: an ID3 tag stands before a container that has no place for one.
        samples: decoded samples by sample rate.
        packets, broken_packets: compressed packets so far, and those that could not be decoded.
    """

    path: Path
    handle: InputContainer
    stream: AudioStream
    container: str
    codec: str
    rate: int
    channels: int
    declared_seconds: Fraction | None
    tracks: int
    video: bool
    has_foreign_tag: bool = False
    samples: dict[int, int] = field(default_factory=dict)
    packets: int = 0
    broken_packets: int = 0
    check: Check | None = None
    _decoded_seconds: float = 0.0
    _clock_started: float = field(default_factory=time.thread_time)

    @property
    def length(self) -> Fraction:
        """Exact seconds decoded so far."""
        return sum((Fraction(n, rate) for rate, n in self.samples.items()), Fraction(0))

    def decode_frames(self, max_seconds: float | None = None) -> Iterator[AudioFrame]:
        """Decode to the end; single damaged packets are skipped.

        Raises:
            BadInput: ``too_long`` past ``max_seconds``; ``undecodable`` when it takes too long to decode,
                or its sample rate or number of channels is implausible.
        """
        bound_seconds = min(max_seconds or MAX_SECONDS, MAX_SECONDS)
        for packet in self._packets():
            try:
                decoded = packet.decode()
            except _DECODE_ERRORS:
                self.broken_packets += 1
                continue
            for frame in decoded:
                self._count_samples(frame, bound_seconds)
                yield frame

    def pause_clock(self) -> None:
        """Stop the clock of processor time, before another thread goes on."""
        self._clock_started = time.thread_time() - self._clock_started

    def resume_clock(self) -> None:
        """Start the clock again, in the thread that goes on."""
        self._clock_started = time.thread_time() - self._clock_started

    def sum_packet_seconds(self, max_packets: int) -> Fraction | None:
        """Length by the durations of the packets, undecoded; None when they are too many or one states no duration."""
        total = Fraction(0)
        for n, packet in enumerate(self._packets()):
            if n >= max_packets or (packet.size and not packet.duration):
                return None
            if packet.size:
                total += (packet.duration or 0) * (packet.time_base or 0)
        return total

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        packets = self.handle.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except _DECODE_ERRORS:
                self.broken_packets += 1
                return
            if packet.size:
                self.packets += 1
                if self.packets % _CHECK_EVERY_PACKETS == 0:
                    self._check_limits()
            yield packet

    def _check_limits(self) -> None:
        if self.check is not None:
            self.check()
        if time.thread_time() - self._clock_started > MAX_CPU_SECONDS:
            raise BadInput(f"decoding it took more than {MAX_CPU_SECONDS:.0f} s of processor time", kind="undecodable")

    def _count_samples(self, frame: AudioFrame, bound_seconds: float) -> None:
        _check_plausible(frame.sample_rate, frame.layout.nb_channels)
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
def open_recording(path: Path, head: bytes, check: Check | None = None) -> Iterator[Recording]:
    """Open a file by its content and find its first audio track.

    Args:
        path: a regular file.
        head: its first kilobytes, to say what it is when it is not audio.
        check: called often while decoding; what it raises ends the work.

    Raises:
        BadInput: ``not_audio``, ``undecodable`` or ``no_audio``.
    """
    tag_bytes = count_foreign_tag_bytes(head, path)
    # The protocol's name keeps a file whose own name looks like one from being opened as that.
    name = f"subfile,,start,{tag_bytes},end,0,,:file:{path}" if tag_bytes else f"file:{path}"
    try:
        handle = open_media(name, options=_CONTAINER_OPTIONS)
    except _DECODE_ERRORS:
        raise undecodable_error(head) from None
    with handle:
        recording = _to_recording(path, handle, head)
        recording.check = check
        recording.has_foreign_tag = bool(tag_bytes)
        yield recording


def _to_recording(path: Path, handle: InputContainer, head: bytes) -> Recording:
    video_streams = [s for s in handle.streams if s.type == "video"]
    video = any(not s.disposition & Disposition.attached_pic for s in video_streams)
    tracks = [s for s in handle.streams.audio if s.codec_context is not None]
    stream = next((s for s in tracks if s.codec_context.name in DECODERS), None)
    if stream is None:
        if tracks:
            raise BadInput(f"audio in the codec {tracks[0].codec_context.name!r} cannot be decoded", kind="undecodable")
        holds = "images or video but no audio" if video_streams else "no audio"
        raise BadInput(f"the file has no audio track: it holds {holds}", kind="no_audio")
    stream.codec_context.options = _DECODER_OPTIONS
    codec = stream.codec_context.name.removesuffix("float").removeprefix("lib")
    name = container_name(handle.format.name, head, codec, brand=handle.metadata.get("major_brand", ""), video=video)
    rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
    if rate:
        _check_plausible(rate, channels)
    declared_seconds = _read_declared_seconds(handle, stream)
    if declared_seconds is not None and name == "wav":
        declared_seconds /= 1 - missing_share(head, path.stat().st_size)
    return Recording(path, handle, stream, name, codec, rate, channels, declared_seconds, len(tracks), video)


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
