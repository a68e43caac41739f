from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.capabilities.speech.piece_transcript import SAMPLE_RATE, PieceTranscript
from mediamill.tasks.capabilities.speech.transcript_merge import join_texts, merge_transcripts
from tests.helpers.hypothesis_profile import make_repeatable

Word = dict[str, Any]


def random_words(seed: int, count: int, vocabulary: int) -> list[Word]:
    """Words, many of them equal, with pauses of all lengths between them."""
    rng, position, words = random.Random(seed), 0.0, []
    for _ in range(count):
        start = position + rng.choice([0.0, 0.05, 0.4, 2.0])
        position = start + rng.uniform(0.08, 0.6)
        times = {"start": round(start * SAMPLE_RATE) / SAMPLE_RATE, "end": round(position * SAMPLE_RATE) / SAMPLE_RATE}
        words.append({"word": f"v{rng.randrange(vocabulary)}", **times, "speaker": None})
    return words


def transcribe_piece(
    words: list[Word], start: float, end: float, *, keep: str = "both", speaker: str | None = None
) -> PieceTranscript:
    """The transcript of a piece: its complete words as they are, cut ones garbled, times from the piece's start."""
    start, end = round(start * SAMPLE_RATE) / SAMPLE_RATE, round(end * SAMPLE_RATE) / SAMPLE_RATE
    inside = []
    for word in words:
        if word["end"] <= start or word["start"] >= end:
            continue
        is_complete = word["start"] >= start and word["end"] <= end
        times = {"start": max(word["start"], start) - start, "end": min(word["end"], end) - start}
        inside.append({**word, **times, "word": word["word"] if is_complete else "mmh", "speaker": speaker})
    segments = [
        {
            "id": 9,
            "start": run[0]["start"],
            "end": run[-1]["end"],
            "text": " ".join(w["word"].title() + "," for w in run),
            "speaker": speaker,
        }
        for run in (inside[n : n + 5] for n in range(0, len(inside), 5))
    ]
    data = {
        "text": " ".join(s["text"] for s in segments),
        "language": "en",
        "segments": segments if keep in ("both", "segments") else None,
        "words": inside if keep in ("both", "words") else None,
    }
    return PieceTranscript.from_answer(data, round(start * SAMPLE_RATE), round(end * SAMPLE_RATE))


def cut_into_pieces(words: list[Word], cuts: list[float], half: float, **more: Any) -> list[PieceTranscript]:
    end = words[-1]["end"] + 1
    edges = [0.0, *(c for c in cuts if half < c < end - half), end]
    return [transcribe_piece(words, max(a - half, 0), min(b + half, end), **more) for a, b in pairwise(edges)]


@make_repeatable()
@given(
    seed=st.integers(0, 10_000),
    vocabulary=st.sampled_from([2, 5, 1000]),
    every=st.floats(12, 30),
    half=st.floats(1.3, 4),
    keep=st.sampled_from(["both", "words"]),
)
def test_overlapping_pieces_are_merged_to_the_original_wherever_they_are_cut(
    seed: int, vocabulary: int, every: float, half: float, keep: str
) -> None:
    words = random_words(seed, 70, vocabulary)
    cuts = [every * n for n in range(1, int(words[-1]["end"] / every) + 1)]
    columns, warnings = merge_transcripts(cut_into_pieces(words, cuts, half, keep=keep))
    merged_words = columns["words"]
    assert [w["word"] for w in merged_words] == [w["word"] for w in words]
    assert [w["start"] for w in merged_words] == pytest.approx([w["start"] for w in words], abs=2e-6)
    tokens = columns["text"].lower().replace(",", "").split()
    assert tokens == [w["word"] for w in words]
    if keep == "both":
        assert " ".join(s["text"] for s in columns["segments"]) == columns["text"]
        times = [t for s in columns["segments"] for t in (s["start"], s["end"])]
        assert all(later - earlier > -1e-5 for earlier, later in pairwise(times))
    assert warnings == ()


@make_repeatable()
@given(seed=st.integers(0, 10_000), cut=st.lists(st.integers(0, 149), max_size=6, unique=True))
def test_pieces_cut_between_words_are_joined(seed: int, cut: list[int]) -> None:
    words = random_words(seed, 150, 3)
    edges = [0.0, *sorted(words[n]["end"] for n in cut), words[-1]["end"]]
    parts = [transcribe_piece(words, a, b) for a, b in pairwise(edges) if b > a]
    columns, _ = merge_transcripts(parts)
    assert [w["word"] for w in columns["words"]] == [w["word"] for w in words]
    assert [w["start"] for w in columns["words"]] == pytest.approx([w["start"] for w in words], abs=2e-6)
    assert columns["duration_s"] == pytest.approx(edges[-1])
    assert [s["id"] for s in columns["segments"]] == list(range(len(columns["segments"])))


