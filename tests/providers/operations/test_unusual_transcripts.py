"""Transcripts in unusual forms are read; times that cannot be are corrected or named."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from mediamill.tasks.capabilities.speech.transcript_checks import FLAG_MEANINGS, check_transcript
from mediamill.tasks.domain import Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.operations.time_faults import MILLISECONDS, PAST_END
from tests.providers.builders import build_ask_for, build_form, build_provider, build_reply, parse_body, parse_reply


def parse(body: Any, seconds: int) -> dict[str, Any]:
    """The columns of a reply to audio of that length."""
    provider = build_provider("together")
    ask = build_ask_for(provider, "transcription", ceiling=Usage(audio_seconds=Decimal(seconds), requests=1))
    data: dict[str, Any] = parse_reply(provider, ask, build_reply(body)).data
    return data


def make_body(*times: tuple[Any, Any]) -> dict[str, Any]:
    """A reply whose segments and words have these times."""
    segments = [{"id": 0, "start": start, "end": end, "text": "hi"} for start, end in times]
    return {"text": "hi", "segments": segments, "words": [{"word": "hi", "start": s, "end": e} for s, e in times]}


def test_words_inside_segments_become_words() -> None:
    words = [{"word": " hello", "start": 0.5, "end": 0.9, "t_dtw": -1, "probability": 0.9}]
    body = {"text": " hello", "segments": [{"id": 0, "start": 0.0, "end": 2.0, "text": " hello", "words": words}]}
    (word,) = parse_body("compatible", "transcription", body).data["words"]
    assert (word["word"], word["start"], word["end"], word["confidence"]) == ("hello", 0.5, 0.9, 0.9)


@pytest.mark.parametrize(
    "body",
    [
        {"text": None, "segments": [{"text": " hello "}, {"text": "world"}]},
        {"segments": [{"text": "hello"}, {"text": None}, {"text": "world"}]},
        {"text": ["hello", "world"]},
    ],
)
def test_text_in_parts_is_the_text(body: Any) -> None:
    assert parse_body("compatible", "transcription", body).data["text"] == "hello world"


def test_a_reply_without_text_says_what_is_there_and_what_to_do() -> None:
    with pytest.raises(BadReply, match=r"no text; its fields are text \(null\), segments \(empty\)") as caught:
        parse_body("compatible", "transcription", {"text": None, "segments": []})
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("times", "seconds", "first", "faults"),
    [
        ([(500, 900), (1000, 1400)], 2, 0.5, [MILLISECONDS]),
        ([(0, 2_000_000), (2_400_000, 3_599_000)], 3600, 0.0, [MILLISECONDS]),
        ([(0.0, 1.5), (1.5, 99.0)], 2, 0.0, [PAST_END]),
        ([(0, 1), (3, 4)], 2, 0.0, [PAST_END]),
        ([(0, 1), (1, 30)], 10, 0.0, [PAST_END]),
        ([(0.5, 900.5)], 2, 0.5, [PAST_END]),
        ([(0, 3)], 2, 0.0, []),
        ([(0, 100), (100, 107)], 100, 0.0, []),
        ([(None, None)], 2, None, []),
    ],
)
def test_times_that_cannot_be_are_corrected_or_flagged(
    times: list[tuple[Any, Any]], seconds: int, first: float | None, faults: list[str]
) -> None:
    data = parse(make_body(*times), seconds)
    assert data.get("time_faults", []) == faults
    assert (data["segments"][0]["start"], data["words"][0]["start"]) == (first, first)
    assert check_transcript(data, None, None, None, data.get("time_faults", ()))["flags"] == faults
    assert set(faults) <= set(FLAG_MEANINGS)


@pytest.mark.parametrize("operation", ["transcription", "translation"])
def test_text_alone_is_requested_without_times(operation: str) -> None:
    provider = build_provider("compatible")
    form = build_form(provider, build_ask_for(provider, operation, response_format="json"))
    assert form["response_format"] == ["json"]
    assert "timestamp_granularities[]" not in form
