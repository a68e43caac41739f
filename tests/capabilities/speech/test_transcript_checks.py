from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.capabilities.speech.transcript_checks import (
    FLAG_MEANINGS,
    TranscriptFacts,
    _has_repeat,
    find_flags,
    has_loop,
    has_untranscribed_speech,
    is_language_mismatch,
)
from mediamill.tasks.capabilities.speech.writing_systems import count_words
from mediamill.tasks.media.audio_info import VoiceActivity
from mediamill.tasks.media.probe import read_audio_info
from mediamill.tasks.media.voice_activity import detect_voice_activity
from tests.helpers.hypothesis_profile import make_repeatable
from tests.helpers.paths import OUTSIDE_SAMPLES, RECORDINGS, SAMPLES


def build_activity(seconds: int, share: float = 1.0) -> VoiceActivity:
    return VoiceActivity(bytes([round(50 * share)]) * seconds, 50)


def build_facts(
    text: str,
    seconds: float = 10.0,
    active: VoiceActivity | None = None,
    language: str | None = "en",
    expected_language: str | None = None,
    warnings: tuple[str, ...] = (),
) -> TranscriptFacts:
    return TranscriptFacts(
        text, None, language, expected_language, seconds, active or build_activity(int(seconds), 0.8), warnings
    )


def list_recordings() -> list[tuple[Path, str, str]]:
    """The project's recordings, and the outside samples where they exist: path, language, text."""
    recordings = []
    with (SAMPLES / "texts.csv").open(encoding="utf-8") as file:
        recordings += [(RECORDINGS / r["file"], "en", r["text"]) for r in csv.DictReader(file)]
    if (OUTSIDE_SAMPLES / "transcripts.csv").exists():
        with (OUTSIDE_SAMPLES / "transcripts.csv").open(encoding="utf-8") as file:
            recordings += [(OUTSIDE_SAMPLES / r["file"], r["lang"], r["text"]) for r in csv.DictReader(file)]
    return recordings


@pytest.mark.parametrize(
    ("path", "language", "text"), list_recordings(), ids=lambda v: v.name if isinstance(v, Path) else ""
)
def test_good_transcripts_raise_no_flag(path: Path, language: str, text: str) -> None:
    seconds, active = float(read_audio_info(path).seconds), detect_voice_activity(path)
    assert find_flags(TranscriptFacts(text, None, language, language, seconds, active)) == []
    assert find_flags(TranscriptFacts(text, None, language, None, seconds, active)) == []
    assert find_flags(TranscriptFacts("", None, language, language, seconds, active)) == ["speech_without_text"]


GOOD = "The quick brown fox jumps over the lazy dog and then it sleeps"
TRANSCRIPTS = [
    ("", 10, build_activity(10, 0), []),
    ("...", 10, build_activity(10, 0), []),
    (GOOD, 10, build_activity(10, 0.8), []),
    ("Yes.", 10, build_activity(10, 0.1), []),
    ("", 10, build_activity(10, 0.8), ["speech_without_text"]),
    ("[ ... ]", 10, build_activity(10, 0.8), ["speech_without_text"]),
    ("", 3600, VoiceActivity(bytes(3594) + bytes([50]) * 6, 50), ["speech_without_text"]),
    ("", 3600, VoiceActivity(bytes(3598) + bytes([50]) * 2, 50), []),
    ("Thanks for watching!", 10, build_activity(10, 0), ["text_without_speech"]),
    (GOOD * 8, 10, build_activity(10, 0.8), ["too_many_words"]),
    ("Hello there", 30, build_activity(30, 0.8), ["too_few_words"]),
    ("Hello there", 0.4, build_activity(0), []),
]


@pytest.mark.parametrize(("text", "seconds", "active", "flags"), TRANSCRIPTS)
def test_flags_of_text_against_voice_activity(
    text: str, seconds: float, active: VoiceActivity, flags: list[str]
) -> None:
    assert [f for f in find_flags(build_facts(text, seconds, active)) if f != "repetition"] == flags


@pytest.mark.parametrize(
    ("text", "looped"),
    [
        (" ".join(["no"] * 5), False),
        (" ".join(["no"] * 8), True),
        ("Thank you. " * 3, False),
        ("Thank you. " * 6, True),
        ("I said go, " * 4, True),
        ("We will fight on the beaches, we will fight on the landing grounds, we will fight in the hills", False),
        ("Ha ha ha ha ha ha! he laughed, and laughed, and laughed, and laughed.", False),
        ("谢谢观看" * 4, True),
        ("谢谢观看请订阅我们的频道我们明天再见", False),
        ("ขอบคุณ" * 4, True),
        ("Es war einmal ein König, der hatte eine Tochter. " * 3, False),
        ("Es war einmal ein König, der hatte eine Tochter. " * 4, True),
    ],
)  # fmt: skip
def test_repeated_words_and_phrases_are_loops(text: str, looped: bool) -> None:
    assert has_loop(text) == looped
    assert ("repetition" in find_flags(build_facts(text, 600))) == looped


words = st.lists(st.integers(0, 10**6).map(str), unique=True, max_size=60)


@make_repeatable()
@given(st.lists(st.sampled_from("ab"), max_size=40), st.integers(1, 6), st.integers(1, 12))
def test_repeats_are_found_as_by_a_full_search(tokens: list[str], period: int, min_matches: int) -> None:
    longest = run = 0
    for earlier, later in zip(tokens, tokens[period:], strict=False):
        run = run + 1 if earlier == later else 0
        longest = max(longest, run)
    assert _has_repeat(tokens, period, min_matches) == (longest >= min_matches)


