"""TTML, the captions of television and streaming, and the XML of video sites: paragraphs with times."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from mediamill.tasks.providers.operations.stated_times import parse_float_seconds

_ROOT = re.compile(r"<(?:\w+:)?(?:tt|timedtext|transcript)[\s>]")
_HEAD_CHARACTERS = 4000
_PARAGRAPH = re.compile(r"<(?:\w+:)?(p|text)\b([^<>]*)(?:/>|>(.*?)</(?:\w+:)?\1>)", re.DOTALL)
_ATTRIBUTE = re.compile(r"""([\w:]+)\s*=\s*["']([^"']*)["']""")
_BREAK = re.compile(r"<(?:\w+:)?br\b[^<>]*>")
_TAG = re.compile(r"<[^<>]*>")
_FRAMES = re.compile(r"(\d+):(\d{2}):(\d{2}):(\d+(?:\.\d+)?)")
_OFFSET = re.compile(r"(\d+(?:\.\d+)?)(h|m|f|t)")
_USUAL_FRAME_RATE = 30.0


def read_ttml(text: str) -> list[dict[str, Any]] | None:
    """The segments of a document; None for any other text."""
    head = text[:_HEAD_CHARACTERS]
    if not text.startswith("<") or not _ROOT.search(head):
        return None
    attributes = {name.rpartition(":")[2]: value for name, value in _ATTRIBUTE.findall(head)}
    frame_rate = _to_float(attributes.get("frameRate")) or _USUAL_FRAME_RATE
    rates = {"h": 1 / 3600, "m": 1 / 60, "f": frame_rate, "t": _to_float(attributes.get("tickRate")) or frame_rate}
    return list(_read_paragraphs(text, rates))


def _read_paragraphs(text: str, rates: dict[str, float]) -> Iterator[dict[str, Any]]:
    for _, listed, content in _PARAGRAPH.findall(text):
        words = " ".join(html.unescape(_TAG.sub("", _BREAK.sub(" ", content))).split())
        attributes = dict(_ATTRIBUTE.findall(listed))
        if "t" in attributes:  # YouTube's, in milliseconds
            start, length = (_to_float(attributes.get(name)) for name in ("t", "d"))
            start, length = (None if value is None else value / 1000 for value in (start, length))
        else:
            start = _to_seconds(attributes.get("begin", attributes.get("start")), rates)
            length = _to_seconds(attributes.get("dur"), rates)
        end = _to_seconds(attributes.get("end"), rates)
        if end is None and start is not None and length is not None:
            end = round(start + length, 6)
        if words:
            yield {"start": start, "end": end, "text": words}


def _to_seconds(value: str | None, rates: dict[str, float]) -> float | None:
    if value is None:
        return None
    if clock := _FRAMES.fullmatch(value):
        hours, minutes, seconds, frames = (float(number) for number in clock.groups())
        return hours * 3600 + minutes * 60 + seconds + frames / rates["f"]
    if offset := _OFFSET.fullmatch(value):
        return round(float(offset[1]) / rates[offset[2]], 6)
    return parse_float_seconds(value)


def _to_float(value: str | None) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
