"""Lists that providers return free of charge: the reply to any GET, and the voices of speech models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mediamill.flows.cli.console import print_json, print_line, print_note

if TYPE_CHECKING:
    from mediamill.tasks.providers.config import ProviderConfig

ListedT = TypeVar("ListedT")


@dataclass(frozen=True, slots=True)
class ModelVoices:
    """A model's voices; ``default`` is used where none is named. ``live``: they come from the provider's API."""

    provider: str
    model: str
    voices: tuple[str, ...]
    default: str | None
    live: bool


def list_from_providers(providers: Sequence[str], list_one: Callable[[str], list[ListedT]]) -> list[ListedT]:
    """What ``list_one`` lists for each provider.

    Of several providers, one of another package that cannot be used is left out, and a note says why.

    Raises:
        UsageError: when a single provider is listed, and it cannot be used.
    """
    from mediamill.tasks.errors import MediamillError
    from mediamill.tasks.plugins import PROVIDER_GROUP, find_plugins, format_cause, plugin_error
    from mediamill.tasks.providers.registry import is_built_in_provider

    listed: list[ListedT] = []
    for name in providers:
        try:
            listed += list_one(name)
        except Exception as error:  # another package's code may raise anything
            if is_built_in_provider(name):
                raise
            plugin = find_plugins(PROVIDER_GROUP)[name]
            cause = error if isinstance(error, MediamillError) else plugin_error(plugin, format_cause(error))
            if len(providers) == 1:
                raise cause from error
            print_note(f"mediamill: {name} is not listed: {cause.message}; {cause.hint}")
    return listed


def print_voices(providers: Sequence[str], base_url: str | None, *, as_json: bool) -> int:
    """Print the voices of all speech models, from the provider's API where it lists them and a key is set.

    Returns:
        The exit code.
    """
    alone = len(providers) == 1
    listings = list_from_providers(providers, lambda name: _list_voices(name, base_url if alone else None))
    if as_json:
        print_json([asdict(v) for v in listings])
        return 0
    for v in listings:
        print_line(f"{v.provider:<11} {v.model}{' (live)' if v.live else ''}")
        voice_names = ", ".join(name + (" (default)" if name == v.default else "") for name in v.voices)
        print_line(f"{'':<12}{voice_names or 'any name'}")
    return 0


def _list_voices(provider: str, base_url: str | None) -> list[ModelVoices]:
    from mediamill.tasks.errors import MediamillError
    from mediamill.tasks.providers.operations.tts import TTS, TtsConfig
    from mediamill.tasks.providers.registry import load_config

    config = load_config(provider)
    tts = config.operations.get(TTS)
    if not isinstance(tts, TtsConfig):
        return []
    known = tts.models
    if _can_list_voices(config, base_url):
        try:
            reply = fetch_json(provider, base_url, str(config.voices_path))
        except MediamillError as error:
            print_note(f"mediamill: {provider}: {error.message}; its voices are listed from the configuration")
        else:
            listed = list(parse_voices(reply, default_model=tts.default_model or ""))
            return [
                ModelVoices(provider, model, names, known[model].default_voice if model in known else None, live=True)
                for model, names in listed
            ]
    return [ModelVoices(provider, name, voice.voices, voice.default_voice, live=False) for name, voice in known.items()]


def _can_list_voices(config: ProviderConfig, base_url: str | None) -> bool:
    if config.voices_path is None:
        return False
    return base_url is not None or bool(config.key_env and os.environ.get(config.key_env))


def parse_voices(reply: Any, default_model: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Parse models and voices from a provider's list, in any of the documented shapes (provider docs).

    ``{"data": [{"model", "voices": [...]}]}``, ``{"data": {"voices": [...]}}`` and ``{"voices": [...]}``; a voice is
    a name or an object with one.
    """
    data = reply.get("data", reply) if isinstance(reply, dict) else reply
    for entry in data if isinstance(data, list) else [data]:
        if isinstance(entry, dict) and isinstance(entry.get("voices"), list):
            names = tuple(name for voice in entry["voices"] if (name := _parse_voice_name(voice)))
            yield str(entry.get("model") or default_model), names


def _parse_voice_name(voice: Any) -> str | None:
    if isinstance(voice, str):
        return voice
    if not isinstance(voice, dict):
        return None
    return next((str(voice[key]) for key in ("voice_id", "name", "id") if voice.get(key)), None)


def fetch_json(provider: str, base_url: str | None, path: str) -> Any:
    """Fetch JSON from a path below a provider's API; None for the built-in provider without an address.

    Raises:
        UsageError: when its key is missing.
        ProviderDown: when it does not answer, or not with JSON.
    """
    import orjson

    from mediamill.tasks.calls.transport_errors import TransportError
    from mediamill.tasks.engine import Engine
    from mediamill.tasks.errors import ProviderDown
    from mediamill.tasks.providers.registry import make_provider
    from mediamill.tasks.wire import Request

    adapter = make_provider(provider, base_url=base_url, api_key_env=None, environ=os.environ)
    engine = Engine.shared()
    if not adapter.endpoint.origin:
        return None
    key = os.environ.get(adapter.endpoint.key_env) if adapter.endpoint.key_env else None
    request = Request("GET", f"{adapter.endpoint.api}{path}")
    try:
        reply = engine.submit(
            engine.client.send(adapter.endpoint.origin, request, key=key, timeout_seconds=30)
        ).result()
    except TransportError as error:
        raise ProviderDown(f"{provider} does not answer: {error.message}", hint="check the network") from None
    problem = adapter.classify(reply)
    if problem is not None:
        raise ProviderDown(problem.message, hint=problem.hint)
    return orjson.loads(reply.body)
