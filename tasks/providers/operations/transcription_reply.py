"""Transcription replies of every shape, normalized: text, ISO language, seconds, segments, words, speakers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any

import orjson

from mediamill.tasks.domain import Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.errors.error_body import clean
from mediamill.tasks.providers.languages import iso_code

Data = dict[str, Any]

_EXACT = Decimal("1e-12")
"""As fine as money is kept; replies carry floats of sixteen digits."""
_MAX_ID = 2**31


def normalized(body: bytes) -> tuple[Data, Usage]:
    """A transcription reply as plain columns, with the usage it tells.

    Accepts Together's, OpenAI's (json, verbose_json, diarized_json), Groq's, vLLM's and speaches' replies
    (provider docs): durations as numbers or strings, languages as names or codes, speakers as
    ``SPEAKER_00``, letters or numbers, words at the top or inside speaker segments.

    Raises:
        BadReply: when there is no text in it.
    """
    try:
        reply = orjson.loads(body)
    except ValueError:
        raise BadReply("the reply is not JSON") from None
    if not isinstance(reply, dict) or not isinstance(reply.get("text"), str):
        raise BadReply(f"the reply holds no text, only {_names(reply)}")
    speaker_segments = _list(reply.get("speaker_segments"))
    segments = [_segment(n, s) for n, s in enumerate(_list(reply.get("segments")) or speaker_segments)]
    words = _list(reply.get("words")) or [w for s in speaker_segments for w in _list(s.get("words"))]
    duration = seconds(reply.get("duration"))
    data: Data = {
        "text": reply["text"].strip(),
        "language": iso_code(reply.get("language")),
        "duration_s": None if duration is None else float(duration),
        "segments": segments or None,
        "words": [w for w in map(_word, words) if w is not None] or None,
    }
    _speakers_by_time(data["segments"] or (), speaker_segments)
    _speakers_by_time(data["words"] or (), speaker_segments)
    parts = [*(data["segments"] or []), *(data["words"] or []), *map(_speaker_of, speaker_segments)]
    data["speakers"] = sorted({s["speaker"] for s in parts if s["speaker"]}) or None
    return data, usage_of(reply.get("usage"), duration)


def usage_of(usage: Any, duration: Decimal | None) -> Usage:
    """Usage as told: tokens, or seconds, or the reply's duration."""
    fields = usage if isinstance(usage, dict) else {}
    if "input_tokens" in fields or "output_tokens" in fields:
        details = fields.get("input_token_details")
        audio = details.get("audio_tokens") if isinstance(details, dict) else None
        return Usage(
            audio_seconds=duration,
            input_tokens=_whole(fields.get("input_tokens")),
            audio_input_tokens=_whole(audio),
            output_tokens=_whole(fields.get("output_tokens")),
            requests=1,
        )
    stated = seconds(fields.get("seconds"))
    return Usage(audio_seconds=duration if stated is None else stated, requests=1)


def seconds(value: Any) -> Decimal | None:
    """Seconds from a number or a string; None from anything that is not a sane length."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    if not number.is_finite() or not 0 <= number < 1_000_000:  # noqa: PLR2004
        return None
    rounded = number.quantize(_EXACT)
    return number if number == rounded else rounded


def _segment(number: int, segment: Mapping[str, Any]) -> Data:
    given = segment.get("id")
    return {
        "id": given if type(given) is int and 0 <= given < _MAX_ID else number,
        "start": _float(segment.get("start")),
        "end": _float(segment.get("end")),
        "text": str(segment.get("text") or "").strip(),
        "speaker": speaker(segment.get("speaker_id", segment.get("speaker"))),
    }


def _word(word: Mapping[str, Any]) -> Data | None:
    text = word.get("word", word.get("text"))
    if not isinstance(text, str):
        return None
    return {
        "word": text.strip(),
        "start": _float(word.get("start")),
        "end": _float(word.get("end")),
        "speaker": speaker(word.get("speaker_id", word.get("speaker"))),
        "confidence": _float(word.get("confidence")),
    }


def speaker(value: Any) -> str | None:
    """A speaker's label as text, whatever the provider numbers or letters them by."""
    known = isinstance(value, (str, int)) and not isinstance(value, bool) and value != ""
    return str(value) if known else None


def _speaker_of(segment: Mapping[str, Any]) -> Data:
    return {"speaker": speaker(segment.get("speaker_id", segment.get("speaker")))}


def _speakers_by_time(parts: Iterable[Data], speaker_segments: list[Mapping[str, Any]]) -> None:
    """Give segments and words that name no speaker the one who speaks in most of their time.

    One pass over both in the order of time: a long recording has tens of thousands of words.
    """
    turns = [(_float(s.get("start")), _float(s.get("end")), _speaker_of(s)["speaker"]) for s in speaker_segments]
    whole = sorted((a, b, who) for a, b, who in turns if a is not None and b is not None and who)
    silent = (p for p in parts if not p["speaker"] and p["start"] is not None and p["end"] is not None)
    first = 0
    for part in sorted(silent, key=lambda p: float(p["start"])) if whole else ():
        while first < len(whole) and whole[first][1] <= part["start"]:
            first += 1
        shares: dict[str, float] = {}
        for start, end, who in islice(whole, first, None):
            if start >= part["end"] and start > part["start"]:
                break
            shared = min(end, part["end"]) - max(start, part["start"])
            if shared >= 0:
                shares[who] = shares.get(who, 0.0) + shared
        part["speaker"] = max(shares, key=lambda who: shares[who], default=None)


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _float(value: Any) -> float | None:
    number = seconds(value)
    return None if number is None else float(number)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _names(reply: Any) -> str:
    return clean(", ".join(list(reply)[:5])) or "nothing" if isinstance(reply, dict) else type(reply).__name__
