"""Files of telephone systems without a header are read as their suffix says, or there is a line how to convert them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.decode import open_recording
from mediamill.tasks.media.encode import to_blocks, to_mono
from mediamill.tasks.media.prepare import prepare_audio
from mediamill.tasks.media.probe import read_audio_info
from mediamill.tasks.sources.extensions import looks_like_media
from tests.helpers.audio_files import LIMITS, to_wav, tone, write_tone_file

SHA = "0" * 64
GSM_FRAME = bytes([0xD9]) + bytes(range(17, 49))


def write_raw(path: Path) -> None:
    path.write_bytes(to_wav(tone(2, rate=int(path.suffix[4:] or 8) * 1000), rate=int(path.suffix[4:] or 8) * 1000)[44:])


WRITERS: dict[str, Callable[[Path], object]] = {
    "ulaw": lambda path: write_tone_file(path, "mulaw", "pcm_mulaw", rate=8000),
    "PCMA": lambda path: write_tone_file(path, "alaw", "pcm_alaw", rate=8000),
    "g722": lambda path: write_tone_file(path, "g722", "g722", rate=16_000),
    "sln": write_raw,
    "sln16": write_raw,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_headerless_file_is_what_its_suffix_says(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"call.{suffix}"
    WRITERS[suffix](path)
    clip = prepare_audio(path, SHA, LIMITS, tmp_path)
    assert clip.input.recipe == "flac-16000-mono"
    assert float(clip.seconds) == pytest.approx(2, abs=0.05)
    assert float(read_audio_info(path).seconds) == pytest.approx(2, abs=0.05)
    with open_recording(path, path.read_bytes()[:4096]) as recording:
        samples = np.concatenate(list(to_blocks(to_mono(recording.decode_frames()))))
    spectrum = np.abs(np.fft.rfft(samples[8000:24000]))
    assert spectrum.max() > 20 * np.median(spectrum)


@pytest.mark.parametrize(
    ("suffix", "frame", "seconds"),
    [("gsm", GSM_FRAME, 0.02), ("g729", bytes(10), 0.01), ("g728", bytes(5), 0.0025), ("tco", bytes(24), 0.03)],
)
def test_packets_of_telephone_codecs_have_their_length(
    tmp_path: Path, suffix: str, frame: bytes, seconds: float
) -> None:
    path = tmp_path / f"call.{suffix}"
    path.write_bytes(frame * round(3 / seconds))
    assert float(prepare_audio(path, SHA, LIMITS, tmp_path).seconds) == pytest.approx(3, abs=0.1)
    assert float(read_audio_info(path).seconds) == pytest.approx(3, abs=0.1)


def test_the_bytes_count_more_than_the_suffix(tmp_path: Path) -> None:
    for suffix in ("gsm", "ulaw", "sln"):
        path = tmp_path / f"call.{suffix}"
        path.write_bytes(to_wav(tone(2)))
        assert prepare_audio(path, SHA, LIMITS, tmp_path).input.recipe == "as-is"
        path.write_bytes(b"Microsoft Visual Studio Solution File\r\n" * 9)
        with pytest.raises(BadInput, match="it holds text"):
            prepare_audio(path, SHA, LIMITS, tmp_path)
    (tmp_path / "noise.gsm").write_bytes(np.random.default_rng(1).bytes(4096))
    with pytest.raises(BadInput, match="not audio in any format"):
        prepare_audio(tmp_path / "noise.gsm", SHA, LIMITS, tmp_path)


@pytest.mark.parametrize(("suffix", "tool"), [("vox", "-t vox"), ("g726", "-f g726le"), ("raw", "-ar 16000")])
def test_a_suffix_that_tells_too_little_says_how_to_convert(tmp_path: Path, suffix: str, tool: str) -> None:
    path = tmp_path / f"call.{suffix}"
    path.write_bytes(np.random.default_rng(1).bytes(4096))
    with pytest.raises(BadInput, match="has no header") as refused:
        prepare_audio(path, SHA, LIMITS, tmp_path)
    assert refused.value.kind == "not_audio"
    assert tool in (refused.value.hint or "")


def test_a_solution_of_a_program_is_no_recording() -> None:
    assert not looks_like_media(".sln", "\ufeffMicrosoft Visual Studio Solution File".encode() + b" " * 100)
    assert looks_like_media(".sln", bytes(600))
    assert looks_like_media(".al", bytes([0xD5]) * 600)
    assert not looks_like_media(".ts", bytes(600))
