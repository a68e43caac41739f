from __future__ import annotations

import hashlib
import os
from decimal import Decimal
from pathlib import Path

import pytest

from mediamill.tasks.errors import BadInput, StorageError
from mediamill.tasks.media import spooled_output
from mediamill.tasks.media.prepare import prepare_audio, prepare_plain_wav
from mediamill.tasks.media.probe import read_audio_info
from mediamill.tasks.wire import AudioLimits
from tests.helpers.audio_files import LIMITS, to_wav, tone, wav_header, write_tone_file
from tests.media.rejected_audio import get_rejection_kind

SHA = "0" * 64
WEB = AudioLimits(frozenset({"webm"}), 25 * 2**20)


@pytest.mark.parametrize(
    ("file_format", "file_name", "sent"),
    [
        (("mp3", "mp3"), "x.wav", ("x.mp3", "audio/mpeg")),
        (("mp4", "aac"), "x.mp3", ("x.m4a", "audio/mp4")),
        (("flac", "flac"), "x", ("x.flac", "audio/flac")),
        (("webm", "libopus"), "x.m4a", ("x.webm", "audio/webm")),
        (("wav", "pcm_s16le"), "x.mp3", ("x.wav", "audio/wav")),
    ],
)
def test_the_original_is_sent_under_the_extension_of_its_content(
    tmp_path: Path, file_format: tuple[str, str], file_name: str, sent: tuple[str, str]
) -> None:
    path = write_tone_file(tmp_path / file_name, *file_format)
    clip = prepare_audio(path, SHA, LIMITS, tmp_path / "scratch")
    payload = clip.input.payload
    assert payload is not None
    assert (clip.input.recipe, clip.input.sha256, payload.path, payload.data) == ("as-is", SHA, path, None)
    assert (payload.filename, payload.mime, payload.size) == (*sent, path.stat().st_size)
    assert abs(clip.seconds - 2) < Decimal("0.1")
    assert clip.warnings == ()
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(
    ("form", "codec", "container"),
    [
        ("ogg", "libopus", "opus"),
        ("aiff", "pcm_s16be", "aiff"),
        ("matroska", "mp3", "mkv"),
        ("adts", "aac", "aac"),
        ("asf", "wmav2", "wma"),
        ("mov", "aac", "mov"),
        ("wav", "adpcm_ms", "wav"),
        ("mpegts", "aac", "ts"),
    ],
)
def test_other_containers_and_codecs_are_converted(tmp_path: Path, form: str, codec: str, container: str) -> None:
    path = write_tone_file(tmp_path / "Réunion à 10h.x", form, codec, rate=44_100 if codec != "libopus" else 48_000)
    clip = prepare_audio(path, SHA, LIMITS, tmp_path / "scratch")
    assert (clip.input.recipe, clip.info.container) == ("flac-16000-mono", container)
    payload = clip.input.payload
    assert payload is not None
    assert payload.data is not None
    assert payload.filename.isascii()
    assert payload.filename.endswith(".flac")
    sent = tmp_path / "sent.flac"
    sent.write_bytes(payload.data)
    again = prepare_audio(sent, SHA, LIMITS, tmp_path)
    assert (again.seconds, again.info.sample_rate, again.info.channels) == (clip.seconds, 16_000, 1)
    assert abs(clip.seconds - 2) < Decimal("0.15")


def test_video_and_several_tracks_send_the_first_track_alone(tmp_path: Path) -> None:
    everything = AudioLimits(LIMITS.formats | {"mp4", "mkv"}, LIMITS.max_bytes)
    video_file = write_tone_file(tmp_path / "film.mp4", "mp4", "aac", video=True)
    assert prepare_audio(video_file, SHA, everything, tmp_path).input.recipe == "flac-16000-mono"
    dubbed = write_tone_file(tmp_path / "two.mp4", "mp4", "aac", tracks=2)
    clip = prepare_audio(dubbed, SHA, everything, tmp_path)
    assert clip.input.recipe == "flac-16000-mono"
    assert clip.warnings == ("tracks: the first of 2 audio tracks was taken",)


def test_wav_is_sent_where_flac_is_not_accepted_and_an_error_raised_without_both(tmp_path: Path) -> None:
    path = write_tone_file(tmp_path / "x.ogg", "ogg", "libopus")
    clip = prepare_audio(path, SHA, AudioLimits(frozenset({"wav"}), 2**20), tmp_path)
    assert clip.input.recipe == "wav-16000-mono"
    assert clip.input.payload is not None
    assert clip.input.payload.filename == "x.wav"
    assert get_rejection_kind(path, WEB) == "unsupported_format"


