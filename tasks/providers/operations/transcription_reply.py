"""Transcription replies of every provider in one shape: text, ISO language, seconds, segments, words, speakers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any

from mediamill.tasks.domain import Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.languages import to_iso_code
from mediamill.tasks.providers.errors.error_body import read_status_line, redact_line
from mediamill.tasks.providers.errors.lenient_json import read_json
from mediamill.tasks.providers.operations.answer_forms import (
    is_servers_word,
    read_inner_json,
    read_timed_text,
    read_transcript,
    unwrap,
)
from mediamill.tasks.providers.operations.foreign_transcripts import to_usual_transcript
from mediamill.tasks.providers.operations.reply_json import to_count
from mediamill.tasks.providers.operations.stated_times import parse_float_seconds, parse_seconds, read_edges
from mediamill.tasks.providers.operations.time_faults import correct_times
from mediamill.tasks.wire import Reply

Data = dict[str, Any]

_NO_TEXT_HINT = "look at the server's log; mediamill retry OUT requests it again"
_MAX_SEGMENT_ID = 2**31


def parse_transcription_reply(reply: Reply, sent_seconds: Decimal | None) -> tuple[Data, Usage]:
    """As :func:`parse_transcription`, for a reply in any form: JSON, also in a wrapper, plain text, or subtitles.

    Raises:
        BadReply: when it holds no text.
    """
    try:
        content = read_json(reply.body)
    except ValueError:
        content = read_transcript(reply)
        if content is None:
            raise BadReply("the reply is not JSON", hint=_NO_TEXT_HINT) from None
    return parse_transcription(content, sent_seconds)


def parse_transcription(content: Any, sent_seconds: Decimal | None = None) -> tuple[Data, Usage]:
    """The columns of a transcription reply, and the usage that it states.

    Accepts Together's, OpenAI's (json, verbose_json, diarized_json), Groq's, vLLM's, speaches' and whisper.cpp's
    replies (provider docs): durations as numbers or strings, languages as names or codes, speakers as
    ``SPEAKER_00``, letters or numbers, words at the top or inside segments. Times in milliseconds become seconds where
    that is certain; ``time_faults`` names what was found. ``avg_logprob`` is the mean log-probability of the tokens,
    where every segment states its own.

    Args:
        content: the decoded reply.
        sent_seconds: the length of the audio that was sent; None when it is not known.

    Raises:
        BadReply: when it holds no text.
    """
    reply = _to_usual_names(unwrap(content, _is_transcript))
    text = _find_text(reply)
    if text is None:
        raise BadReply(f"the reply holds no text; {_describe_content(content)}", hint=_NO_TEXT_HINT)
    if read_status_line(text):
        raise BadReply(f"the reply's text is a server's error: {redact_line(text)}", hint=_NO_TEXT_HINT)
    speaker_segments = _to_mappings(reply.get("speaker_segments"))
    segments = [_parse_segment(n, s) for n, s in enumerate(_to_mappings(reply.get("segments")) or speaker_segments)]
    listed_words = _to_mappings(reply.get("words")) or _to_mappings(reply.get("word_segments"))
    words = listed_words or _list_words(speaker_segments) or _list_words(_to_mappings(reply.get("segments")))
    duration = parse_seconds(reply.get("duration"))
    data: Data = {
        "text": text.strip(),
        "language": _find_language(reply.get("language")),
        "duration_s": None if duration is None else float(duration),
        "segments": segments or None,
        "words": [w for w in map(_parse_word, words) if w is not None] or None,
    }
    if faults := correct_times(data, sent_seconds):
        data["time_faults"] = faults
    if (log_probability := _find_mean_log_probability(_to_mappings(reply.get("segments")))) is not None:
        data["avg_logprob"] = log_probability
    _assign_speakers_by_time(data["segments"] or (), speaker_segments)
    _assign_speakers_by_time(data["words"] or (), speaker_segments)
    parts = [*(data["segments"] or []), *(data["words"] or []), *map(_to_speaker_entry, speaker_segments)]
    data["speakers"] = sorted({s["speaker"] for s in parts if s["speaker"]}) or None
    return data, parse_audio_usage(reply.get("usage"), duration)


def _is_transcript(value: Any) -> bool:
    """True for what holds a text: an object with one, or the text itself, or a list of segments."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in value)
    return _find_text(_to_usual_names(value)) is not None


