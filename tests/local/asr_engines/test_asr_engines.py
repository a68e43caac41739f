from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import jiwer
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.errors import BadInput, NoSuchOption, UsageError
from mediamill.tasks.local.asr_engines.audio_input import decode_samples as samples_of
from mediamill.tasks.local.asr_engines.audio_input import open_audio
from mediamill.tasks.local.asr_engines.base import Audio
from mediamill.tasks.local.asr_engines.echo import simulate_transcript
from mediamill.tasks.local.asr_engines.pocketsphinx import recognise_with_pocketsphinx, split_utterances
from mediamill.tasks.local.asr_engines.registry import get_asr_engine_identity, make_asr_engine
from mediamill.tasks.local.asr_engines.worker_pool import WorkerDied, WorkerPool
from tests.helpers.audio_files import to_wav, write_tone_file
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.paths import RECORDINGS, SAMPLES
from tests.helpers.transcription_requests import post_transcription, read_error, tone_wav


def audio(data: bytes) -> Audio:
    return Audio("a.wav", len(data), "0" * 64, data=data)


def speech_samples() -> list[tuple[Path, str]]:
    """The project's recordings of read English speech with their texts."""
    with (SAMPLES / "texts.csv").open(encoding="utf-8") as file:
        return [(RECORDINGS / row["file"], row["text"]) for row in csv.DictReader(file)]


def plain(text: str) -> str:
    return " ".join("".join(c if c.isalpha() or c == "'" else " " for c in text.lower()).split())


def test_identities_name_the_version_without_loading_the_engine() -> None:
    assert (
        get_asr_engine_identity("local")
        == get_asr_engine_identity("pocketsphinx")
        == f"pocketsphinx-{version('pocketsphinx')}"
    )
    assert get_asr_engine_identity("echo") == "echo-1"
    with pytest.raises(NoSuchOption, match="did you mean 'echo'"):
        get_asr_engine_identity("ecko")


@pytest.mark.skipif(find_spec("faster_whisper") is not None, reason="the whisper extra is installed")
def test_whisper_without_its_extra_fails_and_names_the_extra() -> None:
    with pytest.raises(UsageError, match=r"mediamill\[whisper\]"):
        make_asr_engine("whisper", 1, None)
    with pytest.raises(UsageError, match=r"mediamill\[whisper\]"), running_server(engine="whisper"):
        pass


@given(st.binary(min_size=32, max_size=32), st.decimals("0.01", 4000, places=6))
def test_simulated_transcripts_cover_the_recording_and_are_repeatable(digest: bytes, seconds: Decimal) -> None:
    first, again = simulate_transcript(digest.hex(), seconds, "en"), simulate_transcript(digest.hex(), seconds, "en")
    assert first == again
    times = [t for w in first.words for t in (w.start, w.end)]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= float(seconds)
    assert first.text == " ".join(w.word for w in first.words) == " ".join(s.text for s in first.segments)


def test_simulated_transcripts_of_different_bytes_differ(local_server: RunningServer) -> None:
    texts = {
        post_transcription(local_server.origin, audio=tone_wav(0.5, pitch)).json()["text"] for pitch in range(200, 240)
    }
    assert len(texts) == 40


def test_echo_decodes_audio_that_is_not_plain_wav_to_measure_it(local_server: RunningServer, tmp_path: Path) -> None:
    for form, codec in (("flac", "flac"), ("mp3", "mp3"), ("webm", "libopus")):
        path = write_tone_file(tmp_path / f"a.{form}", form, codec, seconds=1.5)
        reply = post_transcription(
            local_server.origin, audio=path.read_bytes(), filename=path.name, response_format="verbose_json"
        )
        assert reply.json()["duration"] == pytest.approx(1.5, abs=0.06)
    assert post_transcription(local_server.origin, audio=b"RIFF" + bytes(100)).status_code == 400


@given(st.lists(st.integers(1, 200_000), max_size=12), st.integers(0, 2**32 - 1))
def test_splitting_into_utterances_keeps_every_sample(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = [rng.integers(-100, 100, size).astype(np.int16) for size in sizes]
    utterances = list(split_utterances(iter(blocks)))
    assert sum(map(len, utterances)) == sum(sizes)
    assert all(0 < len(p) <= 30 * 16_000 for p in utterances)
    if utterances:
        assert np.array_equal(np.concatenate(utterances), np.concatenate(blocks))


def test_utterances_are_cut_in_a_pause() -> None:
    samples = np.random.default_rng(1).integers(-3000, 3000, 45 * 16_000).astype(np.int16)
    samples[24 * 16_000 : 25 * 16_000] = 0

    def blocks() -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.int16]]]:
        yield from np.array_split(samples, 100)

    first = next(split_utterances(blocks()))
    assert 24 * 16_000 < len(first) < 25 * 16_000