def test_large_conversions_are_spooled_and_the_bytes_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tone_file(tmp_path / "x.ogg", "ogg", "libopus", seconds=5)
    small = prepare_audio(path, SHA, LIMITS, tmp_path / "scratch").input.payload
    monkeypatch.setattr(spooled_output, "MAX_IN_MEMORY_BYTES", 5_000)
    large = prepare_audio(path, SHA, LIMITS, tmp_path / "scratch").input.payload
    assert small is not None
    assert small.data is not None
    assert large is not None
    assert large.path is not None
    assert large.path.parent == tmp_path / "scratch"
    assert large.path.read_bytes() == small.data
    assert large.size == small.size == len(small.data)


def test_a_recording_over_the_byte_limit_is_converted_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(to_wav(tone(4, 48_000), 48_000))
    assert prepare_audio(path, SHA, LIMITS, tmp_path).input.recipe == "as-is"
    assert prepare_audio(path, SHA, AudioLimits(LIMITS.formats, 200_000), tmp_path).input.recipe == "flac-16000-mono"
    scratch = tmp_path / "scratch"
    assert get_rejection_kind(path, AudioLimits(LIMITS.formats, 10_000)) == "too_large"
    assert not scratch.exists() or not list(scratch.iterdir())


def test_a_spooled_piece_that_grows_too_large_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooled_output, "MAX_IN_MEMORY_BYTES", 10_000)
    path = write_tone_file(tmp_path / "x.ogg", "ogg", "libopus", seconds=5)
    assert get_rejection_kind(path, AudioLimits(LIMITS.formats, 20_000)) == "too_large"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_scratch_folder_that_cannot_be_written_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooled_output, "MAX_IN_MEMORY_BYTES", 1_000)
    path = write_tone_file(tmp_path / "x.ogg", "ogg", "libopus")
    (tmp_path / "scratch").write_text("in the way")
    with pytest.raises(StorageError):
        prepare_audio(path, SHA, LIMITS, tmp_path / "scratch")


def test_a_recording_over_the_length_limit_is_refused(tmp_path: Path) -> None:
    for path in (
        write_tone_file(tmp_path / "x.mp3", "mp3", "mp3", seconds=3),
        write_tone_file(tmp_path / "x.wav", "wav", "pcm_s16le", seconds=3),
    ):
        assert get_rejection_kind(path, AudioLimits(LIMITS.formats, 2**20, 1.0)) == "too_long"
        assert prepare_audio(path, SHA, AudioLimits(LIMITS.formats, 2**20, 4.0), tmp_path).input.recipe == "as-is"


def test_the_intact_part_of_a_cut_off_recording_is_sent_with_a_warning(tmp_path: Path) -> None:
    for form, codec in (("flac", "flac"), ("wav", "pcm_s16le"), ("ogg", "libopus")):
        path = write_tone_file(tmp_path / f"x.{form}", form, codec, seconds=8)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        clip = prepare_audio(path, SHA, LIMITS, tmp_path)
        assert clip.input.recipe == "flac-16000-mono"
        assert 2 < clip.seconds < 6
        if form != "ogg":
            assert clip.warnings[0].startswith("truncated: ")


