"""Of several sound tracks the default one is taken, or the one that is chosen by number or language."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.prepare import prepare_audio
from mediamill.tasks.media.probe import read_audio_info
from tests.helpers.audio_files import LIMITS, to_wav, tone
from tests.helpers.timed_media import Pictures, Sound, write_timed_media

SHA = "0" * 64


@pytest.fixture(scope="module")
def dubbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sounds = [
        Sound([(0, 2)], "aac", "deu"),
        Sound([(0, 3)], "aac", "eng", default=True),
        Sound([(0, 4)], "aac", "eng", title="Director's commentary"),
    ]
    return write_timed_media(tmp_path_factory.mktemp("dubbed") / "dubbed.mkv", "matroska", sounds, Pictures())


@pytest.mark.parametrize(
    ("wanted", "number", "seconds", "recipe"),
    [
        (None, 2, 3, "flac-16000-mono-track2"),
        ("1", 1, 2, "flac-16000-mono"),
        ("3", 3, 4, "flac-16000-mono-track3"),
        ("ger", 1, 2, "flac-16000-mono"),
        ("en", 2, 3, "flac-16000-mono-track2"),
        ("German", 1, 2, "flac-16000-mono"),
        ("de-AT", 1, 2, "flac-16000-mono"),
        ("en_US", 2, 3, "flac-16000-mono-track2"),
        ("director's commentary", 3, 4, "flac-16000-mono-track3"),
        ("Commentary", 3, 4, "flac-16000-mono-track3"),
    ],
)
def test_the_default_track_or_the_chosen_one(
    tmp_path: Path, dubbed: Path, wanted: str | None, number: int, seconds: float, recipe: str
) -> None:
    clip = prepare_audio(dubbed, SHA, LIMITS, tmp_path, track=wanted)
    assert (clip.info.track.number, clip.input.recipe) == (number, recipe)
    assert float(clip.seconds) == pytest.approx(seconds, abs=0.1)
    assert f"{'the first' if number == 1 else f'number {number}'} of 3 audio tracks was taken" in clip.warnings[0]
    assert float(read_audio_info(dubbed, track=wanted).seconds) == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize(
    ("wanted", "number"), [("pt-BR", 2), ("pt_br", 2), ("pt-PT", 3), ("por", 1), ("pt", 1), ("Portuguese", 1)]
)
def test_a_language_with_a_region_is_the_same_tag_or_else_the_language(
    tmp_path: Path, wanted: str, number: int
) -> None:
    sounds = [Sound([(0, 1)], "aac", language) for language in ("por", "pt-BR", "pt-PT")]
    path = write_timed_media(tmp_path / "x.mkv", "matroska", sounds)
    assert read_audio_info(path, track=wanted).track.number == number


@pytest.mark.parametrize("wanted", ["4", "fr", "fr-CA", "comment"])
def test_a_track_that_is_not_there_is_refused_with_those_there_are(tmp_path: Path, dubbed: Path, wanted: str) -> None:
    with pytest.raises(
        BadInput, match=r"3 sound tracks \(1: deu, aac, mono; 2: eng, aac, mono; 3: eng, \"Director's"
    ) as refused:
        prepare_audio(dubbed, SHA, LIMITS, tmp_path, track=wanted)
    assert refused.value.kind == "no_such_track"


def test_a_plain_wav_has_one_track(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(to_wav(tone(2)))
    assert prepare_audio(path, SHA, LIMITS, tmp_path, track="1").input.recipe == "as-is"
    with pytest.raises(BadInput, match="one sound track"):
        prepare_audio(path, SHA, LIMITS, tmp_path, track="2")
