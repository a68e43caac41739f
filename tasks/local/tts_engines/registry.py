"""The embedded voices: programs that really speak where they are on PATH, and a simulation where none is."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from mediamill.tasks.errors import UsageError

if TYPE_CHECKING:
    from mediamill.tasks.local.tts_engines.base import Speaker

NAMES = ("flite", "espeak-ng", "tones")
"""Best first: flite's voices are understood by people and by the built-in ear."""

_REHEARSAL = "echo"


def make_speaker(name: str, workers: int) -> Speaker:
    """The voice of an engine: its own where it is one of :data:`NAMES`, tones for ``echo``, else the best there is.

    Args:
        name: the engine that was asked for.
        workers: programs that may run at once.

    Raises:
        UsageError: when the program asked for is not on PATH.
    """
    if name in NAMES and name != "tones" and shutil.which(name) is None:
        raise UsageError(f"the engine {name} needs the program {name} on PATH", hint=f"apt install {name}")
    if name == _REHEARSAL:
        name = "tones"
    if name not in NAMES:
        name = next((n for n in NAMES if shutil.which(n)), "tones")
    if name == "tones":
        from mediamill.tasks.local.tts_engines.tones import Tones

        return Tones()
    from mediamill.tasks.local.tts_engines.programs import ESPEAK, FLITE, Program

    return Program(FLITE if name == "flite" else ESPEAK, workers)
