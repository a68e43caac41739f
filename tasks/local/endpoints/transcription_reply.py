"""Transcription replies, in each provider's formats."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import orjson

from mediamill.tasks.local.asr_engines.base import Segment, SegmentStats, Transcript, Word
from mediamill.tasks.local.endpoints.transcription_request import TranscriptionRequest
from mediamill.tasks.local.server.dialects import Dialect

JsonObject = dict[str, Any]

_LANGUAGE_NAMES = {
    "en": "english", "de": "german", "fr": "french", "es": "spanish", "it": "italian", "pt": "portuguese",
    "nl": "dutch", "pl": "polish", "ru": "russian", "uk": "ukrainian", "ja": "japanese", "ko": "korean",
    "zh": "chinese", "ar": "arabic", "hi": "hindi", "tr": "turkish", "sv": "swedish", "da": "danish",
    "fi": "finnish", "no": "norwegian", "cs": "czech", "el": "greek", "he": "hebrew", "hu": "hungarian",
    "id": "indonesian", "ro": "romanian", "th": "thai", "vi": "vietnamese",
}  # fmt: skip
"""Whisper's names for the most common languages; others are named by their code."""
_SIMULATED_STATS = SegmentStats(temperature=0.0, avg_logprob=-0.25, compression_ratio=1.2, no_speech_prob=0.01)


def build_transcription_reply(
    transcript: Transcript, params: TranscriptionRequest, dialect: Dialect, *, tokens: bool, request_id: str
) -> tuple[bytes, str]:
    """Body and content type of a reply.

    Args:
        transcript: the engine's result.
        params: the request.
        dialect: the provider's formats.
        tokens: the model reports tokens instead of seconds.
        request_id: the id in Groq's replies.
    """
    if params.format in ("text", "srt", "vtt"):
        return _format_text_reply(transcript, params.format).encode(), "text/plain; charset=utf-8"
    if dialect.name == "xai":
        return orjson.dumps(_build_xai_transcript(transcript, params)), "application/json"
    if params.format == "json":
        reply: JsonObject = {"text": transcript.text}
    elif params.format == "diarized_json":
        reply = _build_diarized_reply(transcript)
    else:
        reply = _build_verbose_reply(transcript, params, dialect)
    if dialect.reports_usage and not (dialect.name == "compatible" and params.format != "json"):
        reply["usage"] = build_usage(transcript, dialect, tokens=tokens)
    if dialect.name == "groq":
        reply["x_groq"] = {"id": request_id}
    return orjson.dumps(reply), "application/json"


def _build_xai_transcript(transcript: Transcript, params: TranscriptionRequest) -> JsonObject:
    """The format of xAI: words are in ``text``, speakers are numbers (provider docs)."""
    speaker_by_start = {
        w.start: number % 2
        for number, (_, _, words_of_turn) in enumerate(_assign_speakers(transcript))
        for w in words_of_turn
    }
    words: list[JsonObject] = []
    for w in transcript.words:
        speaker = {"speaker": speaker_by_start.get(w.start, 0)} if params.diarize else {}
        words.append({"text": w.word, "start": w.start, "end": w.end, "confidence": 0.9, **speaker})
    return {
        "text": transcript.text,
        "language": transcript.language,
        "duration": float(transcript.seconds),
        "words": words,
    }


def _build_verbose_reply(transcript: Transcript, params: TranscriptionRequest, dialect: Dialect) -> JsonObject:
    duration: float | str = float(transcript.seconds)
    if dialect.name == "compatible":
        duration = str(transcript.seconds)  # vLLM's is a string (provider docs)
    reply: JsonObject = {
        "task": "transcribe",
        "language": _format_language(transcript.language, dialect),
        "duration": duration,
        "text": transcript.text,
    }
    if params.segments:
        reply["segments"] = [
            _build_segment(n, s, stats=dialect.segment_stats or (s.stats is not None and dialect.name == "local"))
            for n, s in enumerate(transcript.segments)
        ]
    if params.words:
        reply["words"] = [_build_word(w, dialect) for w in transcript.words]
    if params.diarize:
        turns = list(_assign_speakers(transcript))
        reply["speaker_segments"] = [_build_speaker_segment(n, turn) for n, turn in enumerate(turns)]
        if params.words:
            reply["words"] = [word for turn in reply["speaker_segments"] for word in turn["words"]]
    return reply


