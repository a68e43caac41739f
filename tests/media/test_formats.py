"""Files of every kind that can be decoded are found in a folder, and heard."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from mediamill.tasks.media.formats import DECODERS, DEMUXERS
from mediamill.tasks.media.prepare import prepare_audio
from mediamill.tasks.media.video_file import DEMUXERS as VIDEO_DEMUXERS
from mediamill.tasks.sources.extensions import EXTENSIONS
from tests.helpers.audio_files import LIMITS, to_wav, tone, write_tone_file

_NAMES_OF_OTHERS = {"gif", "avif", "heic", "heif", "ism", "isma", "ismv", "psp", "mj2", "mks", "mac", "apl", "dif"}
"""Extensions that FFmpeg lists for a container, which hold images or subtitles, or that nobody uses."""


def test_every_decoder_and_format_is_one_that_the_library_has() -> None:
    assert not DECODERS - av.codecs_available
    assert {*DEMUXERS.split(","), *VIDEO_DEMUXERS.split(",")} <= av.formats_available


@pytest.mark.parametrize("name", sorted({*DEMUXERS.split(","), *VIDEO_DEMUXERS.split(",")}))
def test_a_folder_takes_the_usual_extensions_of_every_format_that_is_opened(name: str) -> None:
    listed = {f".{extension}" for extension in av.ContainerFormat(name, "r").extensions - _NAMES_OF_OTHERS}
    unlisted = listed - EXTENSIONS["audio"] - EXTENSIONS["video"]
    assert unlisted <= {".avc", ".h26l"}


@pytest.mark.parametrize(
    ("form", "codec", "rate"),
    [
        *(("wav", "g722", 16_000), ("wav", "g726", 8_000), ("tta", "tta", 16_000), ("sox", "pcm_s32le", 16_000)),
        *(("ircam", "pcm_s16le", 16_000), ("rso", "pcm_u8", 16_000), ("adx", "adpcm_adx", 16_000)),
    ],
)
def test_codecs_of_telephones_and_archives_are_heard(tmp_path: Path, form: str, codec: str, rate: int) -> None:
    path = write_tone_file(tmp_path / f"x.{form}", form, codec, rate=rate)
    assert path.suffix in EXTENSIONS["audio"]
    clip = prepare_audio(path, "0" * 64, LIMITS, tmp_path)
    assert clip.input.recipe == "flac-16000-mono"
    assert float(clip.seconds) == pytest.approx(2, abs=0.05)


def test_names_that_films_and_songs_of_shops_and_discs_have_are_taken() -> None:
    assert {".evo", ".tp", ".gxf"} <= EXTENSIONS["audio"] & EXTENSIONS["video"]
    assert {".m4p", ".oggu", ".sf"} <= EXTENSIONS["audio"]


def test_a_wav_after_an_id3_tag_is_converted_because_others_do_not_open_it(tmp_path: Path) -> None:
    path = tmp_path / "tagged.wav"
    path.write_bytes(b"ID3\x03\0\0\0\0\x01\x00" + bytes(128) + to_wav(tone(2)))
    clip = prepare_audio(path, "0" * 64, LIMITS, tmp_path)
    assert (clip.input.recipe, float(clip.seconds), clip.info.container) == ("flac-16000-mono", 2, "wav")