def _to_usual_names(value: Any) -> Any:
    """A transcript in the shape of OpenAI's: of a text, subtitles, a list of segments, or under other names."""
    if isinstance(value, str):
        inner = read_inner_json(value)
        if inner is not None:
            return _to_usual_names(unwrap(inner, _is_transcript))
        return read_timed_text(value.strip()) or (None if is_servers_word(value) else {"text": value})
    if isinstance(value, list):
        is_text_alone = not any(read_edges(part) != (None, None) for part in value if isinstance(part, dict))
        texts = [part.get("text") for part in value if isinstance(part, dict)]
        return {"text": texts} if is_text_alone else {"segments": value}
    if not isinstance(value, dict):
        return value
    if (converted := to_usual_transcript(value)) is not None:
        return {**value, **converted}
    text = value.get("text")
    if isinstance(text, str) and not value.get("segments") and (timed := read_timed_text(text.strip())):
        return {**value, **timed}
    if text is None and isinstance(value.get("transcript"), str):
        return {**value, "text": value["transcript"]}
    chunks = _to_mappings(value.get("chunks")) or _to_mappings(value.get("transcription"))
    if chunks and not value.get("segments"):  # Hugging Face's, and whisper.cpp's
        result = value.get("result")
        language = result.get("language") if isinstance(result, dict) else None
        return {"language": language, **value, "segments": chunks}
    return value


def _find_text(reply: Any) -> str | None:
    """The text of a reply, or of its segments where it has none of its own."""
    if not isinstance(reply, dict):
        return None
    text = reply.get("text")
    if isinstance(text, list) and text and all(isinstance(part, str) for part in text):
        return " ".join(text)
    if isinstance(text, str) and text.strip():
        return text
    parts = [part.strip() for s in _to_mappings(reply.get("segments")) if isinstance(part := s.get("text"), str)]
    return " ".join(filter(None, parts)) or (text if isinstance(text, str) else None)


def _find_mean_log_probability(segments: list[Mapping[str, Any]]) -> float | None:
    """The segments' log-probabilities, weighted by their lengths in characters; None where one states none."""
    total, characters = 0.0, 0
    for segment in segments:
        value, size = segment.get("avg_logprob"), len(str(segment.get("text") or ""))
        if not isinstance(value, int | float) or not math.isfinite(value):
            return None
        total, characters = total + value * size, characters + size
    return total / characters if characters else None


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


def _find_language(value: Any) -> str | None:
    """The language's code, also of a list of one, an object with a code, or Whisper's token ``<|en|>``."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        value = value.get("code") or value.get("language") or value.get("language_code")
    return to_iso_code(value.strip("<|> ") if isinstance(value, str) else value)


def _parse_segment(number: int, segment: Mapping[str, Any]) -> Data:
    segment_id = segment.get("id")
    start, end = read_edges(segment)
    return {
        "id": segment_id if type(segment_id) is int and 0 <= segment_id < _MAX_SEGMENT_ID else number,
        "start": start,
        "end": end,
        "text": str(segment.get("text") or "").strip(),
        "speaker": parse_speaker(segment.get("speaker_id", segment.get("speaker"))),
    }


def _parse_word(word: Mapping[str, Any]) -> Data | None:
    text = word.get("word", word.get("text"))
    if not isinstance(text, str):
        return None
    start, end = read_edges(word)
    return {
        "word": text.strip(),
        "start": start,
        "end": end,
        "speaker": parse_speaker(word.get("speaker_id", word.get("speaker"))),
        "confidence": parse_float_seconds(word.get("confidence", word.get("probability", word.get("score")))),
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
    turns = [(*read_edges(segment), _to_speaker_entry(segment)["speaker"]) for segment in speaker_segments]
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


def _describe_content(reply: Any) -> str:
    """What a reply without a text is, in a few words."""
    if not isinstance(reply, dict):
        return f"it is {'null' if reply is None else 'a ' + type(reply).__name__}"
    names = []
    for name, value in list(reply.items())[:5]:
        state = " (null)" if value is None else " (empty)" if value in ("", [], {}) else ""
        names.append(f"{name}{state}")
    return f"its fields are {redact_line(', '.join(names))}" if names else "it is an empty object"
