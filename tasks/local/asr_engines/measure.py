"""A recording's length, by its header where that is certain and by decoding it otherwise."""

from __future__ import annotations

from decimal import Decimal

from mediamill.tasks.errors import BadInput
from mediamill.tasks.local.asr_engines.base import Audio
from mediamill.tasks.media.wav import HEAD, read_wav


def quick_seconds(audio: Audio) -> Decimal | None:
    """Seconds of a plain WAV file, without decoding it; None for everything else."""
    if audio.data is not None:
        head = audio.data[:HEAD]
    else:
        assert audio.path is not None
        with audio.path.open("rb") as file:
            head = file.read(HEAD)
    info = read_wav(head, audio.size)
    return info.seconds if info else None


def decoded_seconds(audio: Audio, max_seconds: float | None) -> Decimal:
    """Seconds by decoding all of it; runs in a worker.

    Raises:
        BadInput: when it cannot be decoded.
    """
    from mediamill.tasks.local.asr_engines.audio_input import opened
    from mediamill.tasks.media.audio_info import as_seconds

    with opened(audio) as recording:
        for _ in recording.frames(max_seconds):
            pass
        if not recording.length:
            raise BadInput("no sound can be decoded from it", kind="undecodable")
        return as_seconds(recording.length)
