"""Server-sent events, split on bytes.

``str.splitlines`` also ends lines at U+2028, U+0085 and others, which JSON may hold unescaped, and so would corrupt it
(WHATWG HTML, "Parsing an event stream": only CR LF, LF and CR end a line).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its type (``message`` if it names none) and its data, with lines joined by a line feed."""

    type: str
    data: bytes


def parse_events(body: bytes) -> Iterator[Event]:
    """The events of a complete stream, in order; comments and events without data are skipped.

    The last event counts even if the blank line after it is missing, as it often is after ``[DONE]`` (provider docs).
    """
    start = len(_BOM) if body.startswith(_BOM) else 0
    event_type, data = b"", list[bytes]()
    for match in _LINE.finditer(body, start):
        line = match[1]
        if line:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                event_type = value
            continue
        if data:
            yield Event(event_type.decode("utf-8", "replace") or "message", b"\n".join(data))
        event_type, data = b"", []
    if data:
        yield Event(event_type.decode("utf-8", "replace") or "message", b"\n".join(data))
