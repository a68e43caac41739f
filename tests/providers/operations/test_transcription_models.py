"""Transcription requests of every configured provider and model; a new one is tested as soon as it is listed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from mediamill.tasks.domain import Payload
from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.providers.operations.transcription import TranscriptionModel
from mediamill.tasks.providers.registry import load_config, providers_with
from tests.providers.builders import (
    RECORDING,
    RECORDING_ON_DISK,
    RECORDING_URL,
    SECRET_KEY,
    build_ask,
    build_provider,
    build_request,
    list_models,
)


def model_facts(name: str, model: str) -> TranscriptionModel:
    """The configured facts about a model."""
    return build_provider(name).model_facts("transcription", model, TranscriptionModel)


OWN_FIELDS = ("xai",)
"""Providers with their own fields, which have their own tests."""
MODELS = [
    (name, model)
    for name, _, model in list_models("transcription")
    if name not in OWN_FIELDS and model_facts(name, model).transport == "http"
]
every_model = pytest.mark.parametrize(("name", "model"), MODELS)
GRANULARITIES = "timestamp_granularities[]"


@every_model
def test_the_wire_is_deterministic_json(name: str, model: str) -> None:
    ask = build_ask("transcription", model, language="en", temperature=0.2)
    wires = [build_provider(name).to_wire(ask) for _ in range(2)]
    assert orjson.dumps([wires[0].origin, wires[0].path, dict(wires[0].params)]) == orjson.dumps(
        [wires[1].origin, wires[1].path, dict(wires[1].params)]
    )
    assert wires[0].encoding == "multipart"
    assert wires[0].repeatable
    assert not wires[0].job


@every_model
def test_bytes_and_items_do_not_change_the_wire(name: str, model: str) -> None:
    ask = build_ask("transcription", model, payload=RECORDING)
    other = replace(build_ask("transcription", model, payload=RECORDING_ON_DISK), item_id="b")
    assert build_provider(name).to_wire(ask) == build_provider(name).to_wire(other)


@every_model
def test_no_key_is_in_a_wire_or_a_request(name: str, model: str) -> None:
    ask = build_ask("transcription", model)
    provider = build_provider(name)
    wire = provider.to_wire(ask)
    assert SECRET_KEY not in repr((wire, provider.build_request(wire, [ask]), provider, vars(provider)))


@every_model
def test_a_request_is_model_then_fields_then_the_file(name: str, model: str) -> None:
    request = build_request(name, build_ask("transcription", model, language="en", temperature=0))
    assert (request.method, request.files) == ("POST", [("file", RECORDING)])
    assert request.fields[0] == ("model", model)
    assert request.json is None
    assert all(isinstance(value, str) for _, value in request.fields)
    assert ("temperature", "0") in request.fields
    assert request.path.endswith("/v1/audio/transcriptions")


@every_model
def test_format_and_times_are_those_that_the_model_supports(name: str, model: str) -> None:
    facts = model_facts(name, model)
    params = build_provider(name).to_wire(build_ask("transcription", model)).params
    expected = "diarized_json" if facts.diarized_format else "verbose_json" if facts.verbose else "json"
    assert params["response_format"] == expected
    assert (GRANULARITIES in params) == facts.verbose
    if facts.verbose:
        assert params[GRANULARITIES] == (["segment", "word"] if facts.words else ["segment"])


@pytest.mark.parametrize(
    ("params", "times"),
    [
        ({"words": False}, ["segment"]),
        ({"segments": False}, ["word"]),
        ({"segments": False, "words": False}, None),
    ],
)
@pytest.mark.parametrize(("name", "model"), [m for m in MODELS if model_facts(*m).verbose])
def test_times_are_requested_as_the_parameters_say(
    name: str, model: str, params: dict[str, Any], times: list[str] | None
) -> None:
    assert build_provider(name).to_wire(build_ask("transcription", model, **params)).params.get(GRANULARITIES) == times
    repeated = [
        v for n, v in build_request(name, build_ask("transcription", model, **params)).fields if n == GRANULARITIES
    ]
    assert repeated == (times or [])


@every_model
def test_a_prompt_is_sent_only_to_models_that_accept_one(name: str, model: str) -> None:
    if model_facts(name, model).prompt:
        assert build_provider(name).to_wire(build_ask("transcription", model, prompt="Ada")).params["prompt"] == "Ada"
    else:
        with pytest.raises(BadInput, match="takes no prompt") as refused:
            build_provider(name).to_wire(build_ask("transcription", model, prompt="Ada"))
        assert refused.value.hint


@every_model
def test_speakers_are_requested_only_of_models_that_support_them(name: str, model: str) -> None:
    facts = model_facts(name, model)
    if not (facts.diarize or facts.diarized_format):
        with pytest.raises(BadInput, match="cannot label speakers"):
            build_provider(name).to_wire(build_ask("transcription", model, diarize=True))
    elif facts.diarized_format:
        assert (
            build_provider(name).to_wire(build_ask("transcription", model, diarize=True)).params["chunking_strategy"]
            == "auto"
        )
    else:
        params = (
            build_provider(name)
            .to_wire(build_ask("transcription", model, diarize=True, min_speakers=2, max_speakers=3))
            .params
        )
        assert [params[n] for n in ("diarize", "min_speakers", "max_speakers")] == [True, 2, 3]
        assert params["response_format"] == "verbose_json"
        assert ("diarize", "true") in build_request(name, build_ask("transcription", model, diarize=True)).fields


@every_model
def test_speaker_counts_are_not_sent_without_diarization(name: str, model: str) -> None:
    assert not {"diarize", "min_speakers", "max_speakers"} & set(
        build_provider(name).to_wire(build_ask("transcription", model, min_speakers=2)).params
    )


@every_model
def test_together_always_gets_a_language_and_others_only_a_known_one(name: str, model: str) -> None:
    assert build_provider(name).to_wire(build_ask("transcription", model, language="en")).params["language"] == "en"
    unknown: list[dict[str, Any]] = [{}, {"language": "auto"}]
    for detect in unknown:
        assert build_provider(name).to_wire(build_ask("transcription", model, **detect)).params.get("language") == (
            "auto" if name == "together" else None
        )


@every_model
def test_nothing_unset_is_sent(name: str, model: str) -> None:
    params = (
        build_provider(name)
        .to_wire(build_ask("transcription", model, prompt=None, temperature=None, language=None))
        .params
    )
    assert None not in params.values()
    assert not {"prompt", "temperature"} & set(params)


@pytest.mark.parametrize(("name", "field"), [("together", "file"), ("groq", "url")])
def test_a_url_is_sent_in_the_providers_field(name: str, field: str) -> None:
    model = load_config(name).operations["transcription"].default_model or ""
    request = build_request(name, build_ask("transcription", model, payload=RECORDING_URL))
    in_fields = [n for n, v in request.fields if v == RECORDING_URL.url]
    in_files = [n for n, p in request.files if isinstance(p, Payload) and p.url == RECORDING_URL.url]
    assert [*in_fields, *in_files] == [field]
    assert bool(in_files) == (field == "file")


@pytest.mark.parametrize("name", providers_with("transcription"))
def test_the_default_model_is_listed(name: str) -> None:
    operation = load_config(name).operations["transcription"]
    if operation.default_model is None:
        with pytest.raises(UsageError, match="needs a model"):
            build_provider(name).choose_model("transcription", None)
    else:
        assert build_provider(name).choose_model("transcription", None) in operation.models
    assert build_provider(name).choose_model("transcription", "mine") == "mine"


@pytest.mark.parametrize(("name", "maximum"), [("together", 80_000_000), ("openai", 25_000_000), ("groq", 25_000_000)])
def test_uploads_stay_within_the_documented_size(name: str, maximum: int) -> None:
    assert build_provider(name).audio_limits("transcription", "m").max_bytes <= maximum
