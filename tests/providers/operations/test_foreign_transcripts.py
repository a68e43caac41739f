"""Transcripts in other vendors' shapes, which gateways pass on unchanged, are transcripts: they were paid for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.providers.operations.foreign_transcripts import to_usual_transcript
from mediamill.tasks.providers.operations.ttml import read_ttml
from tests.providers.operations.test_answer_forms import read

DEEPGRAM_WORDS = [
    {"word": "hello", "punctuated_word": "Hello", "start": 0.5, "end": 0.9, "confidence": 0.9, "speaker": 0},
    {"word": "there", "punctuated_word": "there.", "start": 1.0, "end": 1.5, "confidence": 0.8, "speaker": 0},
]
DEEPGRAM = {
    "metadata": {"duration": 2.5},
    "results": {
        "channels": [
            {
                "detected_language": "en",
                "alternatives": [{"transcript": "Hello there.", "confidence": 0.9, "words": DEEPGRAM_WORDS}],
            }
        ],
        "utterances": [{"start": 0.5, "end": 1.5, "transcript": "Hello there.", "speaker": 0}],
    },
}
AWS = {
    "jobName": "j",
    "status": "COMPLETED",
    "results": {
        "language_code": "en-US",
        "transcripts": [{"transcript": "Hello there."}],
        "items": [
            {"type": "pronunciation", "start_time": "0.5", "end_time": "0.9", "alternatives": [{"content": "Hello"}]},
            {"type": "pronunciation", "start_time": "1.0", "end_time": "1.5", "alternatives": [{"content": "there"}]},
            {"type": "punctuation", "alternatives": [{"confidence": "0.0", "content": "."}]},
        ],
        "audio_segments": [{"id": 0, "transcript": "Hello there.", "start_time": "0.5", "end_time": "1.5"}],
    },
}
SPEECHMATICS = {
    "format": "2.9",
    "results": [
        {"type": "word", "start_time": 0.5, "end_time": 0.9, "alternatives": [{"content": "Hello", "language": "en"}]},
        {"type": "word", "start_time": 1.0, "end_time": 1.5, "alternatives": [{"content": "there"}]},
        {"type": "punctuation", "start_time": 1.5, "end_time": 1.5, "alternatives": [{"content": "."}]},
    ],
}
GOOGLE_WORDS = [
    {"startTime": "0.500s", "endTime": "0.900s", "word": "Hello"},
    {"startTime": "1s", "endTime": "1.500s", "word": "there."},
]
GOOGLE = {
    "results": [{"alternatives": [{"transcript": "Hello there.", "words": GOOGLE_WORDS}], "languageCode": "en-us"}]
}
GOOGLE_OPERATION = {"name": "7", "done": True, "response": GOOGLE}
GOOGLE_SPEAKERS = {
    "results": [
        *GOOGLE["results"],
        {"alternatives": [{"words": [{**word, "speakerTag": 1} for word in GOOGLE_WORDS]}]},
    ]
}
WATSON_TIMES = [["Hello", 0.5, 0.9], ["there.", 1.0, 1.5]]
WATSON = {"results": [{"final": True, "alternatives": [{"transcript": "Hello there. ", "timestamps": WATSON_TIMES}]}]}
AZURE_FAST = {
    "durationMilliseconds": 2500,
    "combinedPhrases": [{"text": "Hello there."}],
    "phrases": [
        {
            "offsetMilliseconds": 500,
            "durationMilliseconds": 1000,
            "text": "Hello there.",
            "locale": "en-US",
            "words": [
                {"text": "Hello", "offsetMilliseconds": 500, "durationMilliseconds": 400},
                {"text": "there.", "offsetMilliseconds": 1000, "durationMilliseconds": 500},
            ],
        }
    ],
}
AZURE_BATCH = {
    "durationInTicks": 25_000_000,
    "combinedRecognizedPhrases": [{"channel": 0, "lexical": "hello there", "display": "Hello there."}],
    "recognizedPhrases": [
        {
            "offset": "PT0.5S",
            "duration": "PT1S",
            "offsetInTicks": 5_000_000,
            "durationInTicks": 10_000_000,
            "nBest": [
                {
                    "display": "Hello there.",
                    "displayWords": [
                        {"displayText": "Hello", "word": "Hello", "offset": "PT0.5S", "duration": "PT0.4S"},
                        {"displayText": "there.", "word": "there.", "offset": "PT1S", "duration": "PT0.5S"},
                    ],
                }
            ],
        }
    ],
}
AZURE_SHORT = {
    "RecognitionStatus": "Success",
    "DisplayText": "Hello there.",
    "Offset": 5_000_000,
    "Duration": 10_000_000,
    "NBest": [
        {
            "Display": "Hello there.",
            "Words": [
                {"Word": "Hello", "Offset": 5_000_000, "Duration": 4_000_000},
                {"Word": "there.", "Offset": 10_000_000, "Duration": 5_000_000},
            ],
        }
    ],
}
REV = {
    "monologues": [
        {
            "speaker": 0,
            "elements": [
                {"type": "text", "value": "Hello", "ts": 0.5, "end_ts": 0.9},
                {"type": "punct", "value": " "},
                {"type": "text", "value": "there.", "ts": 1.0, "end_ts": 1.5},
            ],
        }
    ]
}
GLADIA_WORDS = [{"word": "Hello", "start": 0.5, "end": 0.9}, {"word": "there.", "start": 1.0, "end": 1.5}]
GLADIA = {
    "status": "done",
    "result": {
        "metadata": {"audio_duration": 2.5},
        "transcription": {
            "full_transcript": "Hello there.",
            "languages": ["en"],
            "utterances": [{"start": 0.5, "end": 1.5, "text": "Hello there.", "words": GLADIA_WORDS}],
        },
    },
}
ALL = {
    "deepgram": DEEPGRAM,
    "aws": AWS,
    "speechmatics": SPEECHMATICS,
    "google": GOOGLE,
    "google operation": GOOGLE_OPERATION,
    "google speakers": GOOGLE_SPEAKERS,
    "watson": WATSON,
    "azure fast": AZURE_FAST,
    "azure batch": AZURE_BATCH,
    "azure short": AZURE_SHORT,
    "rev": REV,
    "gladia": GLADIA,
}


def list_times(parts: list[dict[str, Any]] | None) -> list[tuple[float, float]]:
    """Starts and ends in seconds, to the millisecond."""
    return [(round(part["start"], 3), round(part["end"], 3)) for part in parts or ()]


@pytest.mark.parametrize("vendor", ALL)
def test_a_vendors_transcript_has_its_text_and_its_words_with_times(vendor: str) -> None:
    data = read("transcription", ALL[vendor])
    assert data["text"] == "Hello there."
    assert list_times(data["words"]) == [(0.5, 0.9), (1.0, 1.5)]
    assert list_times(data["segments"]) in ([], [(0.5, 1.5)])


def test_speakers_languages_and_lengths_are_read_where_a_vendor_states_them() -> None:
    deepgram = read("transcription", DEEPGRAM)
    assert (deepgram["speakers"], deepgram["language"], deepgram["duration_s"]) == (["0"], "en", 2.5)
    assert read("transcription", GOOGLE_SPEAKERS)["speakers"] == ["1"]
    assert read("transcription", AZURE_FAST)["duration_s"] == 2.5
    assert read("transcription", AWS)["language"] == "en"


def test_no_speech_is_an_empty_text_and_a_failed_job_is_no_answer() -> None:
    assert read("transcription", {"RecognitionStatus": "NoMatch", "Offset": 0, "Duration": 0})["text"] == ""
    assert read("transcription", {"RecognitionStatus": "Error", "Offset": 0, "Duration": 0}) is None
    silent = {"results": {"channels": [{"alternatives": [{"transcript": "", "words": []}]}]}}
    assert read("transcription", silent)["text"] == ""


TTML = """<?xml version="1.0"?><tt xmlns="http://www.w3.org/ns/ttml" xmlns:ttp="urn:x" ttp:tickRate="1000"
 ttp:frameRate="25"><body><div>%s</div></body></tt>"""


@pytest.mark.parametrize(
    ("paragraph", "times"),
    [
        ('<p begin="00:00:00.500" end="00:00:01.500">Hello<br/>there &amp; you</p>', (0.5, 1.5)),
        ('<p begin="0.5s" dur="1000ms"><span>Hello</span> there &amp; you</p>', (0.5, 1.5)),
        ('<p begin="500t" end="1500t">Hello there &amp; you</p>', (0.5, 1.5)),
        ('<p begin="00:00:00:05" end="00:00:01:10">Hello there &amp; you</p>', (0.2, 1.4)),
    ],
)
def test_ttml_is_a_transcript_with_times(paragraph: str, times: tuple[float, float]) -> None:
    data = read("transcription", (TTML % paragraph).encode(), "application/ttml+xml")
    assert data["text"] == "Hello there & you"
    assert list_times(data["segments"]) == [times]


@given(st.text(alphabet="<>pt/ begin=\"0:12.5sd'", max_size=300))
def test_no_text_breaks_the_reading_of_ttml(text: str) -> None:
    segments = read_ttml(TTML % text)
    assert segments is not None
    assert all(isinstance(segment["text"], str) for segment in segments)


_NAMES = "results alternatives transcript words channels items phrases offsetInTicks RecognitionStatus NBest monologues"
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES.split()), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(_NAMES.split()), _VALUES, max_size=4))
def test_no_object_breaks_the_reading_of_vendors_shapes(value: dict[str, Any]) -> None:
    found = to_usual_transcript(value)
    assert found is None or isinstance(found["text"], str)
