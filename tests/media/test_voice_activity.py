from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.media.audio_info import VoiceActivity
from mediamill.tasks.media.encode import to_blocks, to_mono
from mediamill.tasks.media.endpoint_fit import CutOptions
from mediamill.tasks.media.prepare import prepare_audio
from mediamill.tasks.media.probe import read_audio_info
from mediamill.tasks.media.segmenter import Segmenter
from mediamill.tasks.media.voice_activity import VoiceActivityDetector, detect_voice_activity
from tests.helpers.audio_files import LIMITS, syllables, to_wav, tone
from tests.helpers.hypothesis_profile import make_repeatable
from tests.helpers.paths import OUTSIDE_SAMPLES, RECORDINGS, needs_outside_samples

SAMPLE_RECORDINGS = sorted((RECORDINGS).iterdir())
NOISE = np.random.default_rng(3).normal(0, 1, 16_000 * 12)


def detect(samples: np.ndarray) -> VoiceActivity:
    activity = VoiceActivityDetector()
    activity.feed(samples.astype(np.int16))
    return activity.detect()


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(16_000 * 12),
        NOISE * 1,
        NOISE * 40,
        NOISE * 4000,
        tone(12),
        tone(12) * 0.01 + 3000,
        8000 * np.sin(2 * np.pi * 50 * np.arange(16_000 * 12) / 16_000),
        np.cumsum(NOISE),
    ],
    ids=["silence", "dither", "hiss", "loud noise", "tone", "soft tone off centre", "hum", "rumble"],
)
def test_steady_sounds_are_no_activity(samples: np.ndarray) -> None:
    assert detect(samples).seconds < 0.3


@pytest.mark.parametrize("level", [0.9, 0.2, 0.01])
def test_syllables_are_activity_at_any_loudness(level: float) -> None:
    found = detect(syllables(10, level))
    assert found.seconds == pytest.approx(10, abs=1)


def test_speech_in_noise_is_located() -> None:
    samples = NOISE * 100
    samples[16_000 * 4 : 16_000 * 8] += syllables(4)
    found = detect(samples)
    assert found.seconds == pytest.approx(4, abs=1)
    assert found.count_seconds_between(4, 8) == found.seconds
    assert found.count_seconds_between(0, 4) == found.count_seconds_between(8, 12) == 0


def test_clicks_are_no_activity() -> None:
    samples = np.zeros(16_000 * 10)
    samples[::8000] = 30_000
    assert detect(samples).seconds == 0


def test_empty_and_very_short_audio_has_no_activity() -> None:
    assert detect(np.zeros(0)).seconds == 0
    assert detect(np.zeros(319)).by_second == b""
    assert len(detect(np.zeros(16_000 * 3)).by_second) == 3


@make_repeatable()
@given(st.lists(st.integers(0, 40_000), max_size=12), st.integers(0, 5))
def test_the_size_of_blocks_does_not_change_the_activity(sizes: list[int], seed: int) -> None:
    samples = syllables(6, seed=seed)
    activity, at = VoiceActivityDetector(), 0
    for size in [*sizes, len(samples)]:
        activity.feed(samples[at : at + size])
        at += size
    assert activity.detect() == detect(samples)


@pytest.mark.parametrize("path", SAMPLE_RECORDINGS, ids=lambda path: path.name)
def test_sample_recordings_are_mostly_active(path: Path) -> None:
    found = detect_voice_activity(path)
    assert found is not None
    assert 0.6 <= found.seconds / float(read_audio_info(path).seconds) <= 1


@needs_outside_samples
def test_shared_recordings_of_speech_are_active() -> None:
    with (OUTSIDE_SAMPLES / "transcripts.csv").open(encoding="utf-8") as file:
        paths = [OUTSIDE_SAMPLES / row["file"] for row in csv.DictReader(file)]
    shares = {}
    for path in paths:
        found = detect_voice_activity(path)
        assert found is not None
        shares[path.name] = found.seconds / float(read_audio_info(path).seconds)
    assert len(shares) > 20
    assert {name: share for name, share in shares.items() if share < 0.4} == {}


@pytest.mark.parametrize("form", ["as it is", "converted", "plain"])
def test_activity_is_detected_in_every_way_of_preparing(form: str, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = syllables(8)
    if form == "converted":
        path.write_bytes(to_wav(samples))
        clip = prepare_audio(path, "0" * 64, LIMITS, tmp_path, normalize=True)
    elif form == "plain":
        path.write_bytes(to_wav(samples))
        clip = prepare_audio(path, "0" * 64, LIMITS, tmp_path)
    else:
        path = next(p for p in SAMPLE_RECORDINGS if p.suffix == ".flac")
        clip = prepare_audio(path, "0" * 64, LIMITS, tmp_path)
        samples = np.concatenate(list(decode_blocks(path)))
    assert clip.voice_activity is not None
    assert clip.voice_activity.seconds == pytest.approx(detect(samples).seconds, abs=0.2)


def decode_blocks(path: Path) -> list[np.ndarray]:
    from mediamill.tasks.media.decode import open_recording

    with open_recording(path, path.read_bytes()[:4096]) as recording:
        return list(to_blocks(to_mono(recording.decode_frames())))


@pytest.mark.parametrize("overlap", [0, 2])
def test_overlaps_of_pieces_are_counted_once(overlap: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(to_wav(syllables(40)))
    pieces = Segmenter(path, "0" * 64, LIMITS, tmp_path, CutOptions(10, overlap))
    taken = 0
    while pieces.take_piece() is not None:
        taken += 1
    assert taken > 3
    assert pieces.voice_activity == detect_voice_activity(path)
    pieces.close()


def test_very_short_and_undecodable_files_have_no_activity(tmp_path: Path) -> None:
    short, text = tmp_path / "short.wav", tmp_path / "text.wav"
    short.write_bytes(to_wav(syllables(0.5)))
    text.write_text("no sound at all")
    assert prepare_audio(short, "0" * 64, LIMITS, tmp_path).voice_activity is None
    assert detect_voice_activity(text) is None