def test_models_without_words_are_joined_by_their_text() -> None:
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    first = PieceTranscript(0, 10 * SAMPLE_RATE, " ".join(numbers[:8]), "en", None, None)
    second = PieceTranscript(5 * SAMPLE_RATE, 13 * SAMPLE_RATE, " ".join(numbers[4:]), "en", None, None)
    columns, _ = merge_transcripts([first, second])
    assert columns["text"].split() == numbers
    assert columns["words"] is columns["segments"] is None


def test_without_equal_words_the_switch_is_in_the_middle_of_the_overlap() -> None:
    def build_words(name: str, *times: float) -> list[Word]:
        return [{"word": f"{name}{t}", "start": t, "end": t + 0.3, "speaker": None} for t in times]

    first = PieceTranscript(0, 12 * SAMPLE_RATE, "", None, None, build_words("a", 1, 8, 9, 10.5, 11))
    second = PieceTranscript(8 * SAMPLE_RATE, 20 * SAMPLE_RATE, "", None, None, build_words("b", 8.2, 9.1, 10.2, 15))
    columns, _ = merge_transcripts([first, second])
    assert [w["word"] for w in columns["words"]] == ["a1", "a8", "a9", "b10.2", "b15"]


def test_texts_are_joined_with_spaces_where_their_script_has_them() -> None:
    assert join_texts(["hello ", "", " world"]) == "hello world"
    assert join_texts(["会議を", "始めます"]) == "会議を始めます"
    assert join_texts(["สวัสดี", "ครับ"]) == "สวัสดีครับ"
    assert join_texts(["안녕", "하세요"]) == "안녕 하세요"


def test_the_language_is_that_of_the_longest_part() -> None:
    def piece(start: int, end: int, language: str | None, text: str = "x") -> PieceTranscript:
        return PieceTranscript(start, end, text, language, None, None)

    assert merge_transcripts([piece(0, 9, "en"), piece(9, 40, "de"), piece(40, 50, "en")])[0]["language"] == "de"
    assert merge_transcripts([piece(0, 9, None), piece(9, 40, "fr"), piece(40, 99, "en", "")])[0]["language"] == "fr"
    assert merge_transcripts([piece(0, 9, None)])[0]["language"] is None


def test_speakers_in_the_overlap_keep_their_label() -> None:
    words = random_words(3, 90, 50)
    end = words[-1]["end"]

    def labelled(start: float, end_of_piece: float, names: dict[str, str]) -> PieceTranscript:
        piece = transcribe_piece(words, start, end_of_piece)
        for part in (*(piece.segments or ()), *(piece.words or ())):
            speaker = "anna" if int(part["start"] / 2) % 2 else "bert"
            part["speaker"] = names[speaker]
        return piece

    parts = [
        labelled(0, end / 2 + 4, {"anna": "A", "bert": "B"}),
        labelled(end / 2 - 4, end, {"anna": "B", "bert": "A"}),
    ]
    columns, warnings = merge_transcripts(parts, diarized=True)
    assert warnings == ()
    assert columns["speakers"] == ["A", "B"]
    for word in columns["words"]:
        assert word["speaker"] == ("A" if int(word["start"] / 2) % 2 else "B")


def test_labels_of_pieces_without_overlap_get_the_pieces_number() -> None:
    words = random_words(3, 60, 50)
    cut = words[29]["end"]
    parts = [
        transcribe_piece(words, 0, cut, speaker="SPEAKER_00"),
        transcribe_piece(words, cut, words[-1]["end"], speaker="SPEAKER_00"),
    ]
    columns, warnings = merge_transcripts(parts, diarized=True)
    assert columns["speakers"] == ["2:SPEAKER_00", "SPEAKER_00"]
    assert len(warnings) == 1
    assert warnings[0].startswith("speakers: ")
    assert "overlap" in warnings[0]
    assert {w["speaker"] for w in columns["words"][:30]} == {"SPEAKER_00"}
    assert {w["speaker"] for w in columns["words"][30:]} == {"2:SPEAKER_00"}
