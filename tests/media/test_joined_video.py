"""Joined files play one part after the other: frames, sound and lengths follow, wherever the clocks begin."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mediamill.tasks.media.file_extent import find_second_file
from mediamill.tasks.media.frames import extract_frames, read_video_info, spread_times
from mediamill.tasks.media.joins import SeenTimes
from mediamill.tasks.media.prepare import prepare_audio
from mediamill.tasks.media.probe import read_audio_info
from tests.helpers.audio_files import LIMITS, write_tone_file
from tests.helpers.timed_media import FPS, Pictures, Sound, read_number, write_timed_media

CONTAINERS = {
    "ts": ("mpegts", "mpeg2video", "aac"),
    "ts-h264": ("mpegts", "libx264", "aac"),
    "mpg": ("mpeg", "mpeg2video", "mp2"),
    "mkv": ("matroska", "libx264", "libopus"),
    "webm": ("webm", "libvpx", "libopus"),
}
CLOCKS = {"lower": (1000, 5), "later": (5, 605), "same": (5, 5)}
SECONDS = 3


def write_joined(path: Path, container: str, starts: tuple[float, ...]) -> Path:
    form, codec, audio_codec = CONTAINERS[container]
    parts = []
    for start in starts:
        sound = Sound([(start, start + SECONDS)], audio_codec)
        parts.append(write_timed_media(path, form, [sound], Pictures(start, SECONDS, codec, 15)).read_bytes())
    path.write_bytes(b"".join(parts))
    return path


def check_joined(path: Path, container: str, clock: str) -> None:
    write_joined(path, container, CLOCKS[clock])
    info = read_video_info(path)
    assert (info.start, info.seconds) == pytest.approx((0, 2 * SECONDS), abs=0.15)
    moments = spread_times(0, 2 * SECONDS, frames=12)
    frames = extract_frames(path, moments, None)
    numbers = [read_number(np.asarray(Image.open(io.BytesIO(frame.data)).convert("L"))) for frame in frames]
    assert [frame.at for frame in frames] == moments
    assert numbers == pytest.approx([at % SECONDS * FPS for at in moments], abs=1)
    clip = prepare_audio(path, "0" * 64, LIMITS, path.parent)
    assert float(clip.seconds) == pytest.approx(2 * SECONDS, abs=0.15)
    assert float(read_audio_info(path).seconds) == pytest.approx(2 * SECONDS, abs=0.15)
    warned = [[w.partition(":")[0] for w in warnings] for warnings in (info.warnings, clip.warnings)]
    assert warned == ([["joined"], ["joined"]] if clock == "later" else [[], []])


@pytest.mark.parametrize(("container", "clock"), [("ts", "lower"), ("mpg", "later"), ("webm", "same")])
def test_the_parts_of_a_joined_file_follow_each_other(tmp_path: Path, container: str, clock: str) -> None:
    check_joined(tmp_path / "x", container, clock)


@pytest.mark.long
@pytest.mark.parametrize("container", CONTAINERS)
def test_the_parts_of_a_joined_file_follow_each_other_in_every_container(tmp_path: Path, container: str) -> None:
    for clock in CLOCKS:
        check_joined(tmp_path / "x", container, clock)


def test_frames_of_many_parts_are_found_backwards_and_forwards(tmp_path: Path) -> None:
    path = write_joined(tmp_path / "x", "ts", (900, 5, 5, 700, 3))
    assert read_video_info(path).seconds == pytest.approx(5 * SECONDS, abs=0.1)
    moments = [14.05, 0.05, 7.05, 3.05]
    frames = extract_frames(path, moments, None)
    numbers = [read_number(np.asarray(Image.open(io.BytesIO(frame.data)).convert("L"))) for frame in frames]
    assert numbers == pytest.approx([20, 0, 10, 0], abs=1)


def test_silence_is_paid_for_only_where_the_file_goes_on_without_sound(tmp_path: Path) -> None:
    for name, pictures in (("goes on", Pictures(0, 34, size=(16, 16))), ("nothing there", None)):
        sound = Sound([(0, 2), (32, 34)])
        path = write_timed_media(tmp_path / name, "mpegts", [sound], pictures)
        clip = prepare_audio(path, "0" * 64, LIMITS, tmp_path)
        (warning,) = clip.warnings
        if pictures:
            assert float(clip.seconds) == pytest.approx(34, abs=0.2)
            assert clip.input.recipe == "flac-16000-mono-gaps"
            assert warning.startswith("holes: 30.0 s of silence")
        else:
            assert float(clip.seconds) == pytest.approx(4, abs=0.2)
            assert clip.input.recipe == "flac-16000-mono-joined"
            assert warning.startswith("joined: the timestamps jump ahead by 30.0 s after 2.0 s")


def test_another_track_goes_on_where_it_has_no_long_hole_itself() -> None:
    seen = SeenTimes()
    for time in (*range(60), *range(600, 620)):
        seen.add(time)
    assert seen.go_on(5, 55)
    assert seen.go_on(5, 65)
    assert not seen.go_on(5, 605)
    seen.add(0)  # its clock starts anew
    assert not seen.go_on(5, 55)


@pytest.mark.parametrize(
    ("form", "codec"),
    [("wav", "pcm_s16le"), ("mp4", "aac"), ("aiff", "pcm_s16be"), ("flv", "aac"), ("mp3", "libmp3lame")],
)
def test_a_second_file_that_nobody_plays_is_told(tmp_path: Path, form: str, codec: str) -> None:
    path = write_tone_file(tmp_path / "x", form, codec, rate=44_100)
    single = path.read_bytes()
    assert prepare_audio(path, "0" * 64, LIMITS, tmp_path).warnings == ()
    path.write_bytes(single * 2)
    clip = prepare_audio(path, "0" * 64, LIMITS, tmp_path)
    told = f"joined: another recording follows at byte {len(single):,}, and is not read"
    assert [w.startswith(told) for w in clip.warnings] == ([] if form == "mp3" else [True])
    assert float(clip.seconds) == pytest.approx(4 if form == "mp3" else 2, abs=0.1)


def test_fragments_with_headers_of_their_own_are_one_video(tmp_path: Path) -> None:
    options = {"movflags": "frag_keyframe+empty_moov"}
    path = write_timed_media(tmp_path / "x", "mp4", (), Pictures(0, 2), options=options)
    assert find_second_file(path) is None
    path.write_bytes(path.read_bytes() * 2)
    assert find_second_file(path) is None
