"""Which stretches of a chunk are heard again, how many, and what is believed of a second hearing."""

from __future__ import annotations

from types import SimpleNamespace

from mediamill.tasks.local.asr_engines.missed_speech import RehearingBudget, find_missed_speech, keep_sure_segments
from mediamill.tasks.local.asr_engines.speech_chunks import RATE, Span


def spans(*seconds: tuple[float, float]) -> list[Span]:
    return [(round(start * RATE), round(end * RATE)) for start, end in seconds]


def test_speech_without_words_is_found_between_words_before_the_first_and_after_the_last() -> None:
    speech = spans((0, 4), (5, 9), (10, 28))
    words = spans((4.5, 9), (10, 12), (20, 22))
    assert find_missed_speech(speech, words, 28 * RATE) == spans((12, 20), (22, 28), (0, 4.2))


def test_pauses_short_sounds_and_whole_chunks_are_not_heard_again() -> None:
    words = spans((1, 2), (22, 23))
    assert not find_missed_speech(spans((1, 3.5), (10, 10.4), (22, 23)), words, 23 * RATE)
    assert not find_missed_speech(spans((0, 23)), [], 23 * RATE)
    assert not find_missed_speech([], [], 23 * RATE)
    slivers = spans(*((2 + n / 2, 2.05 + n / 2) for n in range(38)))
    assert not find_missed_speech(slivers, words, 23 * RATE)


def test_a_second_hearing_adds_at_most_a_third_of_the_work() -> None:
    budget = RehearingBudget()
    taken = 0
    for _ in range(100):
        budget.add_chunk()
        while budget.take():
            taken += 1
    assert 29 <= taken <= 31


def test_a_doubtful_second_hearing_is_left_out() -> None:
    def segment(log_probability: float, no_speech: float = 0.1, compression: float = 1.4) -> SimpleNamespace:
        return SimpleNamespace(avg_logprob=log_probability, no_speech_prob=no_speech, compression_ratio=compression)

    sure = segment(-0.3)
    assert keep_sure_segments([segment(-1.1), sure, segment(-0.3, no_speech=0.7), segment(-0.3, compression=3)]) == [
        sure
    ]