def test_stray_bytes_around_and_inside_an_mp3_do_not_fail_it(tmp_path: Path) -> None:
    path = write_tone_file(tmp_path / "x.mp3", "mp3", "mp3", seconds=8)
    data = path.read_bytes()
    path.write_bytes(
        data[:200] + b"\0" * 700 + data[200 : len(data) // 2] + b"garbage" * 40 + data[len(data) // 2 :] + b"TAG"
    )
    clip = prepare_audio(path, SHA, LIMITS, tmp_path)
    assert abs(clip.seconds - 8) < 1


@pytest.mark.parametrize(
    ("name", "data", "kind", "says"),
    [
        ("a.mp3", b"", "empty", "0 bytes"),
        ("a.mp3", b"Dear Sir,\nplease find the recording attached.\n", "not_audio", "text"),
        ("a.mp3", b"<!DOCTYPE html><html>404</html>", "not_audio", "web page"),
        ("a.wav", b"\x89PNG\r\n\x1a\n" + bytes(100), "not_audio", "PNG"),
        ("a.wav", wav_header(0), "empty", "no audio"),
        ("a.mp3", b"#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n", "not_audio", "playlist"),
        ("a.mp3", b"ffconcat version 1.0\nfile b.mp3\n", "not_audio", "playlist"),
        ("a.mp3", b"ID3\x04\0\0\0\0\0\x0aTIT2\0\0\0\0\0\0", "undecodable", "MP3"),
        ("a.m4a", b"\0\0\0\x18ftypM4A \0\0\0\0M4A isom\0\0\xff\xffmdat" + bytes(500), "undecodable", "MP4"),
        ("a.flac", b"fLaC" + bytes(100), "undecodable", "FLAC"),
        ("a.ogg", bytes(range(256)) * 9, "not_audio", "not audio"),
    ],
)
def test_bad_files_say_what_they_are(tmp_path: Path, name: str, data: bytes, kind: str, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    for judge in (lambda: prepare_audio(path, SHA, LIMITS, tmp_path), lambda: read_audio_info(path)):
        with pytest.raises(BadInput, match=says) as caught:
            judge()
        assert caught.value.kind == kind
        assert str(tmp_path) not in str(caught.value)


def test_a_video_without_audio_is_refused(tmp_path: Path) -> None:
    path = write_tone_file(tmp_path / "x.mp4", "mp4", "aac", video=True, tracks=0)
    assert get_rejection_kind(path) == "no_audio"


def test_paths_that_are_not_readable_files_are_refused(tmp_path: Path) -> None:
    assert get_rejection_kind(tmp_path / "nowhere.wav") == "missing"
    assert get_rejection_kind(tmp_path) == "not_a_file"
    os.mkfifo(tmp_path / "pipe.wav")
    assert get_rejection_kind(tmp_path / "pipe.wav") == "not_a_file"
    if os.geteuid():
        locked = tmp_path / "locked.wav"
        locked.write_bytes(to_wav(tone(1)))
        locked.chmod(0)
        assert get_rejection_kind(locked) == "unreadable"


def test_a_sample_rate_that_changes_midway_is_followed(tmp_path: Path) -> None:
    parts = [
        write_tone_file(tmp_path / f"{rate}.mp3", "mp3", "mp3", seconds=3, rate=rate).read_bytes()
        for rate in (44_100, 22_050)
    ]
    path = tmp_path / "both.mp3"
    path.write_bytes(b"".join(parts))
    clip = prepare_audio(path, SHA, AudioLimits(frozenset({"flac"}), 2**20), tmp_path)
    assert abs(clip.seconds - 6) < Decimal("0.3")


def test_names_that_are_not_utf8_are_opened(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp3")
    try:
        path.write_bytes(write_tone_file(tmp_path / "x.mp3", "mp3", "mp3").read_bytes())
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    payload = prepare_audio(path, SHA, LIMITS, tmp_path).input.payload
    assert payload is not None
    assert payload.filename == "caf.mp3"


def test_titles_that_are_not_utf8_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    titles = b"LIST" + (16).to_bytes(4, "little") + b"INFOIART\x04\0\0\0Ren\xe9"
    path.write_bytes(
        wav_header(0)[:36] + titles + b"data" + (64_000).to_bytes(4, "little") + tone(2).tobytes() + b"abcd"
    )
    assert prepare_audio(path, SHA, LIMITS, tmp_path).seconds == 2


def test_only_plain_wav_is_prepared_without_decoding(tmp_path: Path) -> None:
    plain = tmp_path / "x.wav"
    plain.write_bytes(to_wav(tone(1)))
    data = plain.read_bytes()
    clip, slow = prepare_plain_wav(plain, data, SHA, LIMITS), prepare_audio(plain, SHA, LIMITS, tmp_path)
    assert clip is not None
    assert clip.input.payload is not None
    assert clip.input.payload.data == data
    assert (clip.input, clip.seconds, clip.info) == (slow.input, slow.seconds, slow.info)
    mp3 = write_tone_file(tmp_path / "x.mp3", "mp3", "mp3")
    assert prepare_plain_wav(mp3, mp3.read_bytes(), SHA, LIMITS) is None
    assert prepare_plain_wav(plain, data, SHA, AudioLimits(LIMITS.formats, 100)) is None
    with pytest.raises(BadInput, match="0 bytes"):
        prepare_plain_wav(plain, b"", SHA, LIMITS)


def test_read_audio_info_agrees_with_decoding(tmp_path: Path) -> None:
    for form, codec in (
        ("mp3", "mp3"),
        ("mp4", "aac"),
        ("flac", "flac"),
        ("webm", "libopus"),
        ("adts", "aac"),
        ("wav", "pcm_s16le"),
    ):
        path = write_tone_file(tmp_path / f"x.{form}", form, codec, seconds=4)
        probed, prepared = (
            read_audio_info(path),
            prepare_audio(path, hashlib.sha256(path.read_bytes()).hexdigest(), LIMITS, tmp_path),
        )
        assert probed.exact
        assert abs(probed.seconds - prepared.seconds) < Decimal("0.1")
        assert (probed.container, probed.codec, probed.channels) == (prepared.info.container, prepared.info.codec, 1)
