"""Transcription replies of every documented shape, and any other JSON, become the same columns."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.capabilities.speech.recognition_params import TranscribeParams
from mediamill.tasks.capabilities.transcribe import Transcribe
from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.registry import providers_with
from mediamill.tasks.sinks.json_to_arrow import to_table
from mediamill.tasks.wire import Parsed
from tests.helpers.hypothesis_profile import make_repeatable
from tests.providers.builders import build_ask, build_provider, build_reply, parse_reply

TOGETHER = {
    "duration": 3.5,
    "language": "english",
    "text": " Hello there. ",
    "segments": [
        {"id": 0, "start": 0.0, "end": 1.5, "text": " Hello"},
        {"id": 1, "start": 1.5, "end": 3.5, "text": "there."},
    ],
    "words": [
        {"id": 0, "word": "Hello", "start": 0.0, "end": 0.0, "speaker_id": "SPEAKER_00"},
        {"id": 1, "word": "there.", "start": 1.6, "end": 3.4, "speaker_id": "SPEAKER_01"},
    ],
    "speaker_segments": [
        {"id": 0, "speaker_id": "SPEAKER_00", "start": 0.0, "end": 1.6, "text": "Hello", "words": []},
        {"id": 1, "speaker_id": "SPEAKER_01", "start": 1.6, "end": 3.5, "text": "there.", "words": []},
    ],
    "task": None,
}
SHAPES: dict[str, dict[str, Any]] = {
    "together": TOGETHER,
    "openai json": {
        "text": "Hi",
        "usage": {
            "type": "tokens",
            "input_tokens": 14,
            "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
            "output_tokens": 45,
            "total_tokens": 59,
        },
    },
    "openai verbose": {
        "task": "transcribe",
        "language": "english",
        "duration": 8.470000267028809,
        "text": "Hi",
        "segments": [{"id": 0, "seek": 0, "start": 0.0, "end": 3.3, "text": " Hi", "tokens": [5], "avg_logprob": -0.2}],
        "words": [{"word": "Hi", "start": 0.0, "end": 3.319999933242798}],
        "usage": {"type": "duration", "seconds": 9},
    },
    "openai diarized": {
        "task": "transcribe",
        "duration": 27.4,
        "text": "Agent: Hi",
        "segments": [
            {
                "type": "transcript.text.segment",
                "id": "seg_001",
                "start": 0.0,
                "end": 4.7,
                "text": "Hi",
                "speaker": "agent",
            },
            {
                "type": "transcript.text.segment",
                "id": "seg_002",
                "start": 4.7,
                "end": 6.0,
                "text": "Hello",
                "speaker": "A",
            },
        ],
        "usage": {"type": "duration", "seconds": 28},
    },
    "groq": {"text": "Hi", "x_groq": {"id": "req_01"}, "language": "English", "duration": 2.1},
    "vllm": {
        "text": "Hi",
        "language": "en",
        "duration": "12.25",
        "segments": [{"id": 0, "start": 0, "end": 2, "text": "Hi"}],
    },
    "vllm json": {"text": "Hi", "usage": {"type": "duration", "seconds": 13}},
    "speaches": {"task": "transcribe", "text": "Hi", "language": "de", "duration": 4, "words": None, "segments": []},
    "xai": {
        "text": "Hi",
        "language": "",
        "duration": 1.0,
        "words": [{"text": "Hi", "start": 0, "end": 1, "speaker": 0}],
    },
}


def parse_together_reply(reply: Any) -> Parsed:
    """A reply as Together's operation parses it."""
    (parse_together_reply,) = build_provider("together").parse(build_reply(reply), [build_ask("transcription")])
    return parse_together_reply


@pytest.mark.parametrize("name", providers_with("transcription"))
@pytest.mark.parametrize("shape", SHAPES)
def test_every_provider_parses_every_shape_of_reply(name: str, shape: str) -> None:
    parsed = parse_reply(name, build_ask("transcription"), build_reply(SHAPES[shape]))
    assert parsed.data["text"] == SHAPES[shape]["text"].strip()
    assert set(parsed.data) - {"avg_logprob"} == {"text", "language", "duration_s", "segments", "words", "speakers"}
    assert (parsed.engine, parsed.simulated) == (None, False)


def test_together_reply_with_speakers_has_them_in_segments_and_words() -> None:
    data = parse_together_reply(TOGETHER).data
    assert (data["language"], data["duration_s"]) == ("en", 3.5)
    assert [(s["id"], s["text"], s["speaker"]) for s in data["segments"]] == [
        (0, "Hello", "SPEAKER_00"),
        (1, "there.", "SPEAKER_01"),
    ]
    assert [w["speaker"] for w in data["words"]] == ["SPEAKER_00", "SPEAKER_01"]
    assert data["speakers"] == ["SPEAKER_00", "SPEAKER_01"]


