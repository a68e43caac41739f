"""Every provider by name: each file in configs/providers is one.

A provider of another package is found by its entry point in the group ``mediamill.providers``, which loads to the
:class:`~pathlib.Path` of its YAML file.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from mediamill.configs import CONFIGS_FOLDER
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.plugins import PROVIDER_GROUP, find_plugins, load_plugin, plugin_error, repair_hint
from mediamill.tasks.providers.base import BaseProvider
from mediamill.tasks.providers.config import ProviderConfig, parse_endpoint, read_config
from mediamill.tasks.providers.operations import load_object
from mediamill.tasks.wire import Endpoint, Provider

_LOCAL = "local"


def provider_names() -> tuple[str, ...]:
    """Every provider's name: the built-in ones by preference, then those of other packages."""
    return tuple(dict.fromkeys([*_built_in_names(), *find_plugins(PROVIDER_GROUP)]))


@functools.cache
def _built_in_names() -> tuple[str, ...]:
    files = (CONFIGS_FOLDER / "providers").glob("*.yaml")
    return tuple(sorted((file.stem for file in files), key=lambda name: (load_config(name).preference, name)))


@functools.cache
def load_config(name: str) -> ProviderConfig:
    """The configuration of a provider.

    Raises:
        UsageError: when it belongs to another package and cannot be used.
    """
    built_in = CONFIGS_FOLDER / "providers" / f"{name}.yaml"
    plugin = find_plugins(PROVIDER_GROUP).get(name)
    if built_in.exists() or plugin is None:
        return read_config(built_in)
    path = load_plugin(plugin)
    if not isinstance(path, Path):
        raise plugin_error(plugin, f"{plugin.value} is no Path of a YAML file")
    return read_config(path, hint=repair_hint(plugin))


def choose_default_provider(environ: Mapping[str, str], operation: str | None = None) -> str:
    """The first provider that has the operation and whose key is set; otherwise the built-in one."""
    for name, config in iter_usable_configs():
        if operation is not None and operation not in config.operations:
            continue
        if config.key_env and not config.key_optional and environ.get(config.key_env):
            return name
    return _LOCAL


def make_provider(
    name: str, *, base_url: str | None, api_key_env: str | None, environ: Mapping[str, str], needs_key: bool = True
) -> Provider:
    """A provider, ready for use; without ``needs_key`` also one whose key is not set, to quote with.

    Raises:
        NoSuchOption: when no provider has that name.
        UsageError: when its key is not set, or it needs a base URL.
    """
    config = _load_named_config(name)
    endpoint = _choose_endpoint(name, config, base_url, environ)
    key_env = _choose_key_env(name, config, endpoint, api_key_env, environ, needs_key=needs_key)
    endpoint = replace(endpoint, key_env=key_env)
    return _load_provider_class(name, config)(name, config, endpoint, providers_with)


def _load_provider_class(name: str, config: ProviderConfig) -> type[BaseProvider]:
    """The class of a provider.

    Raises:
        UsageError: when the configuration names a class that cannot be used.
    """
    if config.adapter is None:
        return BaseProvider
    try:
        provider_class = load_object(config.adapter)
    except (Exception, SystemExit) as error:  # an adapter may be another package's
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise UsageError(f"the adapter {config.adapter} of the provider {name} cannot be used: {reason}") from error
    if not (isinstance(provider_class, type) and issubclass(provider_class, BaseProvider)):
        raise UsageError(f"the adapter {config.adapter} of the provider {name} is not a subclass of BaseProvider")
    return provider_class


def find_default_model(name: str, operation: str) -> str | None:
    """The model that a provider's own address uses where a job names none; None where there is none. Needs no key.

    Raises:
        NoSuchOption: when no provider has that name.
    """
    config = _load_named_config(name)
    provider = _load_provider_class(name, config)(name, config, Endpoint("", "", None), providers_with)
    return provider.find_default_model(operation)


def is_built_in_provider(name: str) -> bool:
    """Whether a provider is built in; another package's provider of the same name never replaces it."""
    return name in _built_in_names()


def providers_with(operation: str) -> tuple[str, ...]:
    """The providers that have an operation and either a default model for it or accept any model name."""
    configs = ((name, config.operations.get(operation)) for name, config in iter_usable_configs())
    return tuple(name for name, config in configs if config and (config.default_model or config.any_model))


def key_env_name(name: str, api_key_env: str | None) -> str | None:
    """The NAME of the environment variable that holds a provider's key; None for a provider without keys.

    Raises:
        NoSuchOption: when there is no such provider.
    """
    return api_key_env or _load_named_config(name).key_env


def is_free(name: str) -> bool:
    """Whether a provider bills nothing.

    Raises:
        NoSuchOption: when there is no such provider.
    """
    return _load_named_config(name).free


def iter_usable_configs() -> Iterator[tuple[str, ProviderConfig]]:
    """Every configuration except those of other packages that cannot be read, which fail only when a job names them."""
    for name in provider_names():
        try:
            config = load_config(name)
        except UsageError:
            if is_built_in_provider(name):
                raise
            continue
        yield name, config


def _load_named_config(name: str) -> ProviderConfig:
    if name not in provider_names():
        raise NoSuchOption("provider", name, provider_names())
    return load_config(name)


def _choose_key_env(
    name: str,
    config: ProviderConfig,
    endpoint: Endpoint,
    requested: str | None,
    environ: Mapping[str, str],
    *,
    needs_key: bool,
) -> str | None:
    """The NAME of the variable that holds the key; None where none is needed, as for a server of this machine.

    Raises:
        UsageError: when the key is not set.
    """
    key_env = requested or config.key_env
    if key_env is None or environ.get(key_env):
        return key_env
    if requested is None and (config.key_optional or endpoint.is_on_loopback):
        return None
    if not needs_key:
        return key_env
    where = f"get a key at {config.key_url}, then " if config.key_url and key_env == config.key_env else ""
    raise UsageError(
        f"{name} needs a key and {key_env} is not set", hint=f"{where}export {key_env}=...; or leave out --provider"
    )


def _choose_endpoint(name: str, config: ProviderConfig, base_url: str | None, environ: Mapping[str, str]) -> Endpoint:
    from_environment = environ.get(config.base_url_env) if config.base_url_env else None
    chosen = base_url or from_environment or config.base_url
    if chosen is not None:
        api = parse_endpoint(config.base_url, "/v1", None).api if config.base_url else "/v1"
        return replace(parse_endpoint(chosen, api, None), is_own=config.base_url is None)
    if name == _LOCAL:
        return Endpoint("", "/v1", None)
    raise UsageError(f"{name} needs --base-url", hint="for example --base-url http://localhost:8000/v1")
