"""Parts of speech in one file: complete, of the exact length, and without a click where they meet."""

from __future__ import annotations

import io
import wave
from decimal import Decimal
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediamill.tasks.errors import BadReply, StorageError
from mediamill.tasks.media.concat import FADE_MS, AudioJoiner, AudioPart, JoinedAudio, write_unchanged
from mediamill.tasks.media.encoded_audio import count_seconds
from tests.helpers.hypothesis_profile import count_examples

RATE = 24_000
FORMATS = ("wav", "mp3", "flac", "opus")


def loud_tone(samples: int, rate: int = RATE, pitch: float = 220.0) -> bytes:
    """A tone that begins and ends at its loudest, so that a cut without a fade is a jump of 60,000."""
    times = np.arange(samples) / rate
    return bytes((np.cos(2 * np.pi * pitch * times) * 30_000).astype("<i2").tobytes())


def to_wav(pcm: bytes, rate: int = RATE, channels: int = 1) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)
    return buffer.getvalue()


def join_parts(path: Path, file_format: str, *parts: AudioPart, rate: int | None = None) -> JoinedAudio:
    with AudioJoiner(path, file_format, rate) as joiner:
        for n, part in enumerate(parts):
            joiner.add(part, first=n == 0, last=n == len(parts) - 1)
        return joiner.finish()


def decode_samples(path: Path) -> Any:
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono")
        frames = [f.to_ndarray()[0] for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    return np.concatenate(frames).astype(np.int64)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("rate", [None, 16_000])
def test_every_format_decodes_to_its_length(form: str, rate: int | None, tmp_path: Path) -> None:
    path = tmp_path / f"a.{form}"
    joined = join_parts(
        path, form, AudioPart(to_wav(loud_tone(RATE)), "wav", 0), AudioPart(loud_tone(RATE), "pcm", RATE), rate=rate
    )
    assert float(joined.seconds) == pytest.approx(2, abs=0.001)
    assert joined.rate == (rate or RATE)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        assert stream.codec_context.name.removesuffix("float") in {"pcm_s16le", "mp3", "flac", "opus", "libopus"}
        samples = sum(f.samples for f in container.decode(audio=0))
        assert samples / stream.codec_context.sample_rate == pytest.approx(2, abs=0.1)


@settings(max_examples=count_examples(25), deadline=None)
@given(st.lists(st.integers(RATE // 100, RATE // 2), min_size=2, max_size=4))
def test_joins_have_no_click(tmp_path_factory: pytest.TempPathFactory, lengths: list[int]) -> None:
    path = tmp_path_factory.mktemp("joined") / "a.wav"
    joined = join_parts(path, "wav", *(AudioPart(loud_tone(n), "pcm", RATE) for n in lengths))
    decoded = decode_samples(path)
    assert len(decoded) == sum(lengths) == round(joined.seconds * RATE)
    smooth = np.abs(np.diff(np.frombuffer(loud_tone(RATE), np.int16).astype(np.int64))).max()
    fade = FADE_MS * RATE // 1000
    steps = np.abs(np.diff(decoded))
    assert steps.max() <= smooth + 30_000 / fade * 4, "a jump where nothing jumps"
    for join in np.cumsum(lengths)[:-1]:
        assert abs(decoded[join - 1]) + abs(decoded[join]) < 1000
    assert abs(decoded[0]) == 30_000, "the first sample is unchanged"
    bare = np.concatenate([np.frombuffer(loud_tone(n), np.int16) for n in (RATE // 7, RATE // 7)]).astype(np.int64)
    assert np.abs(np.diff(bare)).max() > 4 * smooth, "a cut without a fade would be audible"


def test_parts_are_resampled_to_the_rate_and_channels_of_the_first(tmp_path: Path) -> None:
    stereo = np.repeat(np.frombuffer(loud_tone(8000, 16_000), np.int16), 2).tobytes()
    first, second = AudioPart(loud_tone(RATE), "pcm", RATE), AudioPart(to_wav(stereo, 16_000, 2), "wav", 0)
    joined = join_parts(tmp_path / "a.flac", "flac", first, second)
    assert (joined.rate, joined.channels) == (RATE, 1)
    assert float(joined.seconds) == pytest.approx(1.5, abs=0.001)


@pytest.mark.parametrize("form", FORMATS)
def test_equal_audio_gives_equal_bytes(form: str, tmp_path: Path) -> None:
    parts = AudioPart(loud_tone(RATE), "pcm", RATE), AudioPart(loud_tone(RATE), "pcm", RATE)
    for name in ("a", "b"):
        join_parts(tmp_path / name, form, *parts)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_single_part_in_the_right_format_is_written_unchanged(tmp_path: Path) -> None:
    path, data = tmp_path / "a.wav", to_wav(loud_tone(RATE))
    written = write_unchanged(AudioPart(data, "wav", 0), path, "wav", None)
    assert written is not None
    assert path.read_bytes() == data
    assert written == JoinedAudio(Decimal(1), RATE, 1, 30_000)
    path.unlink()
    for form, rate in (("mp3", None), ("wav", 16_000)):
        assert write_unchanged(AudioPart(data, "wav", 0), path, form, rate) is None
    assert not path.exists()


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\0\0\0\0"])
def test_a_wav_without_a_length_in_its_header_is_written_again(size: bytes, tmp_path: Path) -> None:
    data = bytearray(to_wav(loud_tone(RATE)))
    data[4:8] = data[40:44] = size
    part = AudioPart(bytes(data), "wav", 0)
    assert write_unchanged(part, tmp_path / "a.wav", "wav", None) is None
    assert join_parts(tmp_path / "a.wav", "wav", part).seconds == 1
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getnframes() == RATE


def test_replies_with_titles_that_are_not_utf8_are_joined_and_measured(tmp_path: Path) -> None:
    plain = to_wav(loud_tone(RATE))
    titles = b"LIST" + (16).to_bytes(4, "little") + b"INFOIART\x04\0\0\0Ren\xe9"
    titled = plain[:36] + titles + plain[36:]
    assert count_seconds(titled, "wav", RATE) == 1
    part = AudioPart(titled, "wav", 0)
    assert join_parts(tmp_path / "a.wav", "wav", part, part).seconds == 2


@pytest.mark.parametrize("form", ["wav", "mp3", "flac", "ogg"])
def test_undecodable_audio_is_a_bad_reply(form: str, tmp_path: Path) -> None:
    heads = {"wav": b"RIFF\x24\0\0\0WAVE", "mp3": b"\xff\xfb\x90\x00", "flac": b"fLaC", "ogg": b"OggS"}
    part = AudioPart(heads[form] + b"junk" * 20, form, 0)
    with pytest.raises(BadReply, match="no audio in it can be decoded"):
        join_parts(tmp_path / "a.wav", "wav", part)
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        join_parts(tmp_path / "no" / "a.mp3", "mp3", AudioPart(loud_tone(RATE), "pcm", RATE))
