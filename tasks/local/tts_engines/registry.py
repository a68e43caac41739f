"""The text-to-speech engines by name: programs where they are on PATH, and a simulation where none is."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from mediamill.tasks.errors import UsageError

if TYPE_CHECKING:
    from mediamill.tasks.local.tts_engines.base import TtsEngine

TTS_ENGINES = ("flite", "espeak-ng", "tones")
"""Best first: people and the built-in speech recognition both understand flite's voices."""

_SIMULATION = "echo"


def make_tts_engine(name: str, workers: int) -> TtsEngine:
    """The text-to-speech engine for ``--engine``: one of :data:`TTS_ENGINES`, tones for ``echo``, else the best here.

    Args:
        name: the value of ``--engine``.
        workers: how many programs may run at once.

    Raises:
        UsageError: when the engine's program is not on PATH.
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
