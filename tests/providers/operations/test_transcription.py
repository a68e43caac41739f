"""Transcription requests where providers differ."""

from __future__ import annotations

from typing import Any

import pytest

from mediamill.tasks.errors import BadInput
from tests.providers.builders import RECORDING_URL, build_ask, build_ask_for, build_form, build_provider, choose_model

GRANULARITIES = "timestamp_granularities[]"


def build_transcription_form(name: str, model: str | None = None, **params: Any) -> dict[str, list[str]]:
    """The form of a provider's request for a recording."""
    provider = build_provider(name)
    model = model or choose_model(provider, "transcription")
    return build_form(provider, build_ask("transcription", model, **params))


def test_together_always_gets_a_language() -> None:
    assert build_transcription_form("together")["language"] == ["auto"]
    assert build_transcription_form("together", language="de")["language"] == ["de"]


@pytest.mark.parametrize("name", ["openai", "groq", "compatible", "local"])
def test_other_providers_get_no_language_if_it_is_to_be_detected(name: str) -> None:
    assert "language" not in build_transcription_form(name, language="auto")


@pytest.mark.parametrize(("requested", "sent"), [("pt-BR", "pt"), ("EN", "en"), ("yue", "yue")])
def test_languages_are_sent_as_iso_codes(requested: str, sent: str) -> None:
    assert build_transcription_form("groq", language=requested)["language"] == [sent]


def test_times_are_requested_by_repeating_the_field() -> None:
    assert build_transcription_form("together", words=True, segments=True)[GRANULARITIES] == ["segment", "word"]
    assert build_transcription_form("together", words=False, segments=True)[GRANULARITIES] == ["segment"]
    assert GRANULARITIES not in build_transcription_form("together", words=False, segments=False)


def test_models_without_times_get_response_format_json() -> None:
    for model in ("gpt-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-mini-transcribe-2099-01-01"):
        form = build_transcription_form("openai", model, words=True)
        assert form["response_format"] == ["json"]
        assert GRANULARITIES not in form
    assert build_transcription_form("openai", "whisper-1")["response_format"] == ["verbose_json"]


def test_together_speakers_are_requested_with_their_counts() -> None:
    form = build_transcription_form("together", diarize=True, min_speakers=2, max_speakers=4)
    assert form["diarize"] == ["true"]
    assert form["response_format"] == ["verbose_json"]
    assert (form["min_speakers"], form["max_speakers"]) == (["2"], ["4"])
    assert not {"diarize", "min_speakers"} & set(build_transcription_form("together", diarize=False, min_speakers=2))


def test_openai_speakers_are_requested_with_diarized_json() -> None:
    form = build_transcription_form("openai", "gpt-4o-transcribe-diarize", diarize=True)
    assert form["response_format"] == ["diarized_json"]
    assert form["chunking_strategy"] == ["auto"]


@pytest.mark.parametrize(
    ("name", "model", "params", "names"),
    [
        ("groq", None, {"diarize": True}, "speakers"),
        ("openai", "whisper-1", {"diarize": True}, "speakers"),
        ("compatible", None, {"diarize": True}, "speakers"),
        ("together", "nvidia/parakeet-tdt-0.6b-v3", {"prompt": "Tijana"}, "prompt"),
        ("openai", "gpt-4o-transcribe-diarize", {"prompt": "Tijana"}, "prompt"),
        ("local", "pocketsphinx", {"language": "de"}, "language"),
    ],
)
def test_a_parameter_that_the_model_lacks_is_refused_before_sending(
    name: str, model: str | None, params: dict[str, Any], names: str
) -> None:
    provider = build_provider(name)
    with pytest.raises(BadInput, match=names) as caught:
        provider.to_wire(build_ask("transcription", model or choose_model(provider, "transcription"), **params))
    assert caught.value.hint
    assert not caught.value.transient


def test_a_url_is_sent_in_the_providers_field() -> None:
    assert build_transcription_form("groq", payload=RECORDING_URL)["url"] == [RECORDING_URL.url]
    together = build_provider("together")
    ask = build_ask_for(together, "transcription", payload=RECORDING_URL)
    assert together.build_request(together.to_wire(ask), [ask]).files == [("file", RECORDING_URL)]


def test_unset_parameters_are_not_sent() -> None:
    assert set(build_transcription_form("groq", prompt=None, temperature=None)) == {
        "model",
        "response_format",
        GRANULARITIES,
    }
    assert build_transcription_form("groq", temperature=0.0)["temperature"] == ["0.0"]


def test_the_built_in_providers_origin_is_the_engine_and_not_the_port() -> None:
    provider = build_provider("local")
    wire = provider.to_wire(build_ask("transcription", "pocketsphinx"))
    assert wire.origin.startswith("local:pocketsphinx-")
    assert provider.to_wire(build_ask("transcription", "whisper")).origin.startswith("local:whisper")
    assert provider.to_wire(build_ask("transcription", "pocketsphinx")) == wire
