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


def test_pixels_are_stretched_where_only_the_container_says_so(tmp_path: Path) -> None:
    path = write_timed_media(tmp_path / "x", "webm", (), Pictures(0, 1, "libvpx-vp9"))
    for size in ((256, 64), (128, 128)):
        changed = tmp_path / "changed"
        changed.write_bytes(set_display_size(path.read_bytes(), size))
        (frame,) = extract_frames(changed, [0.5], None)
        assert (frame.width, frame.height) == size


def set_display_size(webm: bytes, size: tuple[int, int]) -> bytes:
    """A WebM file whose one video track is shown in that size; its elements of language and length make room."""
    language, duration = bytes.fromhex("22b59c83756e64"), webm.index(b"\x23\xe3\x83\x84")
    video = webm.index(b"\xe0", duration + 8)
    end = video + 2 + webm[video + 1] - 0x80
    track = webm[:video].rindex(language)
    shown = b"\x54\xb0\x82" + size[0].to_bytes(2, "big") + b"\x54\xba\x82" + size[1].to_bytes(2, "big")
    content = webm[video + 2 : end] + shown
    kept = webm[track + len(language) : duration]
    room = end - track - len(kept) - 2 - len(content)
    void = b"\xec" + bytes([0x80 + room - 2]) + bytes(room - 2)
    return webm[:track] + kept + b"\xe0" + bytes([0x80 + len(content)]) + content + void + webm[end:]


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


@pytest.mark.long
@pytest.mark.parametrize(("form", "codec"), [("matroska", "mpeg4"), ("webm", "libvpx"), ("h264", "libx264")])
def test_a_video_without_any_stated_length_is_measured(tmp_path: Path, form: str, codec: str) -> None:
    options = {} if form == "h264" else {"live": "1"}
    path = write_timed_media(tmp_path / "x", form, [], Pictures(0, 12, codec), options=options)
    seconds = read_video_info(path).seconds
    assert seconds == pytest.approx(12, abs=0.1) if form != "h264" else 120 / seconds in (10, 20, 25)
    found = read_numbers(extract_frames(path, [0.001, seconds / 2, seconds - 0.01], None))
    assert found == pytest.approx([0, 60, 119], abs=1)


@pytest.mark.long
def test_an_index_that_calls_every_picture_a_key_frame_gives_no_garbage(tmp_path: Path) -> None:
    path = write_timed_media(tmp_path / "x", "mp4", [], Pictures(0, 6, "mpeg4", 20))
    path.write_bytes(path.read_bytes().replace(b"stss", b"free"))
    assert read_numbers(extract_frames(path, [0.25, 3.05, 5.95], None)) == [2, 30, 59]


def test_an_index_cut_off_an_avi_or_mkv_changes_no_picture(tmp_path: Path) -> None:
    for form, mark in (("matroska", b"\x1c\x53\xbb\x6b"), ("avi", b"idx1")):
        path = write_timed_media(tmp_path / form, form, [], Pictures(0, 10, "mpeg4", 100))
        whole = read_numbers(extract_frames(path, [0.25, 1.55, 9.95], None))
        data = path.read_bytes()
        path.write_bytes(data[: data.rindex(mark)])
        info = read_video_info(path)
        assert info.seconds == pytest.approx(10, abs=0.01)
        assert info.warnings == ()
        assert read_numbers(extract_frames(path, [0.25, 1.55, 9.95], None)) == whole


def test_a_cut_off_avi_has_the_length_of_its_pictures(tmp_path: Path) -> None:
    data = write_timed_media(tmp_path / "x", "avi", [], Pictures(0, 10, "mpeg4", 100)).read_bytes()
    (tmp_path / "cut").write_bytes(data[: (data.index(b"movi") + data.rindex(b"idx1")) // 2])
    info = read_video_info(tmp_path / "cut")
    assert info.warnings == (f"truncated: {info.seconds:.1f} s of 10.0 s of the video are there, the file ends early",)
    last, after = extract_frames(tmp_path / "cut", [info.seconds - 0.05, info.seconds + 1.5], None)
    assert read_numbers([last])[0] == pytest.approx(info.seconds * FPS - 1, abs=1)  # half of a packet may be there
    assert (last.is_stale, after.is_stale) == (False, True)


@pytest.mark.parametrize(("container", "has_sound"), [("mp4", True), ("webm", False), ("flv", False), ("wmv", True)])
def test_a_cut_off_video_has_the_length_of_what_is_there(tmp_path: Path, container: str, has_sound: bool) -> None:
    form, codec, audio_codec = CONTAINERS[container]
    options = {"movflags": "faststart"} if container == "mp4" else {}
    sounds = [Sound([(0, 12)], audio_codec)] * has_sound
    whole = write_timed_media(tmp_path / "x", form, sounds, Pictures(0, 12, codec), options=options)
    assert read_video_info(whole).warnings == ()
    cut = tmp_path / "cut"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    info = read_video_info(cut)
    assert 4 < info.seconds < 10
    (warning,) = info.warnings
    assert warning.startswith(f"truncated: {info.seconds:.1f} s of {'the video' if container == 'wmv' else '12.0 s'}")
    frames = extract_frames(cut, spread_times(0, info.seconds, frames=6), None)
    assert not any(frame.is_stale for frame in frames)
    assert len(set(read_numbers(frames))) == 6
