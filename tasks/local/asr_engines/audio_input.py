"""Uploaded audio, opened for decoding; imported in worker processes only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from mediamill.tasks.local.asr_engines.base import Audio
from mediamill.tasks.media.decode import Recording, open_recording
from mediamill.tasks.media.encode import mono

RATE = 16_000
Samples = npt.NDArray[np.int16]


@contextmanager
def opened(audio: Audio) -> Iterator[Recording]:
    """The upload's first audio track.

    Raises:
        BadInput: when there is none.
    """
    with audio.file() as path:
        with path.open("rb") as file:
            head = file.read(4096)
        with open_recording(path, head) as recording:
            yield recording


def samples(recording: Recording, max_seconds: float | None = None) -> Iterator[Samples]:
    """Its sound at 16 kHz, mono, 16 bit, in blocks of any size.

    Raises:
        BadInput: ``too_long`` past ``max_seconds``.
    """
    for frame in mono(recording.frames(max_seconds)):
        yield frame.to_ndarray().reshape(-1).astype(np.int16, copy=False)
