"""What speaks: programs that really speak where they are on PATH, and a simulation where none is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import Protocol

from mediamill.tasks.errors import UsageError

TTS_ENGINES = ("flite", "espeak-ng", "tones")
"""Best first: flite's voices are understood by people and by the built-in ear."""

_REHEARSAL = "echo"


@dataclass(frozen=True, slots=True)
class PcmAudio:
    """16-bit little-endian mono samples, and how many there are a second."""

    pcm: bytes = field(repr=False)
    rate: int


class TtsEngine(Protocol):
    """Speaks. ``identity`` is name and version; ``simulated`` tells that nothing is said; ``voices`` are its own."""

    identity: str
    simulated: bool
    voices: tuple[str, ...]

    async def speak(self, text: str, voice: str | None, speed: float) -> PcmAudio:
        """Say a text.

        Args:
            text: what to say.
            voice: one of ``voices``; None for the first.
            speed: 1 is the voice's own pace.

        Raises:
            RuntimeError: when the program that speaks failed.
        """
        ...


def make_tts_engine(name: str, workers: int) -> TtsEngine:
    """What speaks for an engine: itself if it is one of :data:`TTS_ENGINES`, tones for ``echo``, else the best.

    Args:
        name: the engine that was asked for.
        workers: programs that may run at once.

    Raises:
        UsageError: when the program asked for is not on PATH.
    """
    if name in TTS_ENGINES and name != "tones" and shutil.which(name) is None:
        raise UsageError(f"the engine {name} needs the program {name} on PATH", hint=f"apt install {name}")
    if name == _REHEARSAL:
        name = "tones"
    if name not in TTS_ENGINES:
        name = next((n for n in TTS_ENGINES if shutil.which(n)), "tones")
    if name == "tones":
        from mediamill.tasks.local.tts_engines.tones import ToneEngine

        return ToneEngine()
    from mediamill.tasks.local.tts_engines.programs import ESPEAK, FLITE, ProgramEngine

    return ProgramEngine(FLITE if name == "flite" else ESPEAK, workers)
