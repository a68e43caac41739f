from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.audio_info import AudioInfo
from mediamill.tasks.media.endpoint_fit import (
    DEFAULT_PIECE_SECONDS,
    CutOptions,
    CutPoints,
    estimate_pieces,
    limit_whole_file,
    max_piece_seconds,
    prepare_if_fits,
)
from mediamill.tasks.media.prepare import prepare_audio
from mediamill.tasks.media.segmenter import Segmenter
from mediamill.tasks.wire import AudioLimits
from tests.helpers.audio_files import LIMITS, to_wav, write_tone_file

SHA = "0" * 64


def test_a_recording_that_fits_is_prepared_whole(tmp_path: Path) -> None:
    for form, codec in (("mp3", "mp3"), ("ogg", "libopus"), ("mp4", "aac")):
        path = write_tone_file(tmp_path / f"x.{form}", form, codec, seconds=6)
        for cut_options in (
            CutOptions(),
            CutOptions(piece_seconds=6.5),
            CutOptions(piece_seconds=5, keep_whole=True),
            CutOptions(overlap=3),
        ):
            assert prepare_if_fits(path, SHA, LIMITS, tmp_path, cut_options) == prepare_audio(
                path, SHA, LIMITS, tmp_path
            )
        assert prepare_if_fits(path, SHA, LIMITS, tmp_path, CutOptions(piece_seconds=5)) is None


def test_a_recording_that_is_too_large_or_too_long_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(to_wav(np.random.default_rng(1).integers(-20_000, 20_000, 30 * 16_000, dtype=np.int16)))
    assert prepare_if_fits(path, SHA, replace(LIMITS, max_bytes=400_000), tmp_path / "scratch", CutOptions()) is None
    assert not list((tmp_path / "scratch").glob("*"))
    assert prepare_if_fits(path, SHA, replace(LIMITS, max_seconds=20.0), tmp_path, CutOptions(keep_whole=True)) is None
    for limits in (replace(LIMITS, max_bytes=400_000), replace(LIMITS, max_seconds=20.0)):
        pieces = Segmenter(path, SHA, limits, tmp_path, CutOptions())
        sent = []
        while (clip := pieces.take_piece()) is not None:
            sent.append(clip)
        pieces.close()
        sizes = [c.input.payload.size for c in sent if c.input.payload]
        assert len(sizes) == len(sent) > 1
        assert max(sizes) <= limits.max_bytes
        assert limits.max_seconds is None or max(c.seconds for c in sent) <= limits.max_seconds
        assert [c.input.start for c in sent] == [0, *pieces.cuts.points]
        assert sent[-1].input.end == pieces.cuts.length == 30 * 16_000
        assert abs(float(sum(c.seconds for c in sent)) - 30) < 1e-4


def test_a_recording_shorter_than_its_header_says_is_sent_whole(tmp_path: Path) -> None:
    path = write_tone_file(tmp_path / "x.flac", "flac", "flac", seconds=30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    pieces = Segmenter(path, SHA, LIMITS, tmp_path, CutOptions(piece_seconds=20))
    clip = pieces.take_piece()
    assert clip is not None
    assert pieces.take_piece() is None
    pieces.close()
    prepared = prepare_audio(path, SHA, LIMITS, tmp_path)
    assert (clip.input, clip.seconds, clip.warnings) == (prepared.input, prepared.seconds, prepared.warnings)


def test_the_length_of_pieces_follows_the_limits_of_the_endpoint() -> None:
    assert (
        max_piece_seconds(AudioLimits(frozenset({"flac"}), 80_000_000, 14_400), CutOptions()) == DEFAULT_PIECE_SECONDS
    )
    assert max_piece_seconds(AudioLimits(frozenset({"flac"}), 80_000_000, 300), CutOptions()) == 299
    assert max_piece_seconds(AudioLimits(frozenset({"flac"}), 80_000_000, 14_400), CutOptions(keep_whole=True)) > 2_400
    assert 250 < max_piece_seconds(AudioLimits(frozenset({"flac"}), 10_000_000), CutOptions()) < 310
    assert max_piece_seconds(AudioLimits(frozenset({"flac"}), 25_000_000), CutOptions(piece_seconds=3600)) < 780
    with pytest.raises(BadInput, match="too few"):
        max_piece_seconds(AudioLimits(frozenset({"flac"}), 100_000), CutOptions())


def test_the_estimated_number_of_pieces_is_about_right() -> None:
    def mp3_info(seconds: int) -> AudioInfo:
        return AudioInfo("mp3", "mp3", Decimal(seconds), 44_100, 2, exact=True)

    together = AudioLimits(frozenset({"mp3", "flac"}), 80_000_000, 14_400)
    assert estimate_pieces(mp3_info(10_800), 172_000_000, together, CutOptions()) == (19, 20)
    assert estimate_pieces(mp3_info(10_800), 72_000_000, together, CutOptions())[0] == 1
    assert estimate_pieces(mp3_info(600), 9_000_000, together, CutOptions(piece_seconds=60))[0] in (11, 12)
    assert estimate_pieces(mp3_info(600), 9_000_000, together, CutOptions(piece_seconds=60, keep_whole=True)) == (1, 1)
    assert limit_whole_file(together, CutOptions(piece_seconds=60)).max_seconds == 60


@pytest.mark.long
def test_decoding_can_be_stopped(tmp_path: Path) -> None:
    class StopDecoding(Exception):
        pass

    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks > 3:
            raise StopDecoding

    path = write_tone_file(tmp_path / "x.mp3", "mp3", "mp3", seconds=60)
    pieces = Segmenter(path, SHA, LIMITS, tmp_path / "scratch", CutOptions(piece_seconds=55), check=check)
    with pytest.raises(StopDecoding):
        pieces.take_piece()
    pieces.close()
    assert pieces.cuts == CutPoints()
    assert not list((tmp_path / "scratch").glob("*"))
    checks = 0
    with pytest.raises(StopDecoding):
        prepare_audio(path, SHA, LIMITS, tmp_path, check=check)
