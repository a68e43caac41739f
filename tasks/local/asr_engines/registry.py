"""The embedded engines that transcribe, by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.system.asr_choice import POCKETSPHINX, choose_asr_engine
from mediamill.tasks.system.whisper_weights import WHISPER, is_whisper, name_whisper_engine

if TYPE_CHECKING:
    from mediamill.tasks.local.asr_engines.base import AsrEngine

ASR_ENGINE_ALIASES = ("local",)
"""What stands for the engine that :func:`mediamill.tasks.system.asr_choice.choose_asr_engine` chooses."""
ASR_ENGINES = (POCKETSPHINX, "echo", WHISPER)
_BUILT_IN_VERSIONS = {"echo": "1"}


def get_asr_engine_identity(name: str) -> str:
    """Name and version, e.g. ``pocketsphinx-5.1.1``, without importing the engine.

    The name alone when its package is not installed.

    Raises:
        NoSuchOption: for an unknown engine.
        UsageError: when the weights of Whisper are not there.
    """
    name = resolve_asr_engine_name(name)
    if is_whisper(name):
        return name_whisper_engine(name)
    if name in _BUILT_IN_VERSIONS:
        return f"{name}-{_BUILT_IN_VERSIONS[name]}"
    try:
        return f"{name}-{version(name)}"
    except PackageNotFoundError:
        return name


def make_asr_engine(name: str, workers: int, max_seconds: float | None) -> AsrEngine:
    """An engine by name; nothing heavy is imported and no process is started before the first recording.

    Args:
        name: one of :data:`ASR_ENGINES`, ``local`` for the default, ``whisper:`` with a folder or a name of the hub,
            or ``module:Class``, a class that is called with ``workers`` and ``max_seconds``.
        workers: processes it may use.
        max_seconds: longest recording it decodes.

    Raises:
        NoSuchOption: for an unknown engine.
        UsageError: when its package or its weights are not there, or the class does not exist.
    """
    if ":" in name and not is_whisper(name):
        engine: AsrEngine = _load_class(name)(workers, max_seconds)
        return engine
    name = resolve_asr_engine_name(name)
    if is_whisper(name):
        from mediamill.tasks.local.asr_engines.whisper import WhisperEngine

        return WhisperEngine(name, workers, max_seconds)
    identity = get_asr_engine_identity(name)
    if name == "echo":
        from mediamill.tasks.local.asr_engines.echo import EchoEngine

        return EchoEngine(identity, workers, max_seconds)
    from mediamill.tasks.local.asr_engines.pocketsphinx import PocketsphinxEngine

    return PocketsphinxEngine(identity, workers, max_seconds)


def _load_class(name: str) -> Callable[[int, float | None], AsrEngine]:
    module, _, attribute = name.partition(":")
    try:
        loaded: Callable[[int, float | None], AsrEngine] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"no engine {name!r}: {error}", hint="it is MODULE:CLASS, importable by the server") from None
    return loaded


def resolve_asr_engine_name(name: str) -> str:
    """The engine's own name; ``local`` stands for the one that is chosen.

    Raises:
        NoSuchOption: for an unknown engine.
    """
    name = choose_asr_engine().engine if name in ASR_ENGINE_ALIASES else name
    if name not in ASR_ENGINES and not is_whisper(name):
        raise NoSuchOption("engine", name, [*ASR_ENGINES, *ASR_ENGINE_ALIASES])
    return name
