"""Answers in other forms than the one that was requested: in a wrapper, in plain text, as subtitles.

An answer that was paid for is not thrown away for its form. Servers with OpenAI's API put it into an object of their
own (``{"code": 0, "data": {...}}``), and send text or subtitles whatever the request says (user reports).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from mediamill.tasks.providers.errors.error_body import read_status_line
from mediamill.tasks.providers.errors.lenient_json import decode_text, read_json
from mediamill.tasks.providers.operations.ttml import read_ttml
from mediamill.tasks.providers.sse import parse_events
from mediamill.tasks.wire import Reply

_WRAPPERS = (
    *("data", "result", "results", "output", "outputs", "response", "responses", "body", "payload", "message"),
    *("answer", "transcription", "transcript", "predictions", "content"),
)
_MAX_DEPTH = 3
_TIME = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{2})[.,](\d{3})"
_CUE_TIMES = re.compile(rf"{_TIME}\s*-->\s*{_TIME}[^\n]*")
_MARKUP = re.compile(r"</?(?:[bciuv]|lang|ruby|rt|font)(?:[ .][^<>]*)?>|\{\\an\d\}", re.IGNORECASE)
_SPEAKER = re.compile(r"<v(?:\.[^ >]*)?\s+([^>]+)>")
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL | re.IGNORECASE)
_BRACKETED_CUE = re.compile(rf"^\[{_TIME}\s*-->\s*{_TIME}\][ \t]*(.*)$", re.MULTILINE)
"""Lines as Whisper's programs print them."""
_LYRIC = re.compile(r"^\[(\d{1,3}):(\d{2})[.:](\d{2,3})\](.*)$", re.MULTILINE)
_TABLE_HEADER = "start\tend\ttext"
_PAGE = re.compile(r"\s*<[!?a-z]|.*</?(?:html|head|title|body)\b", re.IGNORECASE | re.DOTALL)
_SERVERS_WORDS = re.compile(
    r"\W*(?:ok|null|none|undefined|not found|forbidden|unauthorized|bad (?:request|gateway)"
    r"|gateway time-?out|request time-?out|service (?:temporarily )?unavailable|internal (?:server )?error"
    r"|server error|too many requests|error code: \d+|rate limit exceeded|upstream \w+ error.*|no healthy upstream"
    r"|(?:fatal |internal |runtime)?error:.*|traceback \(most recent.*|exception:.*)\W*",
    re.IGNORECASE | re.DOTALL,
)
"""What servers and gateways say, and nobody as a whole transcript."""
_TEXT_TYPES = ("text/", "application/x-sub", "application/octet-stream")
_JSON_TYPES = ("/json", "+json")
"""Servers also call a plain text so, which they send as it was requested."""
_STATES = re.compile(
    r"\W*(?:success\w*|succeeded|fail\w*|done|complet\w+|finished|processed|true|false|\d+)\W*", re.IGNORECASE
)
_EVENT_STARTS = (b"data:", b"event:")


def unwrap(content: Any, is_answer: Callable[[Any], bool]) -> Any:
    """The part of a reply that is the answer; the reply itself where none is.

    Args:
        content: the decoded reply.
        is_answer: whether a value has the answer's shape.
    """
    level = [content]
    for _ in range(_MAX_DEPTH + 1):
        found = next((value for value in level if is_answer(value)), None)
        if found is not None:
            return found
        level = [inner for value in level for inner in _list_inner(value)]
    return content


def read_inner_json(text: str) -> Any:
    """The object or list that a text holds, as servers send what they encode twice; None where it is another text."""
    found = _FENCED.fullmatch(text)
    inner = (found[1] if found else text).strip()
    if not inner.startswith(("{", "[")):
        return None
    try:
        value = read_json(inner)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


def _list_inner(value: Any) -> Iterator[Any]:
    if isinstance(value, str):
        inner = read_inner_json(value)
        yield from () if inner is None else (inner,)
    if isinstance(value, list) and len(value) == 1:
        yield value[0]
    if isinstance(value, dict):
        yield from (value[name] for name in _WRAPPERS if value.get(name) not in (None, ""))


def is_event_stream(reply: Reply) -> bool:
    """True for server-sent events, whatever the reply's header calls them."""
    is_named = reply.headers.get("content-type", "").startswith("text/event-stream")
    return is_named or reply.body[:64].lstrip().startswith(_EVENT_STARTS)


def read_transcript(reply: Reply) -> dict[str, Any] | None:
    """The transcript of a body that is not JSON: plain text, SRT, WebVTT, a table of times, lines of JSON, or events.

    Returns:
        It as a JSON reply has it, with ``text`` and, where there are times, ``segments``; None for anything else: a
        page, the words of a gateway, JSON that was cut off.
    """
    if is_event_stream(reply):
        return _join_parts([event.data for event in parse_events(reply.body)])
    text = decode_text(reply.body).strip().removeprefix("\ufeff")
    if not any(map(str.isprintable, text)) or "\0" in text or "\ufffd" in text:
        return None
    if text.startswith(("{", "[")) and not (_BRACKETED_CUE.match(text) or _LYRIC.match(text)):
        return _join_parts(reply.body.splitlines())
    if text.startswith("```"):
        inner = read_inner_json(text)
        return inner if isinstance(inner, dict) else None
    if (timed := read_timed_text(text)) is not None:
        return timed
    return {"text": text} if _is_plain_answer(text, reply) else None


