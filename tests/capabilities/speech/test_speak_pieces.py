"""How long the pieces of a text are: no longer than the provider takes and its reply may be."""

from __future__ import annotations

import pytest

from mediamill.tasks.capabilities.speak import Speak, SpeakParams
from mediamill.tasks.domain import Item
from mediamill.tasks.providers.operations.tts import TTS, TtsModel
from mediamill.tasks.providers.registry import providers_with
from tests.providers.builders import build_provider, choose_model

TEXT = "A sentence of some words. " * 2000


@pytest.mark.parametrize("name", providers_with("tts"))
@pytest.mark.parametrize("fields", [{}, {"format": "wav"}, {"sample_rate": 48_000, "speed": 0.5}])
def test_no_reply_is_larger_than_what_is_read(name: str, fields: dict[str, object]) -> None:
    provider = build_provider(name)
    limits = provider.model_facts(TTS, choose_model(provider, TTS), TtsModel)
    params = SpeakParams.model_validate(fields)
    asks = Speak()._build_asks(Item("a", 0, "a"), TEXT.strip(), params, limits, "m")
    max_characters = max(len(str(ask.params["text"])) for ask in asks)
    rate = params.sample_rate or 24_000
    assert max_characters <= limits.max_characters
    assert max_characters * 0.12 / min(params.speed or 1, 1) * rate * 2 < 64 * 2**20
    assert {ask.params["format"] for ask in asks} == {"wav"}
    assert " ".join(str(ask.params["text"]) for ask in asks) == TEXT.strip()


def test_a_text_of_one_piece_is_requested_in_the_files_format() -> None:
    provider = build_provider("xai")
    limits = provider.model_facts(TTS, "grok-voice-tts-1.0", TtsModel)
    (ask,) = Speak()._build_asks(Item("a", 0, "a"), TEXT[:14_000].strip(), SpeakParams.model_validate({}), limits, "m")
    assert ask.params["format"] == "mp3"
