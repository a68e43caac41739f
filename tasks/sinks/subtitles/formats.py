"""Transcripts as files: SubRip, WebVTT, plain text, JSON."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from mediamill.tasks.sinks.subtitles.cues import Cue, build_cues
from mediamill.tasks.sinks.subtitles.timed_text import Token, build_tokens, join_tokens

_WORD_JOINER = "\u2060"
_MARKUP_START = re.compile(r"--(?=>)|<(?=[/a-zA-Z])|\{(?=\\)")
_JSON_FIELDS = (
    "item_id",
    "source",
    "text",
    "language",
    "audio_seconds",
    "segments",
    "words",
    "speakers",
    "provider",
    "model",
)


def format_transcript(row: Mapping[str, Any], format_name: str) -> bytes:
    """A result row as a file of the given format, one of :data:`FORMATS`; UTF-8."""
    return FORMATS[format_name](row)


def _format_srt(row: Mapping[str, Any]) -> bytes:
    blocks = [
        f"{number}\n{_format_time(cue.start, ',')} --> {_format_time(cue.end, ',')}\n{_join_lines(cue, _escape_srt)}\n"
        for number, cue in enumerate(build_cues(row), 1)
    ]
    return "\n".join(blocks).encode()


def _format_vtt(row: Mapping[str, Any]) -> bytes:
    blocks = [
        f"{_format_time(cue.start, '.')} --> {_format_time(cue.end, '.')}\n{_join_lines(cue, _escape_vtt)}\n"
        for cue in build_cues(row)
    ]
    return "\n".join(["WEBVTT\n", *blocks]).encode()


def _format_txt(row: Mapping[str, Any]) -> bytes:
    """The text; with several speakers, a paragraph for each turn."""
    turns: list[tuple[str | None, list[Token]]] = []
    for token in build_tokens(row) if len(row.get("speakers") or ()) > 1 else ():
        if not turns or turns[-1][0] != token.speaker:
            turns.append((token.speaker, []))
        turns[-1][1].append(token)
    if len(turns) < 2:  # noqa: PLR2004 (one speaker, or none known)
        return f"{(row.get('text') or '').strip()}\n".encode()
    return "".join(f"{speaker or '?'}: {join_tokens(turn_tokens)}\n\n" for speaker, turn_tokens in turns).encode()


def _format_json(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps(
        {name: row.get(name) for name in _JSON_FIELDS}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    )


FORMATS: dict[str, Callable[[Mapping[str, Any]], bytes]] = {
    "srt": _format_srt,
    "vtt": _format_vtt,
    "txt": _format_txt,
    "json": _format_json,
}


def _format_time(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _join_lines(cue: Cue, escape: Callable[[str], str]) -> str:
    return "\n".join(map(escape, cue.lines))


def _escape_srt(text: str) -> str:
    """SubRip has no escapes: an invisible word joiner keeps text from being read as times, a tag or an ASS override."""
    return _MARKUP_START.sub(lambda found: f"{found[0]}{_WORD_JOINER}", text)


def _escape_vtt(text: str) -> str:
    """Escape text for WebVTT (W3C WebVTT, section 4.2.2)."""
    return html.escape(text, quote=False)
