"""What a worker of the whisper engine does: finds a recording's speech, and hears one chunk of it at a time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.errors import BadInput
from mediamill.tasks.local.asr_engines.base import AsrRequest, Audio, Segment, SegmentStats, Word
from mediamill.tasks.local.asr_engines.missed_speech import find_missed_speech, keep_sure_segments
from mediamill.tasks.local.asr_engines.speech_chunks import RATE, Span, split_speech, to_float
from mediamill.tasks.system.whisper_weights import COMPUTE_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediamill.tasks.local.asr_engines.audio_input import Samples
    from mediamill.tasks.local.asr_engines.speech_chunks import FloatSamples

_TEMPERATURE_STEP = 0.2
_SEED = 0
_BEST_OF = 3
"""Texts that are sampled at a temperature above 0, of which the best is taken; five need 90 MB more than beams do."""
_SAMPLE_BYTES = 2
_MIN_LANGUAGE_PROBABILITY = 0.9
_MIN_LANGUAGE_SECONDS = 3.0
"""How sure the model must be that another language than the requested one is spoken, in how much speech."""


@dataclass(frozen=True, slots=True)
class WhisperTask:
    """What the workers need for one recording.

    Attributes:
        folder: the weights.
        threads: of a worker.
        chunks_file: where the chunks' samples are, 16-bit mono at 16 kHz, one behind the other.
        request: what is asked for.
    """

    folder: str
    threads: int
    chunks_file: str
    request: AsrRequest


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk in the file: its position in the recording and in the file, its length, and where there is speech.

    All in samples; the speech counts from the chunk's first sample.
    """

    position: int
    offset: int
    size: int
    speech: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class HeardSegment:
    """A segment and its words."""

    segment: Segment
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class ChunkHearing:
    """What was heard in a chunk, in which language, and stretches of speech without words, to be heard again."""

    language: str
    segments: tuple[HeardSegment, ...]
    missed: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class RecordingStart:
    """A recording whose chunks are in the file, and what was heard in the first one; None where nobody speaks.

    ``other_language`` is the one that is surely spoken in the first chunk instead of the requested one.
    """

    seconds: Decimal
    chunks: tuple[StoredChunk, ...]
    first: ChunkHearing | None
    other_language: str | None = None


def begin_recording(audio: Audio, max_seconds: float | None, task: WhisperTask) -> RecordingStart:
    """Decode a recording, store the chunks that hold speech, and hear the first, which shows the language.

    The audio is decoded here and not by faster-whisper, which would open playlists.

    Raises:
        BadInput: when it cannot be decoded; ``language`` when the weights do not know the language.
    """
    from mediamill.tasks.local.asr_engines.audio_input import decode_samples, open_audio
    from mediamill.tasks.media.audio_info import to_seconds

    _check_language(_load_model(task.folder, task.threads), task.request)
    chunks: list[StoredChunk] = []
    offset = 0
    with open_audio(audio) as recording, Path(task.chunks_file).open("wb") as file:
        for chunk in split_speech(decode_samples(recording, max_seconds)):
            file.write(chunk.samples.tobytes())
            chunks.append(StoredChunk(chunk.position, offset, len(chunk.samples), chunk.speech))
            offset += len(chunk.samples)
        seconds = to_seconds(recording.length)
    if not seconds:
        raise BadInput("no audio can be decoded from it", kind="undecodable")
    if not chunks:
        return RecordingStart(seconds, (), None)
    other = _detect_other_language(task, chunks[0])  # before it is heard, which needs the same encoding
    return RecordingStart(seconds, tuple(chunks), hear_chunk(task, chunks[0], task.request.language), other)


def _detect_other_language(task: WhisperTask, chunk: StoredChunk) -> str | None:
    """The language that is surely spoken in a chunk, where another was requested.

    Whisper writes speech in another language than the one it is given as a translation, or as words that nobody said.
    """
    request = task.request
    model = _load_model(task.folder, task.threads)
    speech = sum(last - first for first, last in chunk.speech)
    if request.language is None or request.to is not None or not model.model.is_multilingual:
        return None
    if speech < _MIN_LANGUAGE_SECONDS * RATE:
        return None
    language, probability, _ = model.detect_language(to_float(_read_samples(task, chunk, (0, chunk.size))))
    return str(language) if language != request.language and probability >= _MIN_LANGUAGE_PROBABILITY else None


