"""Channels are judged before they are mixed: what would be lost is taken from one of them, and told."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from mediamill.tasks.media.encode import to_blocks, to_frame, to_mono
from mediamill.tasks.media.mixdown import MixdownReport
from mediamill.tasks.media.prepare import prepare_audio
from mediamill.tasks.wire import AudioLimits
from tests.helpers.audio_files import LIMITS, syllables, to_wav

SPEECH = syllables(6)
SILENT = np.zeros_like(SPEECH)
QUIET = (SPEECH // 200).astype(np.int16)


def mix(channels: list[np.ndarray], layout: str, rate: int = 16_000) -> tuple[np.ndarray, MixdownReport]:
    interleaved = np.ascontiguousarray(np.stack(channels, axis=1).reshape(-1))
    size = 960 * len(channels)
    frames = [to_frame(interleaved[n : n + size], rate, layout) for n in range(0, len(interleaved), size)]
    report = MixdownReport()
    return np.concatenate(list(to_blocks(to_mono(iter(frames), report)))), report


def measure_level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples.astype(float)))))


@pytest.mark.parametrize(
    ("channels", "layout", "taken"),
    [
        ([SPEECH, -SPEECH], "stereo", {"FL"}),
        ([SPEECH // 2, -SPEECH], "stereo", {"FR"}),
        ([SPEECH, SPEECH], "stereo", set()),
        ([SPEECH, SILENT], "stereo", set()),
        ([SILENT, SPEECH], "stereo", set()),
        ([QUIET, -SPEECH + QUIET], "stereo", set()),
        ([SILENT, SILENT, SILENT, SPEECH, SILENT, SILENT], "5.1", {"LFE"}),
        ([SILENT, SILENT, SPEECH, SILENT, SILENT, SILENT], "5.1", set()),
        ([SPEECH, -SPEECH, SILENT, SILENT, SILENT, SILENT], "5.1", {"FL"}),
    ],
)
def test_speech_is_never_lost_in_the_mix(channels: list[np.ndarray], layout: str, taken: set[str]) -> None:
    mixed, report = mix(channels, layout)
    assert set(report.samples) == taken
    assert measure_level(mixed) > 0.15 * measure_level(SPEECH)
    assert len(mixed) == pytest.approx(len(SPEECH), abs=2)
    assert bool(taken) <= bool(report.warnings)


@pytest.mark.parametrize(
    ("channels", "layout", "live"),
    [
        ([SPEECH, SILENT], "stereo", "FL"),
        ([SILENT + 40, SPEECH], "stereo", "FR"),
        ([SILENT, SILENT, SPEECH, SILENT, SILENT, SILENT], "5.1", "FC"),
        ([SPEECH, SPEECH], "stereo", None),
        ([SPEECH, QUIET * 4], "stereo", None),
        ([SILENT, SILENT], "stereo", None),
        ([SPEECH], "mono", None),
        ([np.concatenate([SPEECH, SILENT]), np.concatenate([SILENT, SPEECH])], "stereo", None),
    ],
)
def test_a_recording_with_one_live_channel_is_mixed_with_a_warning(
    channels: list[np.ndarray], layout: str, live: str | None
) -> None:
    _, report = mix(channels, layout)
    assert not report.ranges
    what = f"channels: only {live} of {len(channels)} holds sound; "
    assert [text.startswith(what) for text in report.warnings] == ([True] if live else [])


def test_speech_of_opposite_phase_is_not_lost_in_noise_that_has_none() -> None:
    noise = np.random.default_rng(1).normal(0, 1, (2, len(SPEECH))) * measure_level(SPEECH) * 0.45  # -7 dB
    left, right = ((SPEECH * sign + noise[n]).astype(np.int16) for n, sign in enumerate((1, -1)))
    mixed, report = mix([left, right], "stereo")
    assert report.ranges
    loud = slice(16_000, 80_000)
    assert abs(np.corrcoef(mixed[loud], SPEECH[loud])[0, 1]) > 0.5


def make_music(rng: np.random.Generator) -> np.ndarray:
    """Six tones that swell."""
    at = np.arange(len(SPEECH)) / 16_000
    music = np.zeros(len(SPEECH))
    for hertz in (220, 277, 330, 440, 880, 1320):
        swell = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.7, 2) * at)
        music += np.sin(2 * np.pi * (hertz * at + rng.random())) * swell
    return music


def scale(samples: np.ndarray, level: float) -> np.ndarray:
    return samples * level / measure_level(samples)


@pytest.mark.parametrize("loudness_db", [-10, 0, 6])
@pytest.mark.parametrize("cover", ["music", "noise"])
def test_opposite_speech_under_louder_sound_in_phase_is_sent(loudness_db: float, cover: str) -> None:
    rng = np.random.default_rng(3)
    speech = scale(SPEECH.astype(float), 1000)
    hiss = np.convolve(rng.normal(0, 1, len(SPEECH)), np.ones(40) / 40, "same")  # as most noise, louder below
    sound = scale(make_music(rng) if cover == "music" else hiss, 1000 * 10 ** (loudness_db / 20))
    mixed, report = mix([(sound + speech).astype(np.int16), (sound - speech).astype(np.int16)], "stereo")
    assert sum(report.samples.values()) > 0.6 * len(SPEECH)
    expected = 1 / np.sqrt(1 + 10 ** (loudness_db / 10))
    assert abs(np.corrcoef(mixed, SPEECH[: len(mixed)])[0, 1]) > 0.8 * expected
    assert report.warnings[0].startswith("channels: the 2 channels lose their sound when they are mixed")


@pytest.mark.parametrize("kind", ["independent noise", "two voices", "two microphones", "wide music"])
def test_what_differs_between_two_channels_is_mixed(kind: str) -> None:
    rng = np.random.default_rng(4)
    one, other = (scale(rng.normal(0, 1, len(SPEECH)), 1000) for _ in range(2))
    speech, music = scale(SPEECH.astype(float), 2000), make_music(rng)
    late = np.concatenate([np.zeros(9), speech[:-9]])  # 19 cm
    channels = {
        "independent noise": (one, other),
        "two voices": (speech, scale(np.roll(SPEECH, 24_000).astype(float), 2000)),
        "two microphones": (speech + one / 4, 0.7 * late + other / 4),
        "wide music": (scale(music, 2000), scale(music, 1000) + scale(make_music(rng), 500)),
    }[kind]
    mixed, report = mix([channel.astype(np.int16) for channel in channels], "stereo")
    assert sum(report.samples.values()) < 0.05 * len(mixed)


def test_only_the_seconds_that_would_be_lost_are_taken_from_one_channel() -> None:
    right = np.concatenate([SPEECH[:32_000], -SPEECH[32_000:64_000], SPEECH[64_000:]])
    mixed, report = mix([SPEECH, right], "stereo")
    assert np.array_equal(mixed[:27_000], SPEECH[:27_000])
    assert measure_level(mixed[36_000:60_000]) > 0.9 * measure_level(SPEECH[36_000:60_000])
    assert all(start >= 28_800 and end <= 69_000 for start, end in report.ranges)
    assert report.warnings[0].startswith("channels: the 2 channels lose their sound when they are mixed, so for ")


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_the_length_stays_that_of_the_mix(rate: int) -> None:
    mixed, _ = mix([SPEECH, -SPEECH], "stereo", rate)
    plain, _ = mix([SPEECH, SPEECH], "stereo", rate)
    assert len(mixed) == len(plain)


def test_rumble_in_the_bass_channel_does_not_replace_a_quiet_film() -> None:
    rumble = (np.sin(np.arange(len(SPEECH)) * 2 * np.pi * 40 / 16_000) * 12_000).astype(np.int16)
    _, report = mix([QUIET, QUIET, SILENT, rumble, SILENT, SILENT], "5.1")
    assert not report.ranges


@pytest.mark.parametrize(("seconds", "recipe"), [(6, "flac-16000-mono-channel"), (0.6, "flac-16000-mono-channel")])
def test_a_wav_of_opposite_phase_is_not_sent_as_it_is(tmp_path: Path, seconds: float, recipe: str) -> None:
    left = SPEECH[: int(seconds * 16_000)]
    path = tmp_path / "x.wav"
    path.write_bytes(to_wav(np.stack([left, -left], axis=1).reshape(-1), channels=2))
    clip = prepare_audio(path, "0" * 64, LIMITS, tmp_path)
    assert clip.input.recipe == recipe
    assert "only channel 1 was taken" in clip.warnings[0]
    if clip.voice_activity is not None and seconds > 1:
        assert clip.voice_activity.seconds > 2
    path.write_bytes(to_wav(np.stack([left, left], axis=1).reshape(-1), channels=2))
    assert prepare_audio(path, "0" * 64, LIMITS, tmp_path).input.recipe == "as-is"


def test_a_flac_of_opposite_phase_is_not_sent_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    with av.open(str(path), "w", format="flac") as target:
        stream = target.add_stream("flac", rate=16_000, layout="stereo", format="s16")
        interleaved = np.stack([SPEECH, -SPEECH], axis=1).reshape(-1)
        for n in range(0, len(interleaved), 8192):
            target.mux(stream.encode(to_frame(interleaved[n : n + 8192], 16_000, "stereo")))
        target.mux(stream.encode(None))
    clip = prepare_audio(path, "0" * 64, AudioLimits(frozenset({"flac"}), 2**24), tmp_path)
    assert clip.input.recipe == "flac-16000-mono-channel"
    assert clip.voice_activity is not None
    assert clip.voice_activity.seconds > 2
