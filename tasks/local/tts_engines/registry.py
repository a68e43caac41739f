"""The embedded engines that speak, by name: programs where they are on PATH, and a simulation where none is."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from mediamill.tasks.errors import UsageError

if TYPE_CHECKING:
    from mediamill.tasks.local.tts_engines.base import TtsEngine

TTS_ENGINES = ("flite", "espeak-ng", "tones")
"""Best first: flite's voices are understood by people and by the built-in ear."""

_SIMULATION = "echo"


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
    if name == _SIMULATION:
        name = "tones"
    if name not in TTS_ENGINES:
        name = next((n for n in TTS_ENGINES if shutil.which(n)), "tones")
    if name == "tones":
        from mediamill.tasks.local.tts_engines.tones import ToneEngine

        return ToneEngine()
    from mediamill.tasks.local.tts_engines.programs import ESPEAK, FLITE, ProgramEngine

    return ProgramEngine(FLITE if name == "flite" else ESPEAK, workers)
