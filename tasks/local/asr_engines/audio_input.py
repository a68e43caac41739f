"""Uploaded audio: opened, decoded, its length measured. Heavy imports are made in the workers only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from mediamill.tasks.errors import BadInput
from mediamill.tasks.local.asr_engines.base import Audio
from mediamill.tasks.media.wav import HEAD_BYTES, parse_wav_header

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mediamill.tasks.media.recording import Recording

    Samples: TypeAlias = npt.NDArray[np.int16]


@contextmanager
def open_audio(audio: Audio) -> Iterator[Recording]:
    """Open the upload's first audio track.

    Raises:
        BadInput: when it has none.
    """
    from mediamill.tasks.media.decode import open_recording

    with audio.file() as path:
        with path.open("rb") as file:
            head = file.read(4096)
        with open_recording(path, head) as recording:
            yield recording


def decode_samples(recording: Recording, max_seconds: float | None = None) -> Iterator[Samples]:
    """Decode to 16-bit mono samples at 16 kHz, in blocks of any size.

    Raises:
        BadInput: ``too_long`` past ``max_seconds``.
    """
    import numpy as np

    from mediamill.tasks.media.encode import to_mono

    for frame in to_mono(recording.decode_frames(max_seconds)):
        yield frame.to_ndarray().reshape(-1).astype(np.int16, copy=False)


def read_wav_seconds(audio: Audio) -> Decimal | None:
    """Seconds of a plain WAV file, without decoding it; None for everything else."""
    if audio.data is not None:
        head = audio.data[:HEAD_BYTES]
    else:
        assert audio.path is not None
        with audio.path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    info = parse_wav_header(head, audio.size)
    return info.seconds if info else None


def measure_seconds(audio: Audio, max_seconds: float | None) -> Decimal:
    """Measure the length by decoding all of it; runs in a worker.

    Returns:
        Seconds.

    Raises:
        BadInput: when it cannot be decoded.
    """
    from mediamill.tasks.media.audio_info import to_seconds

    with open_audio(audio) as recording:
        for _ in recording.decode_frames(max_seconds):
            pass
        if not recording.length:
            raise BadInput("no audio can be decoded from it", kind="undecodable")
        return to_seconds(recording.length)
