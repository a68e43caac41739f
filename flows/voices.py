"""The voices of models that speak: the provider's own list where a key is set, else the configuration's."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from mediamill.flows.stderr import note

if TYPE_CHECKING:
    from mediamill.tasks.providers.config import ProviderConfig


@dataclass(frozen=True, slots=True)
class ModelVoices:
    """A model's voices; ``default`` is used where none is asked for. ``live``: the provider listed them just now."""

    provider: str
    model: str
    voices: tuple[str, ...]
    default: str | None
    live: bool


def tell_voices(providers: Sequence[str], base_url: str | None, *, as_json: bool) -> int:
    """Print the voices of every model that speaks; the exit code."""
    found = [voices for name in providers for voices in _voices_of(name, base_url if len(providers) == 1 else None)]
    if as_json:
        click.echo(json.dumps([asdict(v) for v in found]))
        return 0
    for v in found:
        click.echo(f"{v.provider:<11} {v.model}{' (live)' if v.live else ''}")
        named = ", ".join(name + (" (default)" if name == v.default else "") for name in v.voices)
        click.echo(f"{'':<12}{named or 'any name'}")
    return 0


def _voices_of(provider: str, base_url: str | None) -> list[ModelVoices]:
    from mediamill.tasks.errors import MediamillError
    from mediamill.tasks.providers.config import load_config

    config = load_config(provider)
    speaking = config.operations.get("tts")
    if speaking is None:
        return []
    known = {name: facts.voice for name, facts in speaking.models.items() if facts.voice}
    if _asks(config, base_url):
        from mediamill.flows.asking import ask_json

        try:
            told = ask_json(provider, base_url, str(config.voices_path))
        except MediamillError as error:
            note(f"mediamill: {provider}: {error.message}; its voices are told from the configuration")
        else:
            listed = list(listed_voices(told, default_model=speaking.default_model or ""))
            return [
                ModelVoices(provider, model, names, known[model].default_voice if model in known else None, live=True)
                for model, names in listed
            ]
    return [ModelVoices(provider, name, voice.voices, voice.default_voice, live=False) for name, voice in known.items()]


def _asks(config: ProviderConfig, base_url: str | None) -> bool:
    if config.voices_path is None:
        return False
    return base_url is not None or bool(config.key_env and os.environ.get(config.key_env))


def listed_voices(told: Any, default_model: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Models and voices in a provider's list, in any of the shapes that are documented (provider docs).

    ``{"data": [{"model", "voices": [...]}]}``, ``{"data": {"voices": [...]}}`` and ``{"voices": [...]}``; a voice is
    a name or an object with one.
    """
    data = told.get("data", told) if isinstance(told, dict) else told
    for entry in data if isinstance(data, list) else [data]:
        if isinstance(entry, dict) and isinstance(entry.get("voices"), list):
            names = tuple(name for voice in entry["voices"] if (name := _name(voice)))
            yield str(entry.get("model") or default_model), names


def _name(voice: Any) -> str | None:
    if isinstance(voice, str):
        return voice
    if not isinstance(voice, dict):
        return None
    return next((str(voice[key]) for key in ("voice_id", "name", "id") if voice.get(key)), None)
