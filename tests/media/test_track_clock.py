"""Times are on the file's own clock: late starts, holes, clocks that begin anywhere, in every container."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.media.audio_info import Timeline
from mediamill.tasks.media.decode import open_recording
from mediamill.tasks.media.decode_report import decode_warnings
from mediamill.tasks.media.encode import to_blocks, to_mono
from mediamill.tasks.media.joins import MAX_HOLE_SECONDS
from mediamill.tasks.media.prepare import prepare_audio
from mediamill.tasks.media.probe import read_audio_info
from mediamill.tasks.media.track_clock import TrackClock
from tests.helpers.audio_files import LIMITS
from tests.helpers.timed_media import Pictures, Sound, write_timed_media

CONTAINERS = {
    "mkv": ("matroska", "libopus", "mpeg4"),
    "mkv-aac": ("matroska", "aac", "mpeg4"),
    "webm": ("webm", "libopus", "libvpx"),
    "mp4": ("mp4", "aac", "mpeg4"),
    "mov": ("mov", "aac", "mpeg4"),
    "ts": ("mpegts", "aac", "mpeg2video"),
    "mpg": ("mpeg", "mp2", "mpeg2video"),
    "flv": ("flv", "aac", "flv"),
    "wma": ("asf", "wmav2", "msmpeg4v3"),
}
CASES: dict[str, tuple[list[tuple[float, float]], float | None]] = {
    "plain": ([(0, 2)], 0),
    "late": ([(5, 7)], 0),
    "hole": ([(0, 1), (3, 4)], 0),
    "an hour": ([(3600, 3601), (3602, 3603)], 3600),
    "before 0": ([(0, 2)], -1),
    "alone and late": ([(5, 7)], None),
    "alone with a hole": ([(0, 1), (3, 4)], None),
    "lost packets": ([(n / 2, n / 2 + 0.46) for n in range(10)], 0),
    "discontinuous transmission": ([(0, 1), *((1 + 0.4 * n, 1.03 + 0.4 * n) for n in range(5)), (3, 4)], None),
    "a wrapped counter": ([(95440, 95442), (95446, 95448)], 95440),
    "shorter than the pictures": ([(0, 2)], 0),
}
QUICK = [("mkv", "late"), ("mp4", "late"), ("ts", "a wrapped counter"), ("webm", "hole"), ("mpg", "late")]


def find_heard_spans(path: Path) -> tuple[list[tuple[float, float]], Any]:
    """From when to when there is sound, on the file's clock; and the decoded recording."""
    with open_recording(path, path.read_bytes()[:4096]) as recording:
        samples = np.concatenate(list(to_blocks(to_mono(recording.decode_frames()))))
        assert decode_warnings(recording) == ()
        loud = np.flatnonzero(np.abs(samples.astype(int)) > 1000)
        edges = np.flatnonzero(np.diff(loud) > 4000)
        starts, ends = loud[[0, *(edges + 1)]], loud[[*edges, -1]]
        timeline = recording.timeline
        spans = [
            (timeline.find_start(float(s) / 16_000), timeline.find_end(float(e) / 16_000))
            for s, e in zip(starts, ends, strict=True)
        ]
        return spans, recording


def check_times(path: Path, container: str, case: str) -> None:
    form, codec, video_codec = CONTAINERS[container]
    spans, pictures_start = CASES[case]
    video = Pictures(pictures_start, 8, video_codec) if pictures_start is not None else None
    write_timed_media(path, form, [Sound(spans, codec)], video)
    heard, recording = find_heard_spans(path)
    zero = min(spans[0][0], spans[0][0] if pictures_start is None else pictures_start)
    if case == "lost packets":
        assert heard[0][0] == pytest.approx(0, abs=0.06)
        assert heard[-1][1] == pytest.approx(4.96, abs=0.2)
    elif case == "discontinuous transmission":
        assert heard[-1] == pytest.approx((3, 4), abs=0.2)
    elif not (case == "before 0" and container in ("mp4", "mov")):  # MP4 shows nothing before its 0
        expected = [(start - zero, end - zero) for start, end in spans]
        assert [edge for span in heard for edge in span] == pytest.approx(
            [edge for span in expected for edge in span], abs=0.2
        )
    assert float(read_audio_info(path).seconds) == pytest.approx(float(recording.length), abs=0.3 + 0.1 * len(spans))


@pytest.mark.parametrize(("container", "case"), QUICK)
def test_sound_is_heard_when_the_file_says(tmp_path: Path, container: str, case: str) -> None:
    check_times(tmp_path / "x", container, case)


