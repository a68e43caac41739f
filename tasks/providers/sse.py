"""Server-sent events, split on bytes.

A text splitter also ends lines at U+2028, U+0085 and others that JSON carries unescaped, and so corrupts it
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
    """One event: its type, ``message`` where it names none, and its data with lines joined by a line feed."""

    type: str
    data: bytes


def events(body: bytes) -> Iterator[Event]:
    """The events of a whole stream, in order; comments and events without data are passed over.

    Data that the end of the stream cuts off from its blank line counts too: ``[DONE]`` often lacks it
    (provider docs).
    """
    start = len(_BOM) if body.startswith(_BOM) else 0
    kind, data = b"", list[bytes]()
    for found in _LINE.finditer(body, start):
        line = found[1]
        if line:
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                kind = value
            continue
        if data:
            yield Event(kind.decode("utf-8", "replace") or "message", b"\n".join(data))
        kind, data = b"", []
    if data:
        yield Event(kind.decode("utf-8", "replace") or "message", b"\n".join(data))