@make_repeatable()
@given(words)
def test_distinct_words_are_no_loop(distinct: list[str]) -> None:
    assert not has_loop(" ".join(distinct))
    assert not has_loop(" ".join(distinct * 2))


@make_repeatable()
@given(words, words.filter(lambda w: len(w) >= 3), words, st.integers(4, 9))
def test_a_phrase_said_four_times_in_a_row_is_a_loop_anywhere(
    before: list[str], phrase: list[str], after: list[str], times: int
) -> None:
    assert has_loop(" ".join([*before, *phrase * times, *after]))


@pytest.mark.parametrize(
    ("text", "language", "expected_language", "is_mismatch"),
    [
        ("Guten Morgen zusammen", "de", "de", False),
        ("Guten Morgen zusammen", "de", "en", True),
        ("God morgen", "nn", "no", False),
        ("Доброе утро, коллеги", None, "ru", False),
        ("Dobroe utro, kollegi", None, "ru", True),
        ("Доброе утро, коллеги", "en", None, True),
        ("Dobro jutro, kolege, svima", "sr", "sr", False),
        ("Добро јутро, колеге", "hr", "sr", False),
        ("おはようございます、皆さん", "ja", "ja", False),
        ("Good morning, everyone", "ja", "ja", True),
        ("AI と API を使う方法について説明します", "ja", "ja", False),
        ("안녕하세요 여러분 반갑습니다", "ko", None, False),
        ("早上好各位同事们", "zh", "zh", False),
        ("صباح الخير يا زملاء", "ar", "ar", False),
        ("OK", "ru", "ru", False),
        ("2026, 14:30", "ru", "ru", False),
        ("The train to the city leaves at nine in the morning and arrives before noon.", None, "en", False),
        ("The train to the city leaves at nine in the morning and arrives before noon.", None, "de", True),
        ("The train to the city leaves at nine in the morning and arrives before noon.", "de", "de", True),
        ("The train leaves at nine", None, "de", False),
        ("Vi skal møte vennene våre på stasjonen etter middag i kveld, sa hun.", None, "nn", False),
        ("Anything at all here", "xx", None, False),
        ("Anything at all here", None, None, False),
    ],
)
def test_a_wrong_language_or_script_is_a_mismatch(
    text: str, language: str | None, expected_language: str | None, is_mismatch: bool
) -> None:
    assert is_language_mismatch(text, language, expected_language) == is_mismatch
    assert ("language_mismatch" in find_flags(build_facts(text, 10, None, language, expected_language))) == is_mismatch


def test_warnings_of_damage_become_flags() -> None:
    cut = "truncated: 12.1 s of 40.0 s could be decoded"
    assert find_flags(build_facts(GOOD, warnings=(cut, "tracks: the first of 2 audio tracks was taken"))) == [
        "truncated"
    ]
    assert find_flags(build_facts(GOOD, warnings=("damaged: 9 of 40 packets could not be decoded", cut))) == [
        "truncated",
        "damaged",
    ]


def test_without_voice_activity_only_the_text_is_checked() -> None:
    assert find_flags(TranscriptFacts("", None, "en", None, 10.0, None)) == []
    assert find_flags(TranscriptFacts(GOOD * 100, None, "en", None, None, None)) == ["repetition"]


def test_a_stretch_of_speech_without_text_is_found_when_there_are_times() -> None:
    parts = [{"start": float(n), "end": n + 0.5} for n in range(60)]
    later = [{**part, "start": part["start"] + 130, "end": part["end"] + 130} for part in parts]
    assert has_untranscribed_speech([*parts, *later], build_activity(190))
    assert not has_untranscribed_speech(
        [*parts, *later], VoiceActivity(bytes([50]) * 60 + bytes(70) + bytes([50]) * 60, 50)
    )
    assert has_untranscribed_speech(parts, build_activity(130))
    assert has_untranscribed_speech(later, build_activity(190))
    assert not has_untranscribed_speech(parts, build_activity(110))
    assert not has_untranscribed_speech([{"start": None, "end": None}], build_activity(600))


@pytest.mark.parametrize(
    ("text", "count"),
    [("it's  two", 2), ("", 0), ("— …", 0), ("你好世界", 2), ("日本 API", 2), ("ok, 3.5 x", 4), ("สวัสดี", 1.2)],
)
def test_words_are_counted_in_every_script(text: str, count: float) -> None:
    assert count_words(text) == pytest.approx(count)


PARTS = st.lists(st.fixed_dictionaries({"start": st.none() | st.floats(0, 1e4), "end": st.none() | st.floats(0, 1e4)}))


@make_repeatable()
@given(
    st.text(),
    st.none() | PARTS,
    st.none() | st.sampled_from(["en", "ru", "zh", "yue", "q", ""]),
    st.none() | st.sampled_from(["en", "ru", "th"]),
    st.none() | st.floats(0, 1e6),
    st.none() | st.binary(max_size=50).map(lambda b: VoiceActivity(bytes(n % 51 for n in b), 50)),
    st.lists(st.text(), max_size=3),
)
def test_any_transcript_gets_known_flags_in_their_order(
    text: str,
    parts: list[dict[str, float]] | None,
    language: str | None,
    expected_language: str | None,
    seconds: float | None,
    active: VoiceActivity | None,
    warnings: list[str],
) -> None:
    flags = find_flags(TranscriptFacts(text, parts, language, expected_language, seconds, active, warnings))
    assert flags == [flag for flag in FLAG_MEANINGS if flag in flags]
