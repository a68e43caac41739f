"""Long texts are cut: no word is lost, doubled or moved, and the cuts are where a speaker pauses."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mediamill.tasks.capabilities.speech.sentence_split import split_text

WORDS = st.lists(
    st.sampled_from(["Dr.", "Yes.", "no,", "a", "3.14", "\u4f60\u597d\u3002", "end!", "\n\n", "x" * 30, "e\u0301" * 9])
)


def drop_white_space(text: str) -> str:
    return re.sub(r"\s+", "", text)


@given(st.text(), st.integers(1, 300))
@example("a" * 1000, 7)
@example("\U0001f469\u200d\U0001f467 " * 20, 5)
def test_nothing_is_lost_and_no_piece_is_too_long(text: str, max_characters: int) -> None:
    cut = split_text(text, max_characters)
    assert drop_white_space("".join(cut)) == drop_white_space(text)
    assert all(0 < len(piece) <= max_characters and piece == piece.strip() for piece in cut)
    assert cut == split_text(text, max_characters)


@given(WORDS, st.integers(40, 200))
def test_words_stay_whole_where_they_fit(words: list[str], max_characters: int) -> None:
    text = " ".join(words)
    spaced = [word for piece in split_text(text, max_characters) for word in piece.split()]
    glued = "".join(text.split())
    assert "".join(spaced) == glued
    if "\u3002" not in text:
        assert spaced == text.split()


@given(st.lists(st.integers(1, 8), min_size=1, max_size=60), st.integers(60, 300))
def test_sentences_are_kept_together_and_packed(lengths: list[int], max_characters: int) -> None:
    sentences = [" ".join(["word"] * n) + "." for n in lengths]
    cut = split_text(" ".join(sentences), max_characters)
    assert all(piece.endswith(".") for piece in cut)
    assert all(
        len(piece_before) + 1 + len(piece_after.split(".")[0]) + 1 > max_characters
        for piece_before, piece_after in pairwise(cut)
    )


@pytest.mark.parametrize(
    ("text", "max_characters", "cut"),
    [
        ("One two. Three four.", 12, ["One two.", "Three four."]),
        ("We met Dr. Smith today. He left.", 25, ["We met Dr. Smith today.", "He left."]),
        ('"Go!" she said. He went.', 16, ['"Go!" she said.', "He went."]),
        ("First part, second part, third", 20, ["First part,", "second part, third"]),
        (
            "\u4f60\u597d\u3002\u4e16\u754c\uff01\u518d\u89c1\u3002",
            6,
            ["\u4f60\u597d\u3002\u4e16\u754c\uff01", "\u518d\u89c1\u3002"],
        ),
        ("A paragraph of text here.\n\nB. C.", 30, ["A paragraph of text here.", "B. C."]),
        ("", 5, []),
        (" \n ", 5, []),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
    ],
)
def test_texts_are_cut_at_the_best_place(text: str, max_characters: int, cut: list[str]) -> None:
    assert split_text(text, max_characters) == cut


def test_an_accent_stays_on_its_letter() -> None:
    assert split_text("abce\u0301f", 4) == ["abc", "e\u0301f"]


@pytest.mark.parametrize("mark", [".", ":"])
def test_a_long_run_of_marks_is_cut_in_linear_time(mark: str) -> None:
    """From each mark of the run to its end would be eight thousand million steps."""
    assert [len(piece) for piece in split_text(mark * 400_000, 130_000)] == [130_000] * 3 + [10_000]


def test_a_cut_inside_a_run_of_stops_lets_the_rest_end_a_sentence() -> None:
    assert split_text("MA,1....! A,.,a b c", 7) == ["MA,1...", ".!", "A,.,a b", "c"]
