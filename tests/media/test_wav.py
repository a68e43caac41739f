from __future__ import annotations

import struct
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediamill.tasks.media.audio_info import AudioInfo, to_seconds
from mediamill.tasks.media.decode import open_recording
from mediamill.tasks.media.wav import HEAD_BYTES, parse_wav_header
from tests.helpers.audio_files import to_wav, tone, wav_header
from tests.helpers.hypothesis_profile import count_examples


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1)


def parse(data: bytes) -> AudioInfo | None:
    return parse_wav_header(data[:HEAD_BYTES], len(data))


NAMES = [b"LIST", b"fact", b"JUNK", b"bext", b"id3 ", b"smpl", b"data", b"abcd"]
INFO = st.lists(st.binary(max_size=9), max_size=3).map(
    lambda texts: (b"LIST", b"INFO" + b"".join(chunk(b"INAM", text) for text in texts))
)
EXTRAS = st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=40)) | INFO, max_size=3)


@st.composite
def wav_files(draw: st.DrawFn) -> bytes:
    """WAV files as programs write them, and nearly so."""
    rate = draw(st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]))
    channels, bits = draw(st.integers(1, 8)), draw(st.sampled_from([8, 16, 24, 32]))
    frames = draw(st.randoms(use_true_random=False)).randbytes(draw(st.integers(1, 400)) * channels * bits // 8)
    body = wav_header(0, channels=channels, rate=rate, bits=bits)[12:36]
    body += b"".join(chunk(*extra) for extra in draw(EXTRAS))
    body += chunk(b"data", frames) + b"".join(chunk(*extra) for extra in draw(EXTRAS))
    data = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body
    return data[: len(data) - draw(st.sampled_from([0, 0, 0, 1, 2, 20]))]


@settings(max_examples=count_examples(200), deadline=None)
@given(wav_files())
def test_the_header_agrees_with_the_decoder(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    info = parse(data)
    if info is None:
        return
    path = tmp_path_factory.mktemp("wav") / "x.wav"
    path.write_bytes(data)
    with open_recording(path, data[:HEAD_BYTES]) as recording:
        list(recording.decode_frames())
        assert to_seconds(recording.length) == info.seconds
        assert (recording.codec, recording.rate, recording.channels) == (info.codec, info.sample_rate, info.channels)


@settings(max_examples=count_examples(300))
@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_fail(data: bytes) -> None:
    for start in (b"", b"RIFF\0\0\0\0WAVE", wav_header(20)[:36], wav_header(20)):
        info = parse(start + data)
        assert info is None or info.seconds >= 0


def test_plain_wav_files_are_parsed(tmp_path: Path) -> None:
    info = parse(to_wav(tone(0.1)))
    assert info == AudioInfo("wav", "pcm_s16le", Decimal("0.100000"), 16_000, 1, exact=True)
    listed = wav_header(0)[:36] + chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf62.0.100\0\0") + chunk(b"data", bytes(3200))
    info = parse(listed)
    assert info is not None
    assert info.seconds == Decimal("0.1")


@pytest.mark.parametrize(
    "data",
    [
        wav_header(3200) + bytes(3199),
        wav_header(3200) + bytes(3300),
        wav_header(3200, tag=3) + bytes(3200),
        wav_header(3200, tag=85) + bytes(3200),
        wav_header(3201) + bytes(3201),
        wav_header(3200, rate=0) + bytes(3200),
        wav_header(3200, channels=0) + bytes(3200),
        wav_header(3200, bits=12) + bytes(3200),
        wav_header(3200) + b"\xfe\x7f\x01\x80" + bytes(3196),
        wav_header(3200) + bytes(3200) + chunk(b"data", bytes(100)),
        b"RIFX" + wav_header(3200)[4:] + bytes(3200),
        wav_header(0)[:20],
    ],
)
def test_other_wav_files_are_left_to_the_decoder(data: bytes) -> None:
    assert parse(data) is None
