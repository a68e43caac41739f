"""Transcription replies in the shapes that the providers document."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from mediamill.tasks.errors import BadReply
from mediamill.tasks.languages import to_iso_code
from tests.providers.builders import build_ask_for, build_provider, build_reply, parse_body

TOGETHER_DIARIZED: dict[str, Any] = {
    "task": None,
    "language": "english",
    "duration": 30.02,
    "text": " Hello. Hi there. ",
    "segments": [
        {"id": 0, "start": 0.0, "end": 4.0, "text": " Hello."},
        {"id": 1, "start": 4.0, "end": 6.5, "text": "Hi"},
    ],
    "words": [
        {"id": 0, "word": " Hello.", "start": 0.0, "end": 1.5, "speaker_id": "SPEAKER_00"},
        {"id": 1, "word": "Hi", "start": 4.0, "end": 4.5},
        {"id": 2, "word": "there.", "start": 5.0, "end": 5.0},
    ],
    "speaker_segments": [
        {"id": 1, "speaker_id": "SPEAKER_00", "start": 0.0, "end": 4.0, "text": "Hello.", "words": []},
        {"id": 2, "speaker_id": "SPEAKER_01", "start": 4.0, "end": 6.5, "text": "Hi there.", "words": []},
    ],
}  # fmt: skip


def test_together_reply_with_speakers() -> None:
    data = parse_body("together", "transcription", TOGETHER_DIARIZED).data
    assert data["text"] == "Hello. Hi there."
    assert (data["language"], data["duration_s"]) == ("en", 30.02)
    assert [s["speaker"] for s in data["segments"]] == ["SPEAKER_00", "SPEAKER_01"]
    assert [(w["word"], w["speaker"]) for w in data["words"]] == [
        ("Hello.", "SPEAKER_00"),
        ("Hi", "SPEAKER_01"),
        ("there.", "SPEAKER_01"),
    ]
    assert data["speakers"] == ["SPEAKER_00", "SPEAKER_01"]


def test_words_are_found_inside_speaker_segments() -> None:
    speaker_segments = [
        {
            "speaker_id": "SPEAKER_00",
            "start": 0,
            "end": 2,
            "text": "Hello",
            "words": [{"word": "Hello", "start": 0, "end": 1, "speaker_id": "SPEAKER_00"}],
        }
    ]
    data = parse_body(
        "together", "transcription", {"text": "Hello", "duration": 2, "speaker_segments": speaker_segments}
    ).data
    assert [w["word"] for w in data["words"]] == ["Hello"]
    assert [(s["text"], s["speaker"]) for s in data["segments"]] == [("Hello", "SPEAKER_00")]


def test_a_segment_gets_the_speaker_who_speaks_longest_in_it() -> None:
    turns = [("A", 0.0, 2.0), ("B", 2.0, 5.0), ("A", 5.0, 7.0)]
    body = {
        "text": "x",
        "segments": [{"start": 0.0, "end": 7.0, "text": "x"}, {"start": 2.5, "end": 4.0, "text": "y"}, {"text": "z"}],
        "speaker_segments": [{"speaker_id": speaker, "start": a, "end": b} for speaker, a, b in turns],
    }
    assert [s["speaker"] for s in parse_body("together", "transcription", body).data["segments"]] == ["A", "B", None]


def test_openai_verbose_reply() -> None:
    segment = {"id": 0, "seek": 0, "start": 0.0, "end": 3.3, "text": " Hi", "tokens": [50364], "avg_logprob": -0.28}
    body = {"task": "transcribe", "language": "english", "duration": 3.319999933242798, "text": "Hi",
            "segments": [segment], "usage": {"type": "duration", "seconds": 4}}  # fmt: skip
    parsed = parse_body("openai", "transcription", body)
    assert parsed.usage.audio_seconds == 4
    assert parsed.data["duration_s"] == pytest.approx(3.32)
    assert parsed.data["segments"] == [{"id": 0, "start": 0.0, "end": 3.3, "text": "Hi", "speaker": None}]
    assert parsed.data["speakers"] is None


def test_openai_usage_in_tokens() -> None:
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59,
             "input_token_details": {"text_tokens": 4, "audio_tokens": 10}}  # fmt: skip
    parsed_usage = parse_body("openai", "transcription", {"text": "Imagine", "usage": usage}).usage
    assert (parsed_usage.input_tokens, parsed_usage.audio_input_tokens, parsed_usage.output_tokens) == (14, 10, 45)
    assert parsed_usage.audio_seconds is None


def test_openai_diarized_reply() -> None:
    body = {"task": "transcribe", "duration": 27.4, "text": "A: Hi", "segments": [
        {"type": "transcript.text.segment", "id": "seg_001", "start": 0.0, "end": 4.7, "text": "Hi", "speaker": "A"},
        {"type": "transcript.text.segment", "id": "seg_002", "start": 4.7, "end": 9.0, "text": "Y", "speaker": "agent"},
    ]}  # fmt: skip
    data = parse_body("openai", "transcription", body).data
    assert [(s["id"], s["speaker"]) for s in data["segments"]] == [(0, "A"), (1, "agent")]
    assert data["speakers"] == ["A", "agent"]


def test_groq_reply() -> None:
    parsed = parse_body(
        "groq", "transcription", {"text": "Hi", "language": "English", "duration": 2.5, "x_groq": {"id": "req_1"}}
    )
    assert (parsed.data["language"], parsed.usage.audio_seconds) == ("en", Decimal("2.5"))


def test_a_duration_in_a_string_is_a_number() -> None:
    parsed = parse_body(
        "compatible", "transcription", {"text": "Hi", "language": "en", "duration": "12.62", "segments": None}
    )
    assert (parsed.data["duration_s"], parsed.usage.audio_seconds) == (12.62, Decimal("12.62"))


def test_speaker_numbers_and_words_in_a_text_field_are_parsed() -> None:
    words = [{"text": "Hi", "start": 0, "end": 1, "speaker": 0, "confidence": 0.9}]
    data = parse_body("compatible", "transcription", {"text": "Hi", "duration": 1, "words": words}).data
    assert data["words"] == [{"word": "Hi", "start": 0.0, "end": 1.0, "speaker": "0", "confidence": 0.9}]
    assert data["speakers"] == ["0"]


def test_missing_usage_is_none_and_not_zero() -> None:
    assert parse_body("together", "transcription", {"text": "Hi"}).usage.audio_seconds is None


@pytest.mark.parametrize("body", [b"[]", b"null", b'"failed"', b"{}", b'{"text": null}', b'{"\\u001b[2Jevil": 1}'])
def test_a_reply_without_text_is_a_bad_reply_in_one_printable_line(body: bytes) -> None:
    provider = build_provider("together")
    with pytest.raises(BadReply, match="no text") as caught:
        provider.parse(build_reply(body), [build_ask_for(provider, "transcription")])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("language", "code"),
    [("en", "en"), ("English", "en"), ("en-US", "en"), ("zh_TW", "zh"), ("haitian creole", "ht"), ("jw", "jv"),
     ("yue", "yue"), ("und", None), ("auto", None), ("", None), (None, None), (7, None), ("klingon", None)],
)  # fmt: skip
def test_languages_become_iso_codes(language: Any, code: str | None) -> None:
    assert to_iso_code(language) == code
