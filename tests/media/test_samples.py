from __future__ import annotations

import csv
import re
from pathlib import Path

import jiwer
import pytest
from pocketsphinx import Decoder

from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.decode import open_recording
from mediamill.tasks.media.encode import to_mono
from mediamill.tasks.media.prepare import prepare_audio
from tests.helpers.audio_files import LIMITS
from tests.helpers.paths import SAMPLES

SHA = "0" * 64


@pytest.mark.long
def test_the_built_in_engine_transcribes_the_samples() -> None:
    """Word error rate over all of them, with the embedded recognizer."""
    decoder = Decoder(maxwpf=5, maxhmmpf=3000, loglevel="FATAL")
    expected, recognised = [], []
    with (SAMPLES / "texts.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            path = SAMPLES / "recordings" / row["file"]
            with open_recording(path, path.read_bytes()[:4096]) as recording:
                pcm = b"".join(frame.to_ndarray().tobytes() for frame in to_mono(recording.decode_frames()))
            decoder.reinit_feat()
            decoder.start_utt()
            decoder.process_raw(pcm, full_utt=True)
            decoder.end_utt()
            expected.append(re.sub(r"[^a-z ]", "", row["text"].lower()))
            recognised.append(decoder.hyp().hypstr)
    assert len(expected) == 8
    assert jiwer.wer(expected, recognised) <= 0.10


def test_every_sample_is_sent_unchanged(tmp_path: Path) -> None:
    for path in (SAMPLES / "recordings").iterdir():
        clip = prepare_audio(path, SHA, LIMITS, tmp_path)
        assert (clip.input.recipe, clip.info.container) == ("as-is", path.suffix[1:])
        assert 3 <= clip.seconds <= 10


def test_every_broken_sample_has_its_error(tmp_path: Path) -> None:
    kinds = {}
    for path in sorted((SAMPLES / "broken").iterdir()):
        try:
            kinds[path.name] = prepare_audio(path, SHA, LIMITS, tmp_path).warnings[0].split(":")[0]
        except BadInput as error:
            kinds[path.name] = error.kind
    assert kinds == {
        "cut-off.flac": "truncated",
        "cut-off.jpg": "not_audio",
        "enormous.png": "not_audio",
        "header-only.wav": "empty",
        "picture.wav": "not_audio",
        "playlist.mp3": "not_audio",
        "random.ogg": "not_audio",
        "text.jpg": "not_audio",
        "text.mp3": "not_audio",
        "zero-bytes.mp3": "empty",
    }
