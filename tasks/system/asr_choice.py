"""Which embedded engine transcribes where nobody names one: Whisper where its weights are, else pocketsphinx."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from mediamill.tasks.errors import UsageError
from mediamill.tasks.system.whisper_weights import WHISPER, find_weights

POCKETSPHINX = "pocketsphinx"
_VARIABLE = "MEDIAMILL_ASR_ENGINE"


@dataclass(frozen=True, slots=True)
class AsrChoice:
    """The engine, and why it is not Whisper; None where it is, or where the environment names another."""

    engine: str
    reason: str | None = None


def choose_asr_engine() -> AsrChoice:
    """The engine that ``MEDIAMILL_ASR_ENGINE`` names, or Whisper, or pocketsphinx where Whisper cannot be used."""
    named = os.environ.get(_VARIABLE)
    return AsrChoice(named) if named else _choose_installed()


@cache
def _choose_installed() -> AsrChoice:
    try:
        find_weights(WHISPER)
    except UsageError as error:
        return AsrChoice(POCKETSPHINX, f"whisper, which hears many languages and far better, is not used: {error}")
    return AsrChoice(WHISPER)
