"""Every provider by name. A new one is its file, its configuration and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.providers.config import ProviderConfig, endpoint_of, load_config
from mediamill.tasks.wire import Endpoint, Provider

_PROVIDERS: dict[str, str] = {
    "local": "mediamill.tasks.providers.local:Local",
    "together": "mediamill.tasks.providers.together:Together",
    "openai": "mediamill.tasks.providers.openai:OpenAI",
    "groq": "mediamill.tasks.providers.groq:Groq",
    "xai": "mediamill.tasks.providers.xai:XAI",
    "cohere": "mediamill.tasks.providers.cohere:Cohere",
    "compatible": "mediamill.tasks.providers.compatible:Compatible",
}
_MADE_ELSEWHERE: dict[str, Callable[[str | None], Provider]] = {}


def provider_names() -> tuple[str, ...]:
    """Every provider's name."""
    return (*_PROVIDERS, *_MADE_ELSEWHERE)


def register(name: str, make: Callable[[str | None], Provider]) -> None:
    """Make a provider known that lives outside this folder; ``make`` gets the job's base URL."""
    _MADE_ELSEWHERE[name] = make


def default_provider(environ: Mapping[str, str], operation: str | None = None) -> str:
    """The first provider that has the operation and whose key is set; the built-in one when there is none."""
    for name in _PROVIDERS:
        config = load_config(name)
        if operation is not None and operation not in config.operations:
            continue
        if config.key_env and not config.key_optional and environ.get(config.key_env):
            return name
    return "local"


def make_provider(name: str, *, base_url: str | None, api_key_env: str | None, environ: Mapping[str, str]) -> Provider:
    """A provider, ready for use.

    Raises:
        NoSuchOption: when there is none of that name.
        UsageError: when its key is not set, or it needs a base URL.
    """
    if name in _MADE_ELSEWHERE:
        return _MADE_ELSEWHERE[name](base_url)
    if name not in _PROVIDERS:
        raise NoSuchOption("provider", name, provider_names())
    config = load_config(name)
    key_env = _key_env(name, config, api_key_env, environ)
    endpoint = _endpoint(name, config, base_url, key_env, environ)
    module, _, cls = _PROVIDERS[name].partition(":")
    made: Provider = getattr(importlib.import_module(module), cls)(config, endpoint)
    return made


def offering(operation: str) -> tuple[str, ...]:
    """The providers that have an operation, with a model of their own for it or any that is named."""
    found = ((name, load_config(name).operations.get(operation)) for name in _PROVIDERS)
    return tuple(name for name, facts in found if facts and (facts.default_model or facts.any_model))


def key_name(name: str, api_key_env: str | None) -> str | None:
    """The NAME of the variable a provider's key is read from; None where it takes none.

    Raises:
        NoSuchOption: when there is no such provider.
    """
    if name not in _PROVIDERS:
        raise NoSuchOption("provider", name, provider_names())
    return api_key_env or load_config(name).key_env


def _key_env(name: str, config: ProviderConfig, asked: str | None, environ: Mapping[str, str]) -> str | None:
    key_env = asked or config.key_env
    if key_env is None or environ.get(key_env):
        return key_env
    if config.key_optional and asked is None:
        return None
    raise UsageError(
        f"{name} needs a key and {key_env} is not set", hint=f"export {key_env}=... or leave out --provider"
    )


def _endpoint(
    name: str, config: ProviderConfig, base_url: str | None, key_env: str | None, environ: Mapping[str, str]
) -> Endpoint:
    from_environment = environ.get(config.base_url_env) if config.base_url_env else None
    chosen = base_url or from_environment or config.base_url
    if chosen is not None:
        api = endpoint_of(config.base_url, "/v1", None).api if config.base_url else "/v1"
        return endpoint_of(chosen, api, key_env)
    if name == "local":
        return Endpoint("", "/v1", None)
    raise UsageError(f"{name} needs --base-url", hint="for example --base-url http://localhost:8000/v1")
