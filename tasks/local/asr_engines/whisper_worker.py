"""What a worker of the whisper engine does: loads the weights once, and transcribes a recording chunk by chunk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from mediamill.tasks.errors import BadInput
from mediamill.tasks.local.asr_engines.base import Audio, Segment, SegmentStats, Transcript, Word
from mediamill.tasks.local.asr_engines.missed_speech import RehearingBudget, find_missed_speech, keep_sure_segments
from mediamill.tasks.local.asr_engines.speech_chunks import RATE, split_speech
from mediamill.tasks.system.whisper_weights import COMPUTE_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediamill.tasks.local.asr_engines.speech_chunks import Chunk, FloatSamples

_TEMPERATURE_STEP = 0.2
_SEED = 0


@dataclass(frozen=True, slots=True)
class WhisperRequest:
    """What is asked for: the spoken language (ISO 639-1, None to detect it), translation, prompt and temperature."""

    language: str | None
    translates: bool
    prompt: str | None
    temperature: float | None


def recognise_with_whisper(
    audio: Audio, max_seconds: float | None, folder: str, threads: int, request: WhisperRequest
) -> Transcript:
    """Decode and recognise a recording.

    The audio is decoded here and not by faster-whisper, which would open playlists.

    Raises:
        BadInput: when it cannot be decoded; ``language`` when the weights do not know the language.
    """
    from mediamill.tasks.local.asr_engines.audio_input import decode_samples, open_audio
    from mediamill.tasks.media.audio_info import to_seconds

    model = _load_model(folder, threads)
    _check_language(model, request)
    language = request.language
    segments: list[Segment] = []
    words: list[Word] = []
    budget = RehearingBudget()
    with open_audio(audio) as recording:
        for chunk in split_speech(decode_samples(recording, max_seconds)):
            found, language = _recognise_chunk(model, chunk, language, request, budget)
            for offset, part in found:
                _add_segment(part, offset, segments, words)
        seconds = to_seconds(recording.length)
    if not seconds:
        raise BadInput("no audio can be decoded from it", kind="undecodable")
    text = " ".join(segment.text for segment in segments)
    return Transcript(text, "en" if request.translates else language or "", seconds, tuple(segments), tuple(words))


@cache
def _load_model(folder: str, threads: int) -> Any:
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(threads))
    from faster_whisper import WhisperModel

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


def _check_language(model: Any, request: WhisperRequest) -> None:
    known = model.supported_languages
    if request.language is not None and request.language not in known:
        message = f"the weights know no {request.language!r}: {', '.join(known)}"
        raise BadInput(message, kind="language")
    if request.translates and not model.model.is_multilingual:
        raise BadInput("weights for English alone do not translate", kind="language")


def _recognise_chunk(
    model: Any, chunk: Chunk, language: str | None, request: WhisperRequest, budget: RehearingBudget
) -> tuple[list[tuple[float, Any]], str]:
    """The segments of one chunk in order, each with the second from which its times count, and its language.

    Stretches of speech without words are heard once more, each by itself.
    """
    temperatures = _list_temperatures(request.temperature or 0.0)
    segments, language = _recognise(model, chunk.samples, language, request, temperatures)
    budget.add_chunk()
    found = [(chunk.position / RATE, part) for part in segments]
    words = [(int(word.start * RATE), int(word.end * RATE)) for part in segments for word in part.words or ()]
    for first, last in find_missed_speech(chunk.speech, words, len(chunk.samples)):
        if not budget.take():
            break
        again, _ = _recognise(model, chunk.samples[first:last], language, request, temperatures[:1])
        found += [((chunk.position + first) / RATE, part) for part in keep_sure_segments(again)]
    return sorted(found, key=lambda entry: entry[0] + entry[1].start), language


def _recognise(
    model: Any, samples: FloatSamples, language: str | None, request: WhisperRequest, temperatures: list[float]
) -> tuple[list[Any], str]:
    """faster-whisper's segments and the language. The seed makes what is sampled repeatable."""
    import ctranslate2

    ctranslate2.set_random_seed(_SEED)
    generated, info = model.transcribe(
        samples,
        language=language,
        task="translate" if request.translates else "transcribe",
        initial_prompt=request.prompt,
        temperature=temperatures,
        condition_on_previous_text=False,
        word_timestamps=True,
    )
    return list(generated), str(info.language)


def _list_temperatures(first: float) -> list[float]:
    """The requested temperature, and those above it, which are tried where the text looks wrong."""
    steps = int((1.0 - first) / _TEMPERATURE_STEP + 1e-6)
    return [round(first + n * _TEMPERATURE_STEP, 2) for n in range(steps + 1)]


def _add_segment(part: Any, offset: float, segments: list[Segment], words: list[Word]) -> None:
    """Take a segment in plain types: the library's numbers are NumPy's, which JSON has not."""
    text = str(part.text).strip()
    if not text:
        return
    stats = SegmentStats(
        float(part.temperature), float(part.avg_logprob), float(part.compression_ratio), float(part.no_speech_prob)
    )
    segments.append(Segment(_round(offset + part.start), _round(offset + part.end), text, stats))
    words += [
        Word(str(w.word).strip(), _round(offset + w.start), _round(offset + w.end), round(float(w.probability), 3))
        for w in part.words or ()
    ]


def _round(seconds: float) -> float:
    return round(float(seconds), 3)
