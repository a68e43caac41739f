"""Transcription replies of every provider in one shape: text, ISO language, seconds, segments, words, speakers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any

from mediamill.tasks.domain import Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.languages import to_iso_code
from mediamill.tasks.providers.errors.error_body import redact_line
from mediamill.tasks.providers.operations.reply_json import decode_reply, to_count
from mediamill.tasks.providers.operations.time_faults import correct_times

Data = dict[str, Any]

_SECONDS_PRECISION = Decimal("1e-12")
"""The precision in which money is stored; replies hold floats of sixteen digits."""
_NO_TEXT_HINT = "look at the server's log; mediamill retry OUT requests it again"
_MAX_MILLISECONDS = 10**9
_MAX_SEGMENT_ID = 2**31


def parse_transcription(body: bytes, sent_seconds: Decimal | None = None) -> tuple[Data, Usage]:
    """The columns of a transcription reply, and the usage that it states.

    Accepts Together's, OpenAI's (json, verbose_json, diarized_json), Groq's, vLLM's, speaches' and whisper.cpp's
    replies (provider docs): durations as numbers or strings, languages as names or codes, speakers as
    ``SPEAKER_00``, letters or numbers, words at the top or inside segments. Times in milliseconds become seconds where
    that is certain; ``time_faults`` names what was found.

    Args:
        body: the reply.
        sent_seconds: the length of the audio that was sent; None when it is not known.

    Raises:
        BadReply: when it holds no text.
    """
    reply = decode_reply(body)
    text = _find_text(reply)
    if text is None:
        raise BadReply(f"the reply holds no text, only {_format_content(reply)}", hint=_NO_TEXT_HINT)
    speaker_segments = _to_mappings(reply.get("speaker_segments"))
    segments = [_parse_segment(n, s) for n, s in enumerate(_to_mappings(reply.get("segments")) or speaker_segments)]
    listed_words = _to_mappings(reply.get("words")) or _to_mappings(reply.get("word_segments"))
    words = listed_words or _list_words(speaker_segments) or _list_words(_to_mappings(reply.get("segments")))
    duration = parse_seconds(reply.get("duration"))
    data: Data = {
        "text": text.strip(),
        "language": to_iso_code(reply.get("language")),
        "duration_s": None if duration is None else float(duration),
        "segments": segments or None,
        "words": [w for w in map(_parse_word, words) if w is not None] or None,
    }
    if faults := correct_times(data, sent_seconds):
        data["time_faults"] = faults
    _assign_speakers_by_time(data["segments"] or (), speaker_segments)
    _assign_speakers_by_time(data["words"] or (), speaker_segments)
    parts = [*(data["segments"] or []), *(data["words"] or []), *map(_to_speaker_entry, speaker_segments)]
    data["speakers"] = sorted({s["speaker"] for s in parts if s["speaker"]}) or None
    return data, parse_audio_usage(reply.get("usage"), duration)


def _find_text(reply: Any) -> str | None:
    """The text of a reply, or of its segments where it has none of its own."""
    if not isinstance(reply, dict):
        return None
    text = reply.get("text")
    if isinstance(text, list) and text and all(isinstance(part, str) for part in text):
        return " ".join(text)
    if isinstance(text, str):
        return text
    parts = [part.strip() for s in _to_mappings(reply.get("segments")) if isinstance(part := s.get("text"), str)]
    return " ".join(filter(None, parts)) or None


def _list_words(segments: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [word for segment in segments for word in _to_mappings(segment.get("words"))]


def parse_audio_usage(usage: Any, duration: Decimal | None) -> Usage:
    """The usage that a reply states: tokens, or seconds, otherwise the reply's duration."""
    fields = usage if isinstance(usage, dict) else {}
    if "input_tokens" in fields or "output_tokens" in fields:
        details = fields.get("input_token_details")
        audio = details.get("audio_tokens") if isinstance(details, dict) else None
        return Usage(
            audio_seconds=duration,
            input_tokens=to_count(fields.get("input_tokens")),
            audio_input_tokens=to_count(audio),
            output_tokens=to_count(fields.get("output_tokens")),
            requests=1,
        )
    stated = parse_seconds(fields.get("seconds"))
    return Usage(audio_seconds=duration if stated is None else stated, requests=1)