def test_undecodable_and_too_long_audio_is_bad_input() -> None:
    with pytest.raises(BadInput):
        recognise_with_pocketsphinx(audio(b"plain text"), None)
    with pytest.raises(BadInput, match="longer than"):
        recognise_with_pocketsphinx(audio(tone_wav(2.0)), 1.0)


def test_silence_has_no_words() -> None:
    transcript = recognise_with_pocketsphinx(audio(tone_wav(1.0, pitch=0)), None)
    assert (transcript.text, transcript.words, transcript.segments, transcript.seconds) == (
        "",
        (),
        (),
        Decimal("1.000000"),
    )


@pytest.mark.long
def test_read_speech_is_recognised_independently_of_earlier_recordings() -> None:
    chosen = speech_samples()[:5]
    transcripts = {path: recognise_with_pocketsphinx(Audio(path.name, 0, "", path=path), None) for path, _ in chosen}
    assert jiwer.wer([plain(t) for _, t in chosen], [plain(transcripts[p].text) for p, _ in chosen]) < 0.45
    for path, _ in reversed(chosen):
        assert recognise_with_pocketsphinx(Audio(path.name, 0, "", path=path), None) == transcripts[path]
    for transcript in transcripts.values():
        times = [t for w in transcript.words for t in (w.start, w.end)]
        assert times == sorted(times)
        assert times[-1] <= float(transcript.seconds)
        assert not any(w.word.startswith(("<", "[")) or "(" in w.word for w in transcript.words)


@pytest.mark.long
def test_the_projects_own_recordings_are_transcribed() -> None:
    files = [p for p in sorted(RECORDINGS.iterdir()) if p.suffix in (".wav", ".mp3", ".flac", ".m4a", ".webm")]
    with running_server(engine="local") as running:
        for path in files[:3]:
            reply = post_transcription(running.origin, audio=path.read_bytes(), filename=path.name)
            assert reply.status_code == 200, reply.text
            assert len(reply.json()["text"].split()) > 3
            assert reply.headers["x-mediamill-simulated"] == "false"


def test_the_local_engine_refuses_other_languages_diarization_and_text() -> None:
    with running_server(engine="local", workers=1) as running:
        german = post_transcription(running.origin, language="de")
        assert (german.status_code, read_error(german)["param"]) == (400, "language")
        speakers = post_transcription(running.origin, diarize="true")
        assert (speakers.status_code, read_error(speakers)["param"]) == (400, "diarize")
        assert post_transcription(running.origin, audio=b"text", filename="a.mp3").status_code == 400


@pytest.mark.long
def test_word_times_are_right_after_the_first_cut(tmp_path: Path) -> None:
    recording = RECORDINGS / "friends.wav"
    with open_audio(Audio("friends.wav", 0, "", path=recording)) as recording_audio:
        once = np.concatenate([*samples_of(recording_audio), np.zeros(16_000, np.int16)])
    path = tmp_path / "long.wav"
    copies = 1 + 70 * 16_000 // len(once)
    path.write_bytes(to_wav(np.tile(once, copies)))
    transcript = recognise_with_pocketsphinx(Audio("long.wav", 0, "", path=path), None)
    assert float(transcript.seconds) == pytest.approx(copies * len(once) / 16_000, abs=1e-6)
    first = next(w.start for w in transcript.words if w.word == "friends")
    starts = [w.start for w in transcript.words if w.word == "friends"]
    expected = [first + n * len(once) / 16_000 for n in range(copies)]
    found = [t for t in expected if any(abs(t - start) < 0.1 for start in starts)]
    assert len(found) >= copies - 1


@pytest.mark.long
def test_a_killed_worker_is_a_500_and_is_replaced(tmp_path: Path) -> None:
    content = write_tone_file(tmp_path / "a.flac", "flac", "flac", seconds=0.5).read_bytes()
    with running_server(workers=1) as running:
        assert post_transcription(running.origin, audio=content, filename="a.flac").status_code == 200
        server = psutil.Process(running.server.process.pid)
        # The process that tracks shared resources is a child too, and must stay.
        workers = [p for p in server.children() if "spawn_main" in " ".join(p.cmdline())]
        assert len(workers) == 1
        workers[0].kill()
        failed = post_transcription(running.origin, "together", audio=content, filename="a.flac")
        assert (failed.status_code, read_error(failed)["code"]) == (500, "processing_failed")
        assert post_transcription(running.origin, "together", audio=content, filename="a.flac").status_code == 200
        assert running.bill()["billed"] == 2


def die() -> None:
    os._exit(7)


@pytest.mark.long
async def test_a_crashed_worker_fails_one_request_and_the_pool_continues() -> None:
    pool = WorkerPool(1)
    try:
        with pytest.raises(WorkerDied):
            await pool.run(die)
        assert await pool.run(int, "42") == 42
    finally:
        pool.close()