def hear_chunk(task: WhisperTask, chunk: StoredChunk, language: str | None) -> ChunkHearing:
    """What is said in a chunk; without a language it is detected."""
    samples = _read_samples(task, chunk, (0, chunk.size))
    temperatures = _list_temperatures(task.request.temperature or 0.0)
    parts, language = _recognise(task, samples, language, temperatures)
    words = [(int(word.start * RATE), int(word.end * RATE)) for part in parts for word in part.words or ()]
    missed = find_missed_speech(chunk.speech, words, chunk.size)
    return ChunkHearing(language, _to_segments(parts, chunk.position), tuple(missed))


def hear_stretch(task: WhisperTask, chunk: StoredChunk, span: Span, language: str) -> tuple[HeardSegment, ...]:
    """What is surely said in a stretch of a chunk, heard by itself."""
    temperatures = _list_temperatures(task.request.temperature or 0.0)[:1]
    parts, _ = _recognise(task, _read_samples(task, chunk, span), language, temperatures)
    return _to_segments(keep_sure_segments(parts), chunk.position + span[0])


@cache
def _load_model(folder: str, threads: int) -> Any:
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))
    import ctranslate2
    from faster_whisper import WhisperModel

    ctranslate2.set_random_seed(_SEED)  # each thread takes it once, so what is sampled depends on what came before
    model = WhisperModel(folder, device="auto", compute_type=COMPUTE_TYPE, cpu_threads=threads)
    model.encode = _EncodeOnce(model.encode)
    return model


class _EncodeOnce:
    """Encodes a chunk once, which is most of the work: the library does it for the language and again for the text.

    It detects the language in one frame (10 ms) more than it transcribes.
    """

    def __init__(self, encode: Callable[[FloatSamples], Any]) -> None:
        self._encode = encode
        self._features: FloatSamples | None = None
        self._encoded: Any = None

    def __call__(self, features: FloatSamples) -> Any:
        """The encoder's output for a spectrogram (bands, frames)."""
        before = self._features
        is_same = before is not None and before.shape == features.shape
        if not is_same or int((features != before).any(axis=0).sum()) > 1:
            self._features, self._encoded = features, self._encode(features)
        return self._encoded


def _check_language(model: Any, request: AsrRequest) -> None:
    known = model.supported_languages
    if request.language is not None and request.language not in known:
        message = f"the weights know no {request.language!r}: {', '.join(known)}"
        raise BadInput(message, kind="language")
    if request.to is not None and not model.model.is_multilingual:
        raise BadInput("weights for English alone do not translate", kind="language")


def _read_samples(task: WhisperTask, chunk: StoredChunk, span: Span) -> Samples:
    import numpy as np

    first, last = span
    start = (chunk.offset + first) * _SAMPLE_BYTES
    return np.fromfile(task.chunks_file, np.int16, last - first, offset=start)


def _recognise(
    task: WhisperTask, samples: Samples, language: str | None, temperatures: list[float]
) -> tuple[list[Any], str]:
    """faster-whisper's segments and the language."""
    generated, info = _load_model(task.folder, task.threads).transcribe(
        to_float(samples),
        language=language,
        task="transcribe" if task.request.to is None else "translate",
        initial_prompt=task.request.prompt,
        temperature=temperatures,
        best_of=_BEST_OF,
        condition_on_previous_text=False,
        word_timestamps=True,
    )
    return list(generated), str(info.language)


def _list_temperatures(first: float) -> list[float]:
    """The requested temperature, and those above it, which are tried where the text looks wrong."""
    steps = int((1.0 - first) / _TEMPERATURE_STEP + 1e-6)
    return [round(first + n * _TEMPERATURE_STEP, 2) for n in range(steps + 1)]


def _to_segments(parts: list[Any], position: int) -> tuple[HeardSegment, ...]:
    """Segments with text, times from the recording's start, and plain types: JSON has not the library's NumPy numbers.

    Args:
        parts: faster-whisper's segments.
        position: in the recording of the sample from which their times count.
    """
    offset = position / RATE
    segments = []
    for part in parts:
        if text := str(part.text).strip():
            stats = SegmentStats(
                *map(float, (part.temperature, part.avg_logprob, part.compression_ratio, part.no_speech_prob))
            )
            segment = Segment(_round(offset + part.start), _round(offset + part.end), text, stats)
            segments.append(HeardSegment(segment, tuple(_to_word(word, offset) for word in part.words or ())))
    return tuple(segments)


def _to_word(word: Any, offset: float) -> Word:
    start, end = _round(offset + word.start), _round(offset + word.end)
    return Word(str(word.word).strip(), start, end, round(float(word.probability), 3))


def _round(seconds: float) -> float:
    return round(float(seconds), 3)
