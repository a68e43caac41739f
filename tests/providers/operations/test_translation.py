"""Translation requests, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.languages import to_iso_code
from mediamill.tasks.providers.registry import load_config, make_provider, providers_with
from tests.providers.builders import ENVIRON, PROVIDERS, RECORDING, build_ask, build_form, build_provider

TRANSLATORS = [
    (name, translates.default_model or next(iter(translates.models), "mine"))
    for name in PROVIDERS
    if (translates := load_config(name).operations.get("translation"))
]
"""Every provider that translates, with one of its models."""
WITH_A_DEFAULT = ["together", "openai", "groq", "compatible"]
"""The providers that hints name, by preference: they translate without a named model."""


def build_translation_form(name: str, model: str, **params: Any) -> dict[str, list[str]]:
    ask = build_ask("translation", model, **params)
    provider = build_provider(name)
    wire = provider.to_wire(ask)
    assert wire.path.endswith("/v1/audio/translations")
    assert wire.repeatable
    request = provider.build_request(wire, [ask])
    assert request.fields[0] == ("model", model)
    assert request.files == [("file", RECORDING)]
    return build_form(provider, ask)


def test_the_providers_that_translate() -> None:
    known = {
        ("together", "openai/whisper-large-v3"),
        ("openai", "whisper-1"),
        ("groq", "whisper-large-v3"),
        ("compatible", "mine"),
        ("local", "whisper"),
    }
    assert known <= set(TRANSLATORS)
    offered = providers_with("translation")
    assert [name for name in offered if name in WITH_A_DEFAULT] == WITH_A_DEFAULT
    assert not {"xai", "local"} & set(offered)


@pytest.mark.parametrize(("name", "model"), TRANSLATORS)
def test_a_translation_to_english_requests_segments(name: str, model: str) -> None:
    sent = build_translation_form(
        name, model, to="en", language="auto", prompt="Ada", temperature=0.2, segments=True, words=True
    )
    assert sent["response_format"] == ["verbose_json"]
    assert (sent["prompt"], sent["temperature"]) == (["Ada"], ["0.2"])
    assert not {"diarize", "to", "segments", "words"} & set(sent)


def test_the_target_language_is_sent_in_the_providers_field() -> None:
    assert build_translation_form("together", "openai/whisper-large-v3", to="de", language="fr")["language"] == ["de"]
    both = build_translation_form("compatible", "mine", to="de", language="fr")
    assert (both["language"], both["to_language"]) == (["fr"], ["de"])
    detected = build_translation_form("compatible", "mine", to="pt-BR", language="auto")
    assert (detected.get("language"), detected["to_language"]) == (None, ["pt"])


@pytest.mark.parametrize(("name", "model"), [("openai", "whisper-1"), ("groq", "whisper-large-v3")])
def test_a_provider_with_english_only_gets_no_language_and_no_granularity(name: str, model: str) -> None:
    sent = build_translation_form(name, model, to="en", language="fr", words=True)
    assert not {"language", "to_language", "timestamp_granularities[]"} & set(sent)
    with pytest.raises(BadInput, match=f"{model} translates to en only, not to 'de'") as refused:
        build_provider(name).to_wire(build_ask("translation", model, to="de"))
    assert refused.value.hint
    assert "together" in refused.value.hint


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("groq", "whisper-large-v3-turbo"),
        ("openai", "gpt-4o-transcribe"),
        ("together", "nvidia/parakeet-tdt-0.6b-v3"),
        ("local", "pocketsphinx"),
    ],
)
def test_a_model_that_does_not_translate_is_refused_with_one_that_does(name: str, model: str) -> None:
    with pytest.raises(UsageError, match=f"{model} does not translate") as refused:
        build_provider(name).choose_model("translation", model)
    assert f"--model {dict(TRANSLATORS)[name]}" in str(refused.value.hint)


def test_a_provider_that_does_not_translate_is_refused_with_those_that_do() -> None:
    for name, why in (("xai", "xai has no translation"), ("local", "built-in recogniser does not translate")):
        provider = make_provider(name, base_url=None, api_key_env=None, environ=ENVIRON)
        with pytest.raises(UsageError, match=why) as refused:
            provider.choose_model("translation", None)
        assert f"--provider {', '.join(providers_with('translation'))}" in str(refused.value.hint)


def test_an_unlisted_model_is_accepted() -> None:
    assert build_provider("groq").choose_model("translation", "whisper-large-v9") == "whisper-large-v9"


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("eng", "en"),
        ("deu", "de"),
        ("ger", "de"),
        ("cmn-Hans", "zh"),
        ("zh_Hant", "zh"),
        ("FRENCH", "fr"),
        ("iw", "he"),
        ("yue", "yue"),
        ("und", None),
        ("unknown", None),
        ("", None),
        (7, None),
    ],
)
def test_detected_languages_become_iso_codes(language: Any, code: str | None) -> None:
    assert to_iso_code(language) == code