def read_plain_answer(reply: Reply) -> str | None:
    """The answer of a body that is nothing but its text; None for JSON, a page, and the words of a gateway."""
    text = decode_text(reply.body).strip().removeprefix("\ufeff")
    is_broken = not text or "\0" in text or "\ufffd" in text or text.startswith(("{", "["))
    return text if not is_broken and _is_plain_answer(text, reply) else None


def _is_plain_answer(text: str, reply: Reply) -> bool:
    content_type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_text = not content_type or content_type.startswith(_TEXT_TYPES) or content_type.endswith(_JSON_TYPES)
    return is_text and not (_PAGE.match(text) or read_status_line(text) or _SERVERS_WORDS.fullmatch(text))


def is_servers_word(text: str) -> bool:
    """True for a text that tells how a request went, not what was said."""
    is_said_by_gateway = _SERVERS_WORDS.fullmatch(text) is not None or read_status_line(text) is not None
    return is_said_by_gateway or _STATES.fullmatch(text) is not None


def read_timed_text(text: str) -> dict[str, Any] | None:
    """The transcript in subtitles (SRT, WebVTT, TTML) or in Whisper's table of milliseconds; None in any other text."""
    normal = text.replace("\r\n", "\n").replace("\r", "\n")
    if (paragraphs := read_ttml(normal)) is not None:
        segments = paragraphs
    elif normal.startswith(_TABLE_HEADER):
        segments = list(_read_table(normal))
    elif _BRACKETED_CUE.match(normal):
        segments = list(_read_bracketed(normal))
    elif _LYRIC.match(normal):
        segments = list(_read_lyrics(normal))
    elif normal.startswith("WEBVTT") or _CUE_TIMES.match(normal.partition("\n")[2]) or _CUE_TIMES.match(normal):
        segments = list(_read_cues(normal))
    else:
        return None
    return {"text": " ".join(filter(None, (segment["text"] for segment in segments))), "segments": segments}


def _read_cues(text: str) -> Iterator[dict[str, Any]]:
    for block in re.split(r"\n[ \t]*\n", text):
        times = _CUE_TIMES.search(block)
        if times is None:
            continue
        lines = block[times.end() :].strip("\n")
        speaker = _SPEAKER.search(lines)
        segment = {
            "start": _to_seconds(*times.groups()[:4]),
            "end": _to_seconds(*times.groups()[4:]),
            "text": " ".join(_MARKUP.sub("", lines).split()),
        }
        yield {**segment, "speaker": speaker[1]} if speaker else segment


def _read_table(text: str) -> Iterator[dict[str, Any]]:
    for line in text.split("\n")[1:]:
        start, end, words = [*line.split("\t", 2), "", ""][:3]
        if start.isdigit() and end.isdigit():
            yield {"start": int(start) / 1000, "end": int(end) / 1000, "text": words.strip()}


def _read_bracketed(text: str) -> Iterator[dict[str, Any]]:
    for cue in _BRACKETED_CUE.finditer(text):
        times = cue.groups()
        yield {"start": _to_seconds(*times[:4]), "end": _to_seconds(*times[4:8]), "text": times[8].strip()}


def _read_lyrics(text: str) -> Iterator[dict[str, Any]]:
    """Lines of an LRC file; each lasts until the next one."""
    lines = [
        (int(minutes) * 60 + int(seconds) + int(part) / 10 ** len(part), words.strip())
        for minutes, seconds, part, words in _LYRIC.findall(text)
    ]
    ends = [*(start for start, _ in lines[1:]), None]
    for (start, words), end in zip(lines, ends, strict=True):
        if words:
            yield {"start": start, "end": end, "text": words}


def _to_seconds(hours: str | None, minutes: str, seconds: str, milliseconds: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(milliseconds) / 1000


def _join_parts(parts: list[bytes]) -> dict[str, Any] | None:
    """The transcript of lines or events of JSON: the last whole one, or what all of them add up to."""
    values = []
    for part in parts:
        if not part.strip() or part.strip() == b"[DONE]":
            continue
        try:
            values.append(read_json(part))
        except ValueError:
            return None
    objects = [value for value in values if isinstance(value, dict)]
    if not objects or len(objects) < len(values) or any(value.get("error") for value in objects):
        return None
    whole = [value for value in objects if str(value.get("type", "")).endswith(".done") and "text" in value]
    if whole:
        return dict(whole[-1])
    if all(isinstance(value.get("text"), str) for value in objects):
        is_timed = all("start" in value for value in objects)
        return {
            "text": " ".join(value["text"].strip() for value in objects),
            **({"segments": objects} if is_timed else {}),
        }
    deltas = [text for value in objects if isinstance(text := _find_delta(value), str)]
    return {"text": "".join(deltas)} if deltas else None


def _find_delta(value: dict[str, Any]) -> Any:
    """The part of a text in an event: OpenAI's ``delta``, or that of a completion's chunk."""
    choices = value.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        delta = choices[0].get("delta")
        return delta.get("content") if isinstance(delta, dict) else None
    return value.get("delta")
