"""Convert to 16 kHz mono, which every endpoint accepts: FLAC, WAV where FLAC is not accepted, PCM for websockets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
import numpy as np
import numpy.typing as npt

from mediamill.tasks.domain import Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.audio_info import RATE as RATE  # noqa: PLC0414 - many import it from here
from mediamill.tasks.media.mixdown import ChannelMixer, MixdownReport
from mediamill.tasks.media.spooled_output import SpooledOutput
from mediamill.tasks.wire import AudioLimits

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream

Samples = npt.NDArray[np.int16]

_CODECS = {"flac": ("flac", "audio/flac"), "wav": ("pcm_s16le", "audio/wav"), "pcm": ("pcm_s16le", "audio/pcm")}
_MUXERS = {"pcm": "s16le"}
_FRAME_SAMPLES = 4096


def choose_format(limits: AudioLimits) -> str:
    """The format to convert to.

    Raises:
        BadInput: when the endpoint accepts none of FLAC, WAV and PCM.
    """
    for name in _CODECS:
        if name in limits.formats:
            return name
    raise BadInput(
        f"the endpoint accepts only {', '.join(sorted(limits.formats))}, and the file is something else",
        kind="unsupported_format",
        hint="convert it beforehand",
    )


def to_mono(frames: Iterable[AudioFrame], report: MixdownReport | None = None) -> Iterator[AudioFrame]:
    """Mix down and resample to 16 kHz mono 16-bit, whatever the frames' rate and layout, even when they change.

    Args:
        frames: decoded audio.
        report: gets what was taken instead of the mix where channels cancel each other out.

    Raises:
        UnmixableChannels: when FFmpeg cannot mix them.
    """
    report = report or MixdownReport()
    mixer, mixed_form = None, None
    for frame in frames:
        frame_form = (frame.sample_rate, frame.layout.name, frame.format.name)
        if mixer is None or frame_form != mixed_form:
            if mixer is not None:
                yield from mixer.finish()
            mixer, mixed_form = ChannelMixer(frame, report), frame_form
        yield from mixer.push(frame)
    if mixer is not None:
        yield from mixer.finish()


def to_blocks(frames: Iterable[AudioFrame]) -> Iterator[Samples]:
    """Yield the samples of 16 kHz mono frames."""
    for frame in frames:
        yield frame.to_ndarray().reshape(-1).astype(np.int16, copy=False)


def to_frames(blocks: Iterable[Samples]) -> Iterator[AudioFrame]:
    """Inverse of :func:`to_blocks`."""
    return (to_frame(block) for block in blocks)


def to_frame(block: Samples, rate: int = RATE, layout: str = "mono") -> AudioFrame:
    """A frame of 16-bit samples; those of two channels alternate."""
    frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="s16", layout=layout)
    frame.sample_rate = rate
    return frame


def encode_audio(
    frames: Iterable[AudioFrame], name: str, stem: str, scratch: Path, limits: AudioLimits
) -> tuple[Payload, int]:
    """Encode 16 kHz mono frames to ``flac``, ``wav``, or ``pcm``: 16-bit little-endian samples without a header.

    Returns:
        What to send and its length in samples.

    Raises:
        BadInput: ``too_large`` past the endpoint's limit, and whatever ``frames`` raises.
        StorageError: when the scratch folder cannot take it.
    """
    mime = _CODECS[name][1]
    with SpooledOutput(scratch, name, limits.max_bytes) as output:
        try:
            samples = _write_encoded(frames, name, output)
        except av.FFmpegError:
            if output.failure is not None:
                raise output.failure from None
            raise
        if output.failure is not None:
            raise output.failure
        return output.to_payload(f"{stem}.{name}", mime), samples


def _write_encoded(frames: Iterable[AudioFrame], name: str, output: SpooledOutput) -> int:
    samples = 0
    with av.open(output, "w", format=_MUXERS.get(name, name)) as container:
        stream = cast("AudioStream", container.add_stream(_CODECS[name][0], rate=RATE, layout="mono", format="s16"))
        for frame in _to_equal_frames(frames):
            samples += frame.samples
            container.mux(stream.encode(frame))
            if output.failure is not None:
                break
        container.mux(stream.encode(None))
    return samples


def _to_equal_frames(frames: Iterable[AudioFrame]) -> Iterator[AudioFrame]:
    fifo = av.AudioFifo()
    for frame in frames:
        frame.pts = None
        fifo.write(frame)
        yield from _clear_timestamps(fifo.read_many(_FRAME_SAMPLES))
    yield from _clear_timestamps(fifo.read_many(_FRAME_SAMPLES, partial=True))


def _clear_timestamps(frames: Iterable[AudioFrame]) -> Iterator[AudioFrame]:
    for frame in frames:
        frame.pts = None
        yield frame
