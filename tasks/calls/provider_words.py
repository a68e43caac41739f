"""What a provider said when it refused: its own text, kept with the attempt beside our reading of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from mediamill.tasks.untrusted_text import CUT_MARK, cut_text, is_readable, mask_keys, to_single_line
from mediamill.tasks.wire import Problem, Reply

MAX_CHARACTERS = 2000
"""Maximum length of an attempt's error message; a longer one ends in ``…``."""
QUOTE = "; it said: "
"""Stands between our reading of an error reply and the provider's own text."""
_MAX_READ_BYTES = 16_384
_MAX_MASKED_CHARACTERS = 2 * MAX_CHARACTERS
_MARKUP = re.compile(
    r"<(style|script)\b.{0,8000}?</\1\s*>|<!--.{0,8000}?-->|<[^<>]{0,2000}>", re.IGNORECASE | re.DOTALL
)
_PAGE_START = re.compile(r"\s*<(!doctype|html|head|\?xml|body)\b", re.IGNORECASE)
_FAILURE_WORDS = re.compile(rb"error|fail", re.IGNORECASE)


def describe_failed_attempt(problem: Problem, reply: Reply | None) -> str:
    """Our reading of a failed attempt and, where a reply came that says more, the provider's own text; nothing twice.

    Args:
        problem: what the reply or its loss means.
        reply: the error reply, without the key; None where none came.
    """
    ours = to_single_line(problem.message)
    quoted = "" if reply is None else _quote_body(reply)
    if reply is None or not quoted or quoted in ours:
        return cut_text(ours, MAX_CHARACTERS)
    head, _, excerpt = ours.partition(": ")
    excerpt = excerpt.removesuffix(CUT_MARK)
    is_repeated = excerpt and any(excerpt in text for text in (quoted, *_list_texts(reply.body)))
    return cut_text(f"{head}: {quoted}" if is_repeated else f"{ours}{QUOTE}{quoted}", MAX_CHARACTERS)


def _list_texts(body: bytes) -> Iterator[str]:
    """The texts in a JSON body, as our readings quote them; none of any other body, or of one that is too long."""
    if len(body) > _MAX_READ_BYTES:
        return
    try:
        pending: list[Any] = [orjson.loads(body)]
    except ValueError:
        return
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            yield mask_keys(to_single_line(value))
        elif isinstance(value, (list, dict)):
            pending += value.values() if isinstance(value, dict) else value


def _quote_body(reply: Reply) -> str:
    """The body as text on one line; of a stream's messages, one a line, the last that speaks of a failure."""
    body = reply.body
    if reply.socket_end is not None or reply.headers.get("content-type", "").startswith("text/event-stream"):
        body = next((line for line in reversed(body.splitlines()) if _FAILURE_WORDS.search(line)), b"")
    text = body[:_MAX_READ_BYTES].decode("utf-8", "replace")
    if _PAGE_START.match(text):
        text = _MARKUP.sub(" ", text)
    if not is_readable(text):
        return f"{len(reply.body):,} bytes that are not text"
    line = to_single_line(text)
    is_cut = len(line) > _MAX_MASKED_CHARACTERS or len(body) > _MAX_READ_BYTES
    return mask_keys(line[:_MAX_MASKED_CHARACTERS]) + (CUT_MARK if is_cut else "")
