"""Providers by name, their base URLs and their keys."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.providers.config import parse_endpoint
from mediamill.tasks.providers.registry import choose_default_provider, load_config, make_provider, providers_with
from tests.providers.builders import ENVIRON, SECRET_KEY, build_ask, build_provider

TRANSCRIBERS = providers_with("transcription")
PAID = [name for name in TRANSCRIBERS if load_config(name).base_url]
API = {name: urlsplit(load_config(name).base_url or "/v1").path for name in TRANSCRIBERS}
"""The API path of each provider, which stays the same for another base URL."""
BASES = ["https://gw.example", "https://gw.example/", "https://gw.example/v1", "https://gw.example/v1/"]


def test_known_providers_have_their_api_paths() -> None:
    known = {"groq": "/openai/v1", **dict.fromkeys(("together", "openai", "xai", "compatible", "local"), "/v1")}
    assert known.items() <= API.items()


@pytest.mark.parametrize("name", TRANSCRIBERS)
@pytest.mark.parametrize("base_url", [*BASES, "https://gw.example/v2"])
def test_a_base_url_works_with_and_without_its_version(name: str, base_url: str) -> None:
    endpoint = build_provider(name, base_url).endpoint
    assert endpoint.origin == "https://gw.example"
    assert endpoint.api == API[name]


@pytest.mark.parametrize("name", TRANSCRIBERS)
@pytest.mark.parametrize("ending", ["", "/v1", "/v1/"])
def test_a_path_in_the_base_url_is_kept(name: str, ending: str) -> None:
    assert build_provider(name, f"http://[::1]:81/proxy{ending}").endpoint.api == "/proxy" + API[name]
    assert build_provider(name, f"http://[::1]:81/proxy{ending}").endpoint.origin == "http://[::1]:81"


@pytest.mark.parametrize(
    "base_url", ["https://api.groq.com", "https://api.groq.com/openai", "https://api.groq.com/openai/v1"]
)
def test_the_path_of_groq_is_not_repeated(base_url: str) -> None:
    assert build_provider("groq", base_url).endpoint.api == "/openai/v1"


@pytest.mark.parametrize("name", PAID)
@pytest.mark.parametrize("base_url", BASES)
def test_a_base_url_in_the_environment_is_used_unless_an_option_is_given(name: str, base_url: str) -> None:
    variable = load_config(name).base_url_env
    assert variable == f"{name.upper()}_BASE_URL"
    there = {**ENVIRON, variable: base_url}
    assert build_provider(name, environ=there).endpoint.origin == "https://gw.example"
    assert build_provider(name, "http://option.example", environ=there).endpoint.origin == "http://option.example"


@pytest.mark.parametrize(
    "base_url", ["", "api.example", "ftp://h", "http://", "http://[::1", "http://h:99999", "http://h:x", "file:///etc"]
)
def test_an_invalid_base_url_is_a_usage_error(base_url: str) -> None:
    with pytest.raises(UsageError, match="base URL") as refused:
        parse_endpoint(base_url, "/v1", None)
    assert refused.value.hint


def test_a_password_in_a_base_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        parse_endpoint(f"https://me:{SECRET_KEY}@gw.example/v1", "/v1", None)
    assert SECRET_KEY not in str(refused.value)


@pytest.mark.parametrize("name", PAID)
def test_a_missing_key_is_a_usage_error_that_names_the_variable(name: str) -> None:
    variable = load_config(name).key_env
    assert variable
    for environ in ({}, {variable: ""}):
        with pytest.raises(UsageError, match=f"{variable} is not set") as refused:
            build_provider(name, environ=environ)
        assert refused.value.exit_code == 2
        assert str(load_config(name).key_url) in str(refused.value.hint)


@pytest.mark.parametrize("name", PAID)
@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost:9000", "[::1]:9000"])
def test_a_server_of_this_machine_needs_no_key(name: str, host: str) -> None:
    provider = make_provider(name, base_url=f"http://{host}", api_key_env=None, environ={})
    assert provider.endpoint.key_env is None
    variable = str(load_config(name).key_env)
    provider = make_provider(name, base_url=f"http://{host}", api_key_env=None, environ={variable: SECRET_KEY})
    assert provider.endpoint.key_env == variable
    with pytest.raises(UsageError, match="MINE is not set") as refused:
        make_provider(name, base_url=f"http://{host}", api_key_env="MINE", environ={})
    assert "://" not in str(refused.value.hint), "whose key MINE holds is not known"


@pytest.mark.parametrize("host", ["127.0.0.1.example", "10.0.0.1", "localhost.example"])
def test_a_server_elsewhere_needs_its_key(host: str) -> None:
    with pytest.raises(UsageError, match="TOGETHER_API_KEY is not set"):
        make_provider("together", base_url=f"http://{host}", api_key_env=None, environ={})


def test_another_variable_may_hold_the_key() -> None:
    provider = make_provider("openai", base_url=None, api_key_env="MINE", environ={"MINE": SECRET_KEY})
    assert provider.endpoint.key_env == "MINE"
    with pytest.raises(UsageError, match="MINE is not set"):
        make_provider("openai", base_url=None, api_key_env="MINE", environ=ENVIRON)


def test_keys_are_optional_if_the_configuration_says_so() -> None:
    assert build_provider("compatible", environ={}).endpoint.key_env is None
    assert build_provider("compatible").endpoint.key_env == "COMPATIBLE_API_KEY"
    assert build_provider("local", environ={}).endpoint.key_env is None
    with pytest.raises(UsageError, match="OWN is not set"):
        make_provider("compatible", base_url="http://h", api_key_env="OWN", environ={})


def test_the_compatible_provider_needs_a_base_url() -> None:
    with pytest.raises(UsageError, match="needs --base-url"):
        make_provider("compatible", base_url=None, api_key_env=None, environ={})


def test_an_unknown_provider_suggests_the_nearest_name() -> None:
    with pytest.raises(NoSuchOption, match="did you mean 'together'"):
        make_provider("togehter", base_url=None, api_key_env=None, environ={})


def test_the_default_provider_is_the_first_with_a_key() -> None:
    assert choose_default_provider({}) == "local"
    assert choose_default_provider({"TOGETHER_API_KEY": ""}) == "local"
    assert choose_default_provider({"COMPATIBLE_API_KEY": SECRET_KEY}) == "local"
    for name in PAID:
        assert choose_default_provider({load_config(name).key_env or "": SECRET_KEY}) == name
    assert choose_default_provider(ENVIRON) == PAID[0]


def test_the_request_key_of_the_built_in_provider_names_the_engine_and_no_port() -> None:
    assert (
        build_provider("local")
        .to_wire(build_ask("transcription", "pocketsphinx"))
        .origin.startswith("local:pocketsphinx-")
    )
