"""Transcripts as files: SubRip, WebVTT, plain text, JSON."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from tasks.sinks.subtitles.cues import Cue, cues

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
    segments: Sequence[Mapping[str, Any]] = row.get("segments") or ()
    if len(row.get("speakers") or ()) < 2:  # noqa: PLR2004
        return f"{(row.get('text') or '').strip()}\n".encode()
    turns: list[tuple[str | None, list[str]]] = []
    for segment in segments:
        speaker = segment.get("speaker")
        if not turns or turns[-1][0] != speaker:
            turns.append((speaker, []))
        turns[-1][1].append(str(segment.get("text") or "").strip())
    return "".join(f"{speaker or '?'}: {' '.join(said)}\n\n" for speaker, said in turns).encode()


def _json(row: Mapping[str, Any]) -> bytes:
    return orjson.dumps({name: row.get(name) for name in _TOLD}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


FORMATS: dict[str, Callable[[Mapping[str, Any]], bytes]] = {"srt": _srt, "vtt": _vtt, "txt": _txt, "json": _json}


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _lines(cue: Cue, escape: Callable[[str], str]) -> str:
    lines = [escape(line) for line in cue.lines]
    if cue.speaker:
        lines[0] = f"{escape(cue.speaker)}: {lines[0]}"
    return "\n".join(lines)


def _srt_text(text: str) -> str:
    """SubRip knows no escapes: an arrow would read as a time line, so it is spelled with another sign."""
    return text.replace("-->", "→")


def _vtt_text(text: str) -> str:
    """WebVTT's escapes (W3C WebVTT, section 4.2.2)."""
    return html.escape(text, quote=False)
