"""A second opinion without a reference: which settings it chooses, and when the second transcript is clearly better."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.capabilities.speech.recognition_params import TranscribeParams
from mediamill.tasks.capabilities.speech.second_opinion import (
    DOUBTS,
    TranscriptOpinion,
    measure_repetition,
)
from tests.helpers.hypothesis_profile import make_repeatable
from tests.helpers.paths import SAMPLES

OPINION = TranscriptOpinion()
SPOKEN = "We are going to meet our friends at the station after dinner. Please leave the keys on the kitchen table."


def judge(text: str, *flags: str, confidence: float | None = None, unheard: float = 0.0) -> Any:
    words = [{"word": word, "confidence": confidence} for word in text.split()]
    return OPINION.judge({"text": text, "words": words, "flags": flags}, {"unheard_share": unheard})


@make_repeatable()
@given(
    doubts=st.sets(st.sampled_from(DOUBTS), min_size=1),
    seconds=st.none() | st.floats(0.1, 20_000),
    temperature=st.sampled_from([None, 0.0, 0.2, 0.4, 1.0]),
    prompt=st.sampled_from([None, "names"]),
    diarize=st.booleans(),
    trim=st.booleans(),
    piece_seconds=st.none() | st.floats(5, 100),
)
def test_the_second_request_is_always_another_one(doubts: set[str], seconds: float | None, **given_params: Any) -> None:
    params = TranscribeParams.model_validate(given_params)
    settings = OPINION.choose_settings(params, sorted(doubts), seconds)
    changed = settings.params.model_dump()
    assert changed["temperature"] != params.temperature
    assert changed["prompt"] is None
    assert TranscribeParams.model_validate(changed) == settings.params, "what it sets is allowed"
    assert not params.diarize or changed["piece_seconds"] == params.piece_seconds, "speakers need the whole"
    assert settings.words


def test_usual_text_does_not_count_as_repetition_and_a_loop_does() -> None:
    with (SAMPLES / "texts.csv").open(newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    assert [measure_repetition(text) for text in (*texts, " ".join(texts), "")] == [0] * (len(texts) + 2)
    assert measure_repetition(" ".join(texts) + " thank you very much" * 40) > 0.5


@pytest.mark.parametrize(
    ("first", "second", "is_better", "why"),
    [
        (judge("Thank you. " * 30, "repetition"), judge(SPOKEN), True, "no repetition"),
        (judge("Thank you. " * 30, "repetition", confidence=0.99), judge(SPOKEN, confidence=0.6), True, "score"),
        (judge(SPOKEN[:20], "speech_without_text", unheard=0.8), judge(SPOKEN), True, "no speech_without_text"),
        (judge(SPOKEN, "text_without_speech", confidence=0.5), judge("", confidence=None), False, "no words"),
        (judge(SPOKEN, "text_without_speech", confidence=0.5), judge(SPOKEN, confidence=0.52), False, "not lower"),
        (judge(SPOKEN, "text_without_speech", confidence=0.5), judge(SPOKEN, confidence=0.7), True, "score 0.30"),
        (
            judge(SPOKEN, "text_without_speech", confidence=0.43),
            judge(SPOKEN, "text_without_speech", confidence=0.58),
            False,
            "not lower by 0.2",
        ),
        (judge(SPOKEN, "too_few_words", confidence=0.9), judge(SPOKEN, confidence=0.7), False, "less sure"),
        (judge(SPOKEN, "too_few_words"), judge(SPOKEN[:40]), False, "fewer words"),
        (judge(SPOKEN, "too_few_words"), judge(SPOKEN, "language_mismatch"), False, "has language_mismatch"),
        (judge(SPOKEN, "language_mismatch"), judge(SPOKEN), True, "no language_mismatch"),
    ],
)
def test_the_first_stays_unless_the_second_is_clearly_better(
    first: Any, second: Any, is_better: bool, why: str
) -> None:
    found, words = OPINION.compare(first, second)
    assert (found, why in words) == (is_better, True), words


def test_what_says_nothing_of_certainty_is_compared_without_it() -> None:
    sure, silent = judge(SPOKEN, "too_few_words", confidence=0.2), judge(SPOKEN, "too_few_words")
    assert not OPINION.compare(sure, silent)[0]
    assert not OPINION.compare(silent, sure)[0]


def test_log_probabilities_count_where_words_state_nothing() -> None:
    columns = {"text": SPOKEN, "words": None, "flags": ()}
    assert OPINION.judge(columns, {"avg_logprob": -0.5}).certainty == pytest.approx(0.6065, abs=1e-4)
    assert OPINION.judge(columns, {}).certainty is None
