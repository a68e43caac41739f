"""xAI's transcription has its own fields."""

from __future__ import annotations

import pytest

from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers import xai
from tests.providers.builders import build_ask_for, build_form, build_provider, build_reply, parse_body


def test_a_transcription_has_the_form_fields_of_xai() -> None:
    form = build_form(
        "xai",
        build_ask_for(
            build_provider("xai"),
            "transcription",
            language="pt-BR",
            diarize=True,
            prompt="Ada Lovelace, Babbage;\nEngine",
        ),
    )
    assert form == {
        "model": ["grok-voice-transcribe-2.0"],
        "language": ["pt"],
        "format": ["true"],
        "diarize": ["true"],
        "keyterm": ["Ada Lovelace", "Babbage", "Engine"],
    }
    assert "format" not in build_form("xai", build_ask_for(build_provider("xai"), "transcription")), (
        "it needs a language"
    )
    assert build_provider("xai").to_wire(build_ask_for(build_provider("xai"), "transcription")).path == "/v1/stt"


def test_a_temperature_is_refused() -> None:
    with pytest.raises(BadInput, match="temperature"):
        build_form("xai", build_ask_for(build_provider("xai"), "transcription", temperature=0.5))


def test_words_in_a_text_field_and_speaker_numbers_are_parsed() -> None:
    word = {"text": "Hi", "start": 0.1, "end": 0.4, "confidence": 0.9, "speaker": 1}
    data = parse_body("xai", "transcription", {"text": "Hi", "language": "en", "duration": 1.5, "words": [word]}).data
    assert data["words"] == [{"word": "Hi", "start": 0.1, "end": 0.4, "speaker": "1", "confidence": 0.9}]
    assert (data["speakers"], data["language"], data["duration_s"]) == (["1"], "en", 1.5)


def test_a_400_for_a_wrong_key_stops_the_run() -> None:
    problem = build_provider("xai").classify(
        build_reply({"code": "invalid", "error": "Incorrect API key provided: xa***"}, 400)
    )
    assert problem is not None
    assert (problem.verdict, problem.kind) == ("stop", "auth")


@pytest.mark.parametrize(
    ("former", "now"), [("XaiTranscription", "XaiTranscriptionOperation"), ("XaiTts", "XaiTtsOperation")]
)
def test_an_adapter_in_a_provider_file_may_have_its_former_name(former: str, now: str) -> None:
    assert getattr(xai, former) is getattr(xai, now)
