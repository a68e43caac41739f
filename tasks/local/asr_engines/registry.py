"""The embedded engines, by name."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from mediamill.tasks.errors import NoSuchOption

if TYPE_CHECKING:
    from mediamill.tasks.local.asr_engines.base import Engine

ALIASES = {"local": "pocketsphinx"}
NAMES = ("pocketsphinx", "echo", "tones", "whisper")
_PACKAGES = {"pocketsphinx": "pocketsphinx", "whisper": "faster-whisper"}
_OWN = {"echo": "1", "tones": "1"}


def engine_identity(name: str) -> str:
    """Name and version, e.g. ``pocketsphinx-5.1.1``, without importing the engine.

    A package that is not installed leaves the bare name.

    Raises:
        NoSuchOption: for an unknown engine.
    """
    name = known(name)
    if name in _OWN:
        return f"{name}-{_OWN[name]}"
    try:
        return f"{name}-{version(_PACKAGES[name])}"
    except PackageNotFoundError:
        return name


def make_engine(name: str, workers: int, max_seconds: float | None, weights: str) -> Engine:
    """An engine by name; nothing heavy is imported and no process is started before the first recording.

    Args:
        name: one of :data:`NAMES`, or ``local`` for the default.
        workers: processes it may use.
        max_seconds: longest recording it decodes.
        weights: what the whisper engine loads.

    Raises:
        NoSuchOption: for an unknown engine.
        UsageError: when its package is not installed.
    """
    name = known(name)
    identity = engine_identity(name)
    if name == "echo":
        from mediamill.tasks.local.asr_engines.echo import Echo

        return Echo(identity, workers, max_seconds)
    if name == "tones":
        from mediamill.tasks.local.asr_engines.tones import Tones

        return Tones(identity, workers, max_seconds)
    if name == "whisper":
        from mediamill.tasks.local.asr_engines.whisper import Whisper

        return Whisper(identity, workers, max_seconds, weights)
    from mediamill.tasks.local.asr_engines.pocketsphinx import Pocketsphinx

    return Pocketsphinx(identity, workers, max_seconds)


def known(name: str) -> str:
    """The engine's own name.

    Raises:
        NoSuchOption: for an unknown engine.
    """
    name = ALIASES.get(name, name)
    if name not in NAMES:
        raise NoSuchOption("engine", name, [*NAMES, *ALIASES])
    return name
