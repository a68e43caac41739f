"""Frames are those of the moments asked for, in every container; damage is told, and never an internal error."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mediamill.tasks.capabilities.visual.video_frames import find_missing_frames
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.frames import JpegFrame, extract_frames, find_scene_times, read_video_info, spread_times
from mediamill.tasks.media.prepare import prepare_audio
from tests.helpers.audio_files import LIMITS
from tests.helpers.timed_media import FPS, Pictures, Sound, read_number, write_timed_media

CONTAINERS = {
    "mp4": ("mp4", "libx264", "aac"),
    "mkv": ("matroska", "libx264", "libopus"),
    "webm": ("webm", "libvpx", "libopus"),
    "ts": ("mpegts", "libx264", "aac"),
    "ts-mpeg2": ("mpegts", "mpeg2video", "mp2"),
    "mpg": ("mpeg", "mpeg2video", "mp2"),
    "avi": ("avi", "mpeg4", "mp3"),
    "flv": ("flv", "flv", "aac"),
    "wmv": ("asf", "msmpeg4v3", "wmav2"),
}


def read_numbers(frames: list[JpegFrame]) -> list[int]:
    return [read_number(np.asarray(Image.open(io.BytesIO(frame.data)).convert("L"))) for frame in frames]


def check_moments(path: Path, seconds: float, start: float = 0.0) -> None:
    info = read_video_info(path)
    assert (info.start, info.seconds) == pytest.approx((start, seconds), abs=0.3)
    moments = [start + 0.05 + n / FPS for n in range(0, round(seconds * FPS), 7)]
    found = read_numbers(extract_frames(path, moments, None))
    assert np.abs(np.array(found) - np.arange(0, round(seconds * FPS), 7)).max() <= 1


@pytest.mark.parametrize(("container", "gop"), [("ts", 40), ("mpg", 15), ("mp4", 60)])
def test_frames_are_those_of_their_moments(tmp_path: Path, container: str, gop: int) -> None:
    form, codec, _ = CONTAINERS[container]
    check_moments(write_timed_media(tmp_path / "x", form, (), Pictures(0, 6, codec, gop)), 6)


@pytest.mark.long
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("gop", [1, 12, 50, 500])
def test_frames_are_those_of_their_moments_in_every_container(tmp_path: Path, container: str, gop: int) -> None:
    form, codec, audio_codec = CONTAINERS[container]
    sound = Sound([(0, 20)], audio_codec)
    for sounds in ((), (sound,)):
        check_moments(write_timed_media(tmp_path / "x", form, sounds, Pictures(0, 20, codec, gop)), 20)
    if container not in ("avi", "mp4"):
        check_moments(write_timed_media(tmp_path / "x", form, (), Pictures(3600, 20, codec, gop)), 20)
    if container not in ("avi", "mpg"):
        check_moments(write_timed_media(tmp_path / "x", form, (sound,), Pictures(5, 20, codec, gop)), 20, start=5)


def test_a_clock_that_begins_at_an_hour_is_no_length(tmp_path: Path) -> None:
    path = write_timed_media(tmp_path / "x", "matroska", (), Pictures(3600, 2))
    assert read_video_info(path).seconds == pytest.approx(2, abs=0.11)
    check_moments(path, 2)


def test_pictures_that_begin_after_the_sound_have_the_times_of_the_file(tmp_path: Path) -> None:
    path = write_timed_media(tmp_path / "x", "matroska", [Sound([(0, 9)], "libopus")], Pictures(5, 4))
    check_moments(path, 4, start=5)
    assert find_scene_times(path, 5, 9, 2)[0] > 5


def test_sound_that_is_longer_than_the_pictures_is_not_their_length(tmp_path: Path) -> None:
    for form, codec in (("matroska", "libopus"), ("mp4", "aac")):
        path = write_timed_media(tmp_path / "x", form, [Sound([(0, 12)], codec)], Pictures(0, 3))
        assert read_video_info(path).seconds == pytest.approx(3, abs=0.11)


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    for aspect, size in ((Fraction(4, 3), (171, 64)), (Fraction(1, 2), (128, 128)), (Fraction(100, 1), (128, 64))):
        path = write_timed_media(tmp_path / "x", "matroska", (), Pictures(0, 1, aspect=aspect))
        info = read_video_info(path)
        (frame,) = extract_frames(path, [0.5], None)
        assert (info.width, info.height) == (frame.width, frame.height) == size


def test_a_raw_stream_has_the_times_of_its_rate(tmp_path: Path) -> None:
    path = write_timed_media(tmp_path / "x.m2v", "mpeg2video", (), Pictures(0, 3, "mpeg2video"))
    frames = extract_frames(path, spread_times(0, 3, frames=3), None)
    assert [n > m for n, m in zip(read_numbers(frames)[1:], read_numbers(frames), strict=False)] == [True, True]


def test_frames_after_the_end_of_a_cut_off_video_are_told(tmp_path: Path) -> None:
    whole = write_timed_media(tmp_path / "x", "mp4", (), Pictures(0, 8), options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    frames = extract_frames(cut, spread_times(0, 8, frames=8), None)
    assert 0 < sum(frame.is_stale for frame in frames) < 8
    (warning,) = find_missing_frames(frames, 8)
    assert warning.startswith("frames: ")
    assert find_missing_frames(extract_frames(whole, spread_times(0, 8, frames=8), None), 8) == []


def find_kind(path: Path, *, audio: bool) -> str:
    """The error kind of a file, or "" when it is read."""
    try:
        if audio:
            prepare_audio(path, "0" * 64, LIMITS, path.parent)
        else:
            extract_frames(path, [0.1, read_video_info(path).seconds], None)
    except BadInput as error:
        return error.kind
    return ""


def test_an_mp4_that_is_cut_off_in_its_index_is_undecodable(tmp_path: Path) -> None:
    whole = write_timed_media(tmp_path / "x", "mp4", (), Pictures(0, 1)).read_bytes()
    at = whole.index(b"moov")
    for length in range(at + 8, len(whole) - 100, 41):
        (tmp_path / "cut.mp4").write_bytes(whole[:length])
        assert find_kind(tmp_path / "cut.mp4", audio=False) == "undecodable", length
        assert find_kind(tmp_path / "cut.mp4", audio=True) == "undecodable", length


@pytest.mark.long
@pytest.mark.parametrize("container", ["mp4", "mkv", "flv"])
def test_every_cut_length_is_read_or_told(tmp_path: Path, container: str) -> None:
    form, codec, audio_codec = CONTAINERS[container]
    sound = Sound([(0, 0.1)], audio_codec)
    whole = write_timed_media(tmp_path / "x", form, [sound], Pictures(0, 0.2, codec, size=(16, 16))).read_bytes()
    path, kinds = tmp_path / "cut", set()
    for length in range(16, len(whole)):
        path.write_bytes(whole[:length])
        kinds |= {find_kind(path, audio=False), find_kind(path, audio=True)}
    assert kinds <= {"", "undecodable", "no_audio", "no_video", "empty"}  # headers of a track may be cut off whole