@pytest.mark.long
@pytest.mark.parametrize("container", CONTAINERS)
def test_sound_is_heard_when_the_file_says_in_every_container(tmp_path: Path, container: str) -> None:
    for case in CASES:
        if not (case == "before 0" and container == "wma"):  # FFmpeg does not write it
            check_times(tmp_path / "x", container, case)


def test_only_a_file_with_holes_is_sent_otherwise_than_before(tmp_path: Path) -> None:
    plain = write_timed_media(tmp_path / "plain", "webm", [Sound([(0, 2)], "libopus")])
    hole = write_timed_media(tmp_path / "hole", "webm", [Sound([(0, 1), (3, 4)], "libopus")])
    late = write_timed_media(tmp_path / "late", "matroska", [Sound([(5, 7)], "libopus")], Pictures())
    clips = [prepare_audio(path, "0" * 64, LIMITS, tmp_path) for path in (plain, hole, late)]
    assert [clip.input.recipe for clip in clips] == ["as-is", "flac-16000-mono-gaps", "flac-16000-mono"]
    assert [float(clip.seconds) for clip in clips] == pytest.approx([2, 4, 2], abs=0.05)
    assert [bool(clip.timeline) for clip in clips] == [False, False, True]


def test_a_jump_over_ten_minutes_is_not_paid_for(tmp_path: Path) -> None:
    path = write_timed_media(tmp_path / "x", "matroska", [Sound([(0, 1), (4000, 4001)], "libopus")])
    clip = prepare_audio(path, "0" * 64, LIMITS, tmp_path)
    assert float(clip.seconds) == pytest.approx(2, abs=0.05)
    assert clip.timeline.find_start(1.5) == pytest.approx(4000.5, abs=0.1)
    assert clip.warnings == ()


def test_a_broadcast_whose_clock_starts_anew_goes_on(tmp_path: Path) -> None:
    parts = [write_timed_media(tmp_path / f"{n}", "mpegts", [Sound([(at, at + 2)])]) for n, at in enumerate((900, 5))]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    ((start, end),), recording = find_heard_spans(joined)
    assert (start, end) == pytest.approx((0, 4), abs=0.1)
    assert recording.clock.restarts == 1


@given(st.lists(st.tuples(st.floats(0.01, 0.5), st.floats(-0.04, 0.04)), min_size=1, max_size=60))
def test_rounded_timestamps_are_no_holes(frames: list[tuple[float, float]]) -> None:
    stamped: list[tuple[float, float]] = []
    clock, at = TrackClock(), 0.0
    for seconds, jitter in frames:
        stamped.append((at + jitter * bool(stamped), seconds))
        at += seconds
    assert [silence for silence, _ in clock.follow(stamped, lambda frame: frame)] == [0.0] * len(frames)
    assert not clock.to_timeline(float("inf"))


@given(st.lists(st.tuples(st.integers(1, 20), st.floats(0.0, 2 * MAX_HOLE_SECONDS)), min_size=1, max_size=20))
def test_every_frame_is_found_at_its_timestamp(parts: list[tuple[int, float]]) -> None:
    stamped: list[tuple[float, float]] = []
    clock, at = TrackClock(), 0.0
    for count, hole in parts:
        at += hole * bool(stamped)
        for _ in range(count):
            stamped.append((at, 0.02))
            at += 0.02
    positions, position = [], 0.0
    for silence, (_, seconds) in clock.follow(stamped, lambda frame: frame):
        position += silence
        positions.append(position)
        position += seconds
    timeline = clock.to_timeline(0.0)
    found = [timeline.find_start(position + 1e-6) for position in positions]
    assert found == pytest.approx([time for time, _ in stamped], abs=0.11)
    assert clock.elapsed == pytest.approx(at, abs=0.11)


def test_a_single_late_timestamp_is_no_hole() -> None:
    stamped = [(n * 0.02 + (0.5 if n == 30 else 0), 0.02) for n in range(60)]
    clock = TrackClock()
    assert sum(silence for silence, _ in clock.follow(stamped, lambda frame: frame)) == 0
    assert not clock.to_timeline(float("inf"))


def test_what_ends_at_a_jump_ends_before_it() -> None:
    timeline = Timeline(((0.0, 0.0), (2.0, 700.0)))
    assert (timeline.find_end(2.0), timeline.find_start(2.0)) == (2.0, 702.0)
