from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import av
import numpy as np
import pytest

from mediamill.tasks.media import pydub_effects
from mediamill.tasks.media.audio_info import PreparedAudio
from mediamill.tasks.media.prepare import prepare_audio
from tests.helpers.audio_files import LIMITS, to_wav, tone

SHA = "0" * 64
QUIET = np.zeros(16_000, np.int16)


def prepare_samples(
    tmp_path: Path, samples: np.ndarray, *, normalize: bool = False, trim: bool = False
) -> PreparedAudio:
    path = tmp_path / "x.wav"
    path.write_bytes(to_wav(samples))
    return prepare_audio(path, SHA, LIMITS, tmp_path, normalize=normalize, trim=trim)


def decode_samples(clip: PreparedAudio) -> np.ndarray:
    payload = clip.input.payload
    assert payload is not None
    assert payload.data is not None
    with av.open(io.BytesIO(payload.data), "r") as file:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)])


def test_trim_cuts_silence_off_both_ends_and_says_where_it_began(tmp_path: Path) -> None:
    clip = prepare_samples(tmp_path, np.concatenate([QUIET, tone(2), QUIET, QUIET]), trim=True)
    assert clip.input.recipe == "flac-16000-mono-trim"
    assert 0.7 < clip.input.start / 16_000 < 1.0
    assert Decimal(2) < clip.seconds < Decimal("2.5")
    assert clip.info.seconds == 5
    assert len(decode_samples(clip)) == clip.seconds * 16_000


def test_silence_between_words_stays(tmp_path: Path) -> None:
    clip = prepare_samples(tmp_path, np.concatenate([tone(1), QUIET, QUIET, tone(1)]), trim=True)
    assert clip.seconds == 4
    assert clip.input.start == 0


@pytest.mark.parametrize("samples", [np.zeros(32_000, np.int16), tone(2)])
def test_a_clip_without_silence_at_its_ends_is_not_trimmed(tmp_path: Path, samples: np.ndarray) -> None:
    assert prepare_samples(tmp_path, samples, trim=True).seconds == 2


@pytest.mark.parametrize("level", [0.005, 0.05, 0.9])
def test_normalize_brings_clips_to_one_loudness(tmp_path: Path, level: float) -> None:
    clip = prepare_samples(tmp_path, tone(1, level=level), normalize=True)
    assert clip.input.recipe == "flac-16000-mono-normalize"
    samples = decode_samples(clip).astype(np.float64)
    loudness = 20 * np.log10(np.sqrt((samples**2).mean()) / 32768)
    assert abs(loudness - pydub_effects.TARGET_LOUDNESS_DB) < 0.5


def test_normalize_does_not_clip_and_leaves_silence(tmp_path: Path) -> None:
    peaky = tone(1, level=0.01)
    peaky[8000:8003] = 20_000
    assert (
        np.abs(decode_samples(prepare_samples(tmp_path, peaky, normalize=True))).max()
        <= 32767 * 10 ** (-pydub_effects.HEADROOM_DB / 20) + 1
    )
    assert not decode_samples(prepare_samples(tmp_path, QUIET, normalize=True)).any()


def test_trim_and_normalize_are_both_in_the_recipe(tmp_path: Path) -> None:
    clip = prepare_samples(tmp_path, np.concatenate([QUIET, tone(1)]), trim=True, normalize=True)
    assert clip.input.recipe == "flac-16000-mono-trim-normalize"


def test_long_clips_are_left_unchanged_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydub_effects, "MAX_SECONDS", 2)
    samples = np.concatenate([QUIET, tone(3)])
    clip = prepare_samples(tmp_path, samples, trim=True)
    assert (clip.input.recipe, clip.input.start, clip.seconds) == ("flac-16000-mono", 0, Decimal(4))
    assert clip.warnings[0].startswith("not shaped")
    assert np.array_equal(decode_samples(clip), samples)