def parse_seconds(value: Any) -> Decimal | None:
    """Seconds from a number or a string; None for anything outside [0, 1 000 000)."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    if not number.is_finite() or not 0 <= number < 1_000_000:  # noqa: PLR2004
        return None
    rounded = number.quantize(_SECONDS_PRECISION)
    return number if number == rounded else rounded


def _parse_segment(number: int, segment: Mapping[str, Any]) -> Data:
    segment_id = segment.get("id")
    return {
        "id": segment_id if type(segment_id) is int and 0 <= segment_id < _MAX_SEGMENT_ID else number,
        "start": _parse_float_seconds(segment.get("start")),
        "end": _parse_float_seconds(segment.get("end")),
        "text": str(segment.get("text") or "").strip(),
        "speaker": parse_speaker(segment.get("speaker_id", segment.get("speaker"))),
    }


def _parse_word(word: Mapping[str, Any]) -> Data | None:
    text = word.get("word", word.get("text"))
    if not isinstance(text, str):
        return None
    return {
        "word": text.strip(),
        "start": _parse_float_seconds(word.get("start")),
        "end": _parse_float_seconds(word.get("end")),
        "speaker": parse_speaker(word.get("speaker_id", word.get("speaker"))),
        "confidence": _parse_float_seconds(word.get("confidence", word.get("probability", word.get("score")))),
    }


def parse_speaker(value: Any) -> str | None:
    """A speaker's label as text, whether the provider uses numbers or letters; None without a label."""
    is_label = isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""
    return str(value) if is_label else None


def _to_speaker_entry(segment: Mapping[str, Any]) -> Data:
    return {"speaker": parse_speaker(segment.get("speaker_id", segment.get("speaker")))}


def _assign_speakers_by_time(parts: Iterable[Data], speaker_segments: list[Mapping[str, Any]]) -> None:
    """Give each segment or word without a speaker the one who speaks for most of its time.

    It is one pass over both in the order of time, because a long recording has tens of thousands of words.
    """
    turns = [
        (_parse_float_seconds(s.get("start")), _parse_float_seconds(s.get("end")), _to_speaker_entry(s)["speaker"])
        for s in speaker_segments
    ]
    timed_turns = sorted((a, b, speaker) for a, b, speaker in turns if a is not None and b is not None and speaker)
    unlabelled = (p for p in parts if not p["speaker"] and p["start"] is not None and p["end"] is not None)
    first = 0
    for part in sorted(unlabelled, key=lambda p: float(p["start"])) if timed_turns else ():
        while first < len(timed_turns) and timed_turns[first][1] <= part["start"]:
            first += 1
        shares: dict[str, float] = {}
        for start, end, speaker in islice(timed_turns, first, None):
            if start >= part["end"] and start > part["start"]:
                break
            shared = min(end, part["end"]) - max(start, part["start"])
            if shared >= 0:
                shares[speaker] = shares.get(speaker, 0.0) + shared
        part["speaker"] = max(shares, key=lambda speaker: shares[speaker], default=None)


def _to_mappings(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _parse_float_seconds(value: Any) -> float | None:
    """A time as a float. It may be in milliseconds, so it may be a thousand times what :func:`parse_seconds` takes."""
    number = parse_seconds(value)
    if number is None and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_MILLISECONDS:
        return float(value)
    return None if number is None else float(number)


def _format_content(reply: Any) -> str:
    """What a reply without a text holds, in a few words."""
    if not isinstance(reply, dict):
        return type(reply).__name__
    names = [f"{name} (empty)" if reply[name] in (None, [], {}) else str(name) for name in list(reply)[:5]]
    return redact_line(", ".join(names)) or "nothing"