def test_words_inside_speaker_segments_are_found() -> None:
    speaker_segments = [
        {"id": 0, "speaker_id": "S", "start": 0, "end": 1, "text": "a", "words": [{"word": "a", "start": 0, "end": 1}]}
    ]
    data = parse_together_reply({"text": "a", "speaker_segments": speaker_segments}).data
    assert [w["word"] for w in data["words"]] == ["a"]
    assert [s["speaker"] for s in data["segments"]] == ["S"]


def test_speakers_of_other_providers_become_text() -> None:
    assert parse_together_reply(SHAPES["openai diarized"]).data["speakers"] == ["A", "agent"]
    assert [s["id"] for s in parse_together_reply(SHAPES["openai diarized"]).data["segments"]] == [0, 1]
    assert parse_together_reply(SHAPES["xai"]).data["speakers"] == ["0"]


@pytest.mark.parametrize(
    ("shape", "seconds"),
    [
        ("together", "3.5"),
        ("openai verbose", "9"),
        ("groq", "2.1"),
        ("vllm", "12.25"),
        ("vllm json", "13"),
        ("speaches", "4"),
    ],
)
def test_usage_is_what_the_reply_states(shape: str, seconds: str) -> None:
    assert parse_together_reply(SHAPES[shape]).usage.audio_seconds == Decimal(seconds)


def test_usage_in_tokens() -> None:
    usage = parse_together_reply(SHAPES["openai json"]).usage
    assert (usage.input_tokens, usage.audio_input_tokens, usage.output_tokens) == (14, 10, 45)
    assert usage.audio_seconds is None


def test_unstated_usage_is_not_zero() -> None:
    usage = parse_together_reply({"text": ""}).usage
    assert usage.audio_seconds is None
    assert usage.input_tokens is None


def test_a_duration_is_rounded_to_the_precision_of_money() -> None:
    exponent = parse_together_reply({"text": "", "duration": 8.470000267028809}).usage.audio_seconds
    assert exponent == Decimal("8.470000267029")


@pytest.mark.parametrize("duration", [-1, 1e9, "NaN", "inf", "soon", True, None, [], {}, "1e999999999"])
def test_an_impossible_duration_is_ignored(duration: Any) -> None:
    parsed = parse_together_reply({"text": "x", "duration": duration})
    assert parsed.data["duration_s"] is None
    assert parsed.usage.audio_seconds is None


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("english", "en"),
        ("EN", "en"),
        ("en-US", "en"),
        ("pt_BR", "pt"),
        ("Farsi", "fa"),
        ("", None),
        (7, None),
        ("klingon", None),
    ],
)
def test_language_names_and_tags_become_iso_codes(language: Any, code: str | None) -> None:
    assert parse_together_reply({"text": "x", "language": language}).data["language"] == code


@pytest.mark.parametrize(
    "body", [b"", b"OK", b"{", b"[]", b"null", b'"Done."', b'{"text":null}', b'{"text":[1]}', b'{"txt":"x"}']
)
def test_a_reply_without_text_is_a_bad_reply(body: bytes) -> None:
    with pytest.raises(BadReply) as refused:
        parse_together_reply(body)
    assert "\n" not in str(refused.value)


def test_a_bad_reply_names_its_keys_and_not_its_content() -> None:
    with pytest.raises(BadReply) as refused:
        parse_together_reply({"a" * 5000: 1, "line\nbreak": "secret"})
    assert len(refused.value.message) <= 250
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_engine_and_simulated_are_read_from_the_built_in_servers_headers() -> None:
    headers = {"x-mediamill-engine": "echo", "x-mediamill-simulated": "true"}
    parsed = parse_reply("local", build_ask("transcription"), build_reply(b'{"text":""}', headers=headers))
    assert (parsed.engine, parsed.simulated) == ("echo", True)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
times = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("id", "start", "end", "text", "word", "speaker", "speaker_id", "confidence", "words"), json_values
    ),
)
odd_replies = st.fixed_dictionaries(
    {"text": st.text(max_size=20)},
    optional={
        n: json_values | st.lists(times | json_values, max_size=3) for n in ("segments", "words", "speaker_segments")
    }
    | dict.fromkeys(("language", "duration", "usage", "extra"), json_values),
)


@make_repeatable()
@given(odd_replies)
def test_any_reply_with_text_is_parsed_and_fits_the_columns(reply: dict[str, Any]) -> None:
    parsed = parse_together_reply(reply)
    assert parsed.data["text"] == reply["text"].strip()
    schema = Transcribe().schema(TranscribeParams(), build_provider("local"), "pocketsphinx")
    (row,) = to_table([orjson.dumps(parsed.data)], schema).to_pylist()
    for name in ("text", "language", "segments", "words", "speakers"):
        assert row[name] == parsed.data[name]
    assert parsed.usage.from_dict(orjson.loads(orjson.dumps(parsed.usage.as_dict()))) == parsed.usage
