"""Which provider a run gets, its base URL, and the errors when it cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.providers import config, registry
from tests.providers.builders import ENVIRON, SECRET_KEY, build_provider


def test_without_a_key_the_default_is_the_built_in_provider() -> None:
    assert registry.choose_default_provider({}) == "local"
    assert registry.choose_default_provider({"TOGETHER_API_KEY": ""}) == "local"
    assert registry.choose_default_provider({"COMPATIBLE_API_KEY": SECRET_KEY}) == "local"


def test_with_keys_the_default_is_the_first_by_preference() -> None:
    assert registry.choose_default_provider({"GROQ_API_KEY": SECRET_KEY}) == "groq"
    assert registry.choose_default_provider({"OPENAI_API_KEY": SECRET_KEY, "GROQ_API_KEY": SECRET_KEY}) == "openai"
    assert registry.choose_default_provider(ENVIRON) == "together"


@pytest.mark.parametrize("name", ["together", "openai", "groq"])
def test_a_named_provider_without_its_key_is_an_error_that_names_the_variable(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name.upper()}_API_KEY"):
        registry.make_provider(name, base_url=None, api_key_env=None, environ={})


def test_another_variable_may_hold_the_key() -> None:
    provider = registry.make_provider("together", base_url=None, api_key_env="OTHER", environ={"OTHER": SECRET_KEY})
    assert provider.endpoint.key_env == "OTHER"
    with pytest.raises(UsageError, match="OTHER") as caught:
        registry.make_provider("compatible", base_url="http://h", api_key_env="OTHER", environ=ENVIRON)
    assert SECRET_KEY not in str(caught.value)


def test_the_compatible_provider_needs_a_base_url_and_no_key() -> None:
    with pytest.raises(UsageError, match="--base-url"):
        registry.make_provider("compatible", base_url=None, api_key_env=None, environ={})
    provider = registry.make_provider("compatible", base_url="http://h:8000", api_key_env=None, environ={})
    assert (provider.endpoint.origin, provider.endpoint.api, provider.endpoint.key_env) == (
        "http://h:8000",
        "/v1",
        None,
    )
    with pytest.raises(UsageError, match="--model"):
        provider.choose_model("transcription", None)


def test_an_unknown_provider_suggests_the_nearest_name() -> None:
    with pytest.raises(NoSuchOption, match="did you mean 'together'"):
        registry.make_provider("togther", base_url=None, api_key_env=None, environ={})


@pytest.mark.parametrize(
    ("name", "base_url", "address"),
    [
        ("together", None, "https://api.together.ai/v1"),
        ("openai", None, "https://api.openai.com/v1"),
        ("groq", None, "https://api.groq.com/openai/v1"),
        *(
            ("together", f"https://api.together.xyz{end}", "https://api.together.xyz/v1")
            for end in ("", "/", "/v1", "/v1/", "/v2")
        ),
        *(("groq", f"http://h:1{end}", "http://h:1/openai/v1") for end in ("", "/openai", "/openai/v1", "/openai/v1/")),
        ("openai", "https://proxy.example/team-7/v1", "https://proxy.example/team-7/v1"),
        ("openai", "HTTPS://API.OpenAI.com:443/v1", "https://api.openai.com/v1"),
        ("compatible", "http://[::1]:8080", "http://[::1]:8080/v1"),
    ],
)
def test_base_urls_are_normalised_with_and_without_a_version(name: str, base_url: str | None, address: str) -> None:
    endpoint = build_provider(name, base_url).endpoint
    assert endpoint.origin + endpoint.api == address


@pytest.mark.parametrize("name", ["together", "openai", "groq"])
def test_the_base_url_of_the_job_overrides_that_of_the_environment(name: str) -> None:
    environ = {**ENVIRON, f"{name.upper()}_BASE_URL": "http://env:1"}
    make = registry.make_provider
    assert make(name, base_url=None, api_key_env=None, environ=environ).endpoint.origin == "http://env:1"
    assert make(name, base_url="http://job:2", api_key_env=None, environ=environ).endpoint.origin == "http://job:2"


@pytest.mark.parametrize(
    "base_url",
    ["", "localhost:8000", "ftp://h/v1", "http://", "http://h:port/v1", "http://[::1/v1", f"http://u:{SECRET_KEY}@h/v1",
     f"http://:{SECRET_KEY}@h/v1", f"http://h/v1?key={SECRET_KEY}", "http://h/v1#x", "http://h\n.example/"],
)  # fmt: skip
def test_a_wrong_base_url_is_one_line_without_secrets(base_url: str) -> None:
    with pytest.raises(UsageError) as caught:
        config.parse_endpoint(base_url, "/v1", None)
    assert SECRET_KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_configuration_is_checked_strictly() -> None:
    good = {"operations": {"transcription": {"path": "/a", "default_model": "m", "models": {"m": {}}}}}
    config.ProviderConfig.model_validate(good)
    for path, value in ((("key_nev",), "X"), (("operations", "transcription", "default_model"), "other")):
        bad = yaml.safe_load(yaml.safe_dump(good))
        block = bad
        for step in path[:-1]:
            block = block[step]
        block[path[-1]] = value
        with pytest.raises(ValidationError):
            config.ProviderConfig.model_validate(bad)


def test_no_model_name_is_in_the_code() -> None:
    names = {
        model
        for name in registry.provider_names()
        for operation in registry.load_config(name).operations.values()
        for model in operation.models
    } - {"pocketsphinx", "whisper", "python"}
    assert names
    files = Path(config.__file__).parent.rglob("*.py")
    found = [(f.name, n) for f in files for n in names if f'"{n}"' in f.read_text(encoding="utf-8")]
    assert not found
