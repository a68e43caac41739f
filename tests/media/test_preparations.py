"""What was done to an input before it was sent is said with its reason."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image

from mediamill.tasks.domain import Input
from mediamill.tasks.media.audio_info import AudioInfo, PreparedAudio
from mediamill.tasks.media.endpoint_fit import CutOptions
from mediamill.tasks.media.images.prepare import ImageLimits, prepare_image
from mediamill.tasks.media.preparations import describe_audio, describe_image, describe_pieces
from mediamill.tasks.wire import AudioLimits

LIMITS = AudioLimits(frozenset({"wav", "mp3", "flac"}), max_bytes=1_000_000, max_seconds=600.0)
FLAC = "flac-16000-mono"


def prepared_audio(recipe: str, info: AudioInfo, *warnings: str) -> PreparedAudio:
    return PreparedAudio(Input("0" * 64, recipe), info.seconds, info, warnings)


def audio_info(
    container: str = "wav",
    codec: str = "pcm_s16le",
    rate: int = 16_000,
    channels: int = 1,
    *,
    seconds: str = "3",
    video: bool = False,
    tracks: int = 1,
) -> AudioInfo:
    return AudioInfo(container, codec, Decimal(seconds), rate, channels, exact=True, video=video, tracks=tracks)


@pytest.mark.parametrize(
    ("audio", "size", "changes"),
    [
        (prepared_audio("as-is", audio_info()), 1000, ["sent as it is: m takes it"]),
        (
            prepared_audio(FLAC, audio_info("wma", "wmav2", 44_100, 2)),
            1000,
            [
                "re-encoded as 16000 Hz mono FLAC: m takes flac, mp3, wav, not wmav2 in wma",
                "resampled from 44,100 Hz",
                "mixed down from 2 channels",
            ],
        ),
        (
            prepared_audio(FLAC, audio_info()),
            2_000_000,
            ["re-encoded as 16000 Hz mono FLAC: its 2,000,000 bytes are over the endpoint's 1,000,000"],
        ),
        (
            prepared_audio(FLAC, audio_info("mp4", "aac", video=True)),
            1000,
            [
                "the sound track was taken out of the video",
                "re-encoded as 16000 Hz mono FLAC: only the sound track is sent",
            ],
        ),
        (
            prepared_audio(FLAC, audio_info(), "truncated: 1.4 s of 3.4 s could be decoded"),
            1000,
            [
                "re-encoded as 16000 Hz mono FLAC: the file is damaged, and only what could be decoded is sent",
                "truncated: 1.4 s of 3.4 s could be decoded",
            ],
        ),
        (
            prepared_audio(f"{FLAC}-trim-normalize", audio_info()),
            1000,
            ["re-encoded as 16000 Hz mono FLAC (trim) (normalize): normalize and trim say so"],
        ),
    ],
)
def test_a_recording_says_why_it_was_re_encoded(audio: PreparedAudio, size: int, changes: list[str]) -> None:
    assert list(describe_audio(audio, size, LIMITS, "m").changes) == changes


@pytest.mark.parametrize(
    ("seconds", "piece_seconds", "reason"),
    [
        ("700", None, "m takes at most 600 s at once"),
        ("700", 60.0, "piece_seconds says so"),
        ("500", None, "m takes at most 1,000,000 bytes at once"),
    ],
)
def test_a_cut_recording_says_why(seconds: str, piece_seconds: float | None, reason: str) -> None:
    clips = [prepared_audio(FLAC, audio_info(seconds=seconds))]
    described = describe_pieces(clips, 5_000_000, LIMITS, CutOptions(piece_seconds), piece_seconds or 300.0, "m")
    assert described.changes[0].endswith(f": {reason}")


def test_an_image_says_what_was_converted(tmp_path: Path) -> None:
    found = {}
    for mode, file_format in (("RGB", "PNG"), ("RGB", "TIFF"), ("CMYK", "JPEG")):
        data = io.BytesIO()
        Image.new(mode, (300, 200)).save(data, file_format)
        path = tmp_path / "image"
        path.write_bytes(data.getvalue())
        for max_side in (None, 100):
            prepared = prepare_image(path, "0" * 64, ImageLimits(), max_side=max_side)
            described = describe_image("a", prepared, ImageLimits(), max_side, "m")
            found[file_format, max_side] = [change.partition(":")[0] for change in described.changes]
    assert found == {
        ("PNG", None): ["sent as it is"],
        ("PNG", 100): ["resized to 100 x 66"],
        ("TIFF", None): ["TIFF converted to JPEG"],
        ("TIFF", 100): ["TIFF converted to JPEG", "resized to 100 x 66"],
        ("JPEG", None): ["colours converted from CMYK to eight-bit RGB"],
        ("JPEG", 100): ["resized to 100 x 66", "colours converted from CMYK to eight-bit RGB"],
    }