def _build_segment(number: int, segment: Segment, *, stats: bool) -> JsonObject:
    fields: JsonObject = {"id": number, "start": segment.start, "end": segment.end, "text": segment.text}
    if stats:
        fields |= {"seek": 0, "tokens": [], **asdict(segment.stats or _SIMULATED_STATS)}
    return fields


def _build_word(word: Word, dialect: Dialect) -> JsonObject:
    """A word; only the built-in dialect and speaches state how sure the model is (provider docs)."""
    fields: JsonObject = {"word": word.word, "start": word.start, "end": word.end}
    if word.confidence is not None and dialect.name in ("local", "compatible"):
        fields["probability"] = word.confidence
    return fields


def _assign_speakers(transcript: Transcript) -> Iterator[tuple[str, Segment, list[Word]]]:
    """Two simulated speakers, who take turns by segment."""
    for number, segment in enumerate(transcript.segments):
        words = [w for w in transcript.words if segment.start <= w.start < segment.end]
        yield f"SPEAKER_{number % 2:02d}", segment, words


def _build_speaker_segment(number: int, turn: tuple[str, Segment, list[Word]]) -> JsonObject:
    speaker, segment, words = turn
    return {
        "id": number,
        "speaker_id": speaker,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "words": [
            {"id": n, "word": w.word, "start": w.start, "end": w.end, "speaker_id": speaker}
            for n, w in enumerate(words)
        ],
    }


def _build_diarized_reply(transcript: Transcript) -> JsonObject:
    segments = build_diarized_segments(transcript)
    return {"task": "transcribe", "duration": float(transcript.seconds), "text": transcript.text, "segments": segments}


def build_diarized_segments(transcript: Transcript) -> list[JsonObject]:
    """Segments with speakers in OpenAI's format: their ids are strings, speakers are letters."""
    return [
        {
            "type": "transcript.text.segment",
            "id": f"seg_{number}",
            "start": segment.start,
            "end": segment.end,
            "text": segment.text,
            "speaker": "AB"[number % 2],
        }
        for number, (_, segment, _) in enumerate(_assign_speakers(transcript))
    ]


def build_usage(transcript: Transcript, dialect: Dialect, *, tokens: bool) -> JsonObject:
    """The ``usage`` of a reply: its ``tokens``, or else its seconds."""
    return _build_token_usage(transcript) if tokens else _build_duration_usage(transcript, dialect)


def _build_duration_usage(transcript: Transcript, dialect: Dialect) -> JsonObject:
    seconds: float | int = float(transcript.seconds)
    if dialect.whole_seconds:
        seconds = int(dialect.compute_billed_seconds(transcript.seconds))
    elif dialect.name == "compatible":
        seconds = math.ceil(transcript.seconds)
    return {"type": "duration", "seconds": seconds}


def _build_token_usage(transcript: Transcript) -> JsonObject:
    audio, text_tokens = count_audio_tokens(transcript.seconds), len(transcript.words)
    return {
        "type": "tokens",
        "input_tokens": audio,
        "input_token_details": {"audio_tokens": audio, "text_tokens": 0},
        "output_tokens": text_tokens,
        "total_tokens": audio + text_tokens,
    }


def count_audio_tokens(seconds: Decimal) -> int:
    """Count ten tokens per second of audio, rounded up."""
    return math.ceil(seconds * 10)


def _format_language(code: str, dialect: Dialect) -> str:
    if dialect.language_style == "code":
        return code
    name = _LANGUAGE_NAMES.get(code, code)
    return name.title() if dialect.language_style == "title" else name


def _format_text_reply(transcript: Transcript, text_format: str) -> str:
    if text_format == "text":
        return transcript.text + "\n"
    decimal_mark = "," if text_format == "srt" else "."
    cues = [
        f"{_format_timestamp(s.start, decimal_mark)} --> {_format_timestamp(s.end, decimal_mark)}\n{s.text}\n"
        for s in transcript.segments
    ]
    if text_format == "srt":
        return "\n".join(f"{n}\n{cue}" for n, cue in enumerate(cues, 1))
    return "WEBVTT\n\n" + "\n".join(cues)


def _format_timestamp(seconds: float, decimal_mark: str) -> str:
    whole_seconds, milli = divmod(round(seconds * 1000), 1000)
    return (
        f"{whole_seconds // 3600:02d}:{whole_seconds // 60 % 60:02d}:{whole_seconds % 60:02d}{decimal_mark}{milli:03d}"
    )
