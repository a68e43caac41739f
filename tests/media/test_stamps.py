"""Timestamps that FFmpeg gives otherwise than the container means them: clocks that begin anywhere, pauses, edits."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mediamill.tasks.media.avi_index import read_chunk_sizes
from mediamill.tasks.media.edit_list import read_edit_lists
from mediamill.tasks.media.frames import extract_frames, read_video_info
from mediamill.tasks.media.prepare import prepare_audio
from mediamill.tasks.media.probe import read_audio_info
from tests.helpers.audio_files import LIMITS
from tests.helpers.edit_lists import put_edit_list
from tests.helpers.timed_media import Pictures, Sound, read_number, write_timed_media
from tests.media.test_track_clock import find_heard_spans

ANYWHERE = [
    ("ogg", "flac", {}),
    ("ogg", "flac", {"page_duration": "1"}),
    ("ogg", "libopus", {}),
    ("ogg", "libopus", {"page_duration": "9000000"}),
    ("nut", "flac", {}),
    ("nut", "aac", {}),
    ("avi", "libmp3lame", {}),
    ("mpegts", "libopus", {}),
    ("mpegts", "ac3", {}),
    ("webm", "libopus", {"live": "1"}),
    ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    ("wtv", "mp2", {}),
]
PAUSE = [(2.0, 0.0), (3.0, None), (2.0, 2.0)]
"""The first two seconds, nothing for three, the other two seconds."""


def check_length(path: Path, form: str, codec: str, options: dict[str, str], seconds: float) -> None:
    for start in (100, 3700) if (form, codec) != ("avi", "libmp3lame") else (100,):  # FFmpeg's AVI ends before
        write_timed_media(path, form, [Sound([(start, start + seconds)], codec)], options=options)
        ((begin, end),), recording = find_heard_spans(path)
        info = read_audio_info(path)
        assert (begin, end) == pytest.approx((0, seconds), abs=0.1)
        assert [float(recording.length), float(info.seconds)] == pytest.approx([seconds, seconds], abs=0.12)
        assert info.exact


@pytest.mark.parametrize(("form", "codec", "options"), ANYWHERE[:2])
def test_a_clock_that_begins_anywhere_is_no_length(
    tmp_path: Path, form: str, codec: str, options: dict[str, str]
) -> None:
    check_length(tmp_path / "x", form, codec, options, 2.5)


@pytest.mark.long
@pytest.mark.parametrize(("form", "codec", "options"), ANYWHERE)
@pytest.mark.parametrize("seconds", [0.5, 2.5])
def test_a_clock_that_begins_anywhere_is_no_length_in_every_container(
    tmp_path: Path, form: str, codec: str, options: dict[str, str], seconds: float
) -> None:
    check_length(tmp_path / "x", form, codec, options, seconds)


def test_an_ogg_flac_that_begins_anywhere_keeps_its_holes(tmp_path: Path) -> None:
    path = write_timed_media(tmp_path / "x", "ogg", [Sound([(100, 101.5), (104, 105)], "flac")])
    heard, _ = find_heard_spans(path)
    assert [edge for span in heard for edge in span] == pytest.approx([0, 1.5, 4, 5], abs=0.15)


@pytest.mark.parametrize("codec", ["libmp3lame", "mp2"])
def test_empty_chunks_of_an_avi_are_the_pause_that_its_header_counts(tmp_path: Path, codec: str) -> None:
    spans = [(0.0, 1.0), (3.0, 4.0), (4.5, 5.5)]
    path = write_timed_media(tmp_path / "x", "avi", [Sound(spans, codec)], Pictures(0, 6))
    heard, recording = find_heard_spans(path)
    assert [edge for span in heard for edge in span] == pytest.approx([e for span in spans for e in span], abs=0.1)
    assert float(read_audio_info(path).seconds) == pytest.approx(float(recording.length), abs=0.1)
    assert prepare_audio(path, "0" * 64, LIMITS, tmp_path).input.recipe == "flac-16000-mono-gaps"


def test_sound_that_begins_late_in_an_avi_is_late(tmp_path: Path) -> None:
    path = write_timed_media(tmp_path / "x", "avi", [Sound([(5, 7)], "libmp3lame")], Pictures(0, 8))
    heard, recording = find_heard_spans(path)
    assert heard == [pytest.approx((5, 7), abs=0.1)]
    assert float(recording.length) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("kinds", [(), (b"soun",)])
def test_nothing_is_heard_in_an_empty_edit(tmp_path: Path, kinds: tuple[bytes, ...]) -> None:
    path = write_timed_media(tmp_path / "x", "mp4", [Sound([(0, 4)])], Pictures())
    put_edit_list(path, PAUSE, *kinds)
    heard, recording = find_heard_spans(path)
    assert [edge for span in heard for edge in span] == pytest.approx([0, 2, 5, 7], abs=0.05)
    assert [float(recording.length), float(read_audio_info(path).seconds)] == pytest.approx([7, 7], abs=0.05)
    assert prepare_audio(path, "0" * 64, LIMITS, tmp_path).input.recipe == "flac-16000-mono-gaps"


@pytest.mark.long
def test_an_empty_edit_over_ten_minutes_is_not_paid_for(tmp_path: Path) -> None:
    path = write_timed_media(tmp_path / "x", "mp4", [Sound([(0, 4)])])
    put_edit_list(path, [(2.0, 0.0), (700.0, None), (2.0, 2.0)])
    clip = prepare_audio(path, "0" * 64, LIMITS, tmp_path)
    assert [float(clip.seconds), float(read_audio_info(path).seconds)] == pytest.approx([4, 4], abs=0.1)
    assert clip.input.recipe == "flac-16000-mono-gaps"
    assert clip.timeline.find_start(3.0) == pytest.approx(703, abs=0.1)
    assert clip.warnings == ()


@pytest.mark.long
@pytest.mark.parametrize(
    ("edits", "shown"),
    [
        (PAUSE, {0.55: 5, 1.95: 19, 2.05: 19, 4.95: 19, 5.05: 20, 6.95: 39}),
        ([(1.0, None), *PAUSE], {0.55: 5, 1.95: 19, 2.05: 19, 4.95: 19, 5.05: 20, 6.95: 39}),
        ([(2.0, 0.0), (2.0, 2.0)], {0.55: 5, 2.05: 20, 3.95: 39}),
        ([(1.0, 2.0), (1.0, 0.0)], {0.55: 25, 1.05: 0, 1.95: 9}),
    ],
)
def test_a_video_shows_the_last_picture_during_an_empty_edit(
    tmp_path: Path, edits: list[tuple[float, float | None]], shown: dict[float, int]
) -> None:
    path = put_edit_list(write_timed_media(tmp_path / "x", "mp4", [], Pictures()), edits, b"vide")
    assert read_video_info(path).seconds == pytest.approx(
        sum(s for s, at in edits[1:] if at is None) + sum(s for s, at in edits if at is not None)
    )
    frames = extract_frames(path, list(shown), None)
    numbers = [read_number(np.asarray(Image.open(io.BytesIO(frame.data)).convert("L"))) for frame in frames]
    assert numbers == list(shown.values())
    assert [frame.is_moved for frame in frames] == [2 < at < 5 and len(edits) > 2 for at in shown]


@pytest.mark.long
@given(st.binary(max_size=200), st.integers(0, 3))
def test_any_bytes_have_an_edit_list_or_none(tmp_path_factory: pytest.TempPathFactory, data: bytes, form: int) -> None:
    path = tmp_path_factory.getbasetemp() / "edits"
    box = struct.pack(">I4s", 8 + len(data), b"moov") + data
    path.write_bytes([data, box, struct.pack(">I4s", 0, b"moov") + data, b"RIFF____AVI " + data][form])
    assert all(edits.empty for edits in read_edit_lists(path).values())
    assert len(read_chunk_sizes(path, 0)) <= len(data)
