"""Transcripts as files: SubRip, WebVTT, plain text, JSON."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from mediamill.tasks.sinks.subtitles.cues import Cue, cues
from mediamill.tasks.sinks.subtitles.timed_text import Token, joined, tokens

_WORD_JOINER = "\u2060"
_READS_AS_MARKUP = re.compile(r"--(?=>)|<(?=[/a-zA-Z])|\{(?=\\)")
_TOLD = ("item_id", "source", "text", "language", "audio_seconds", "segments", "words", "speakers", "provider", "model")


def render(row: Mapping[str, Any], form: str) -> bytes:
    """A result row as a file of the given format, one of :data:`FORMATS`; UTF-8."""
    return FORMATS[form](row)


def _srt(row: Mapping[str, Any]) -> bytes:
    blocks = [
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{_lines(cue, _srt_text)}\n"
        for number, cue in enumerate(cues(row), 1)
    ]
    return "\n".join(blocks).encode()


def _vtt(row: Mapping[str, Any]) -> bytes:
    blocks = [f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{_lines(cue, _vtt_text)}\n" for cue in cues(row)]
    return "\n".join(["WEBVTT\n", *blocks]).encode()


def _txt(row: Mapping[str, Any]) -> bytes:
    """The text; a paragraph for each speaker's turn where there are several."""
    turns: list[tuple[str | None, list[Token]]] = []
    for token in tokens(row) if len(row.get("speakers") or ()) > 1 else ():
        if not turns or turns[-1][0] != token.speaker:
            turns.append((token.speaker, []))
        turns[-1][1].append(token)
    if len(turns) < 2:  # noqa: PLR2004 (one person speaks, or nobody knows who)
        return f"{(row.get('text') or '').strip()}\n".encode()
    return "".join(f"{speaker or '?'}: {joined(said)}\n\n" for speaker, said in turns).encode()


def _json(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps({name: row.get(name) for name in _TOLD}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


FORMATS: dict[str, Callable[[Mapping[str, Any]], bytes]] = {"srt": _srt, "vtt": _vtt, "txt": _txt, "json": _json}


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _lines(cue: Cue, escape: Callable[[str], str]) -> str:
    return "\n".join(map(escape, cue.lines))


def _srt_text(text: str) -> str:
    """SubRip knows no escapes: a sign nobody sees keeps text from reading as a time line, a tag or an ASS override."""
    return _READS_AS_MARKUP.sub(lambda found: f"{found[0]}{_WORD_JOINER}", text)


def _vtt_text(text: str) -> str:
    """WebVTT's escapes (W3C WebVTT, section 4.2.2)."""
    return html.escape(text, quote=False)
