"""Server-sent events with every line end, and with characters that are none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.providers.sse import Event, parse_events

ENDS = st.sampled_from(["\n", "\r\n", "\r"])
TEXTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(TEXTS), ENDS, st.booleans(), st.booleans())
def test_events_are_parsed_as_they_were_sent(texts: list[str], end: str, comments: bool, bom: bool) -> None:
    comment = f": keep-alive{end}{end}" if comments else ""
    stream = "".join(f"{comment}data: {text}{end}{end}" for text in texts)
    parsed = list(parse_events((b"\xef\xbb\xbf" if bom else b"") + stream.encode()))
    assert [e.data.decode() for e in parsed] == texts
    assert {e.type for e in parsed} <= {"message"}


@given(st.lists(st.tuples(TEXTS, ENDS, ENDS)))
def test_line_ends_may_be_mixed(parts: list[tuple[str, str, str]]) -> None:
    stream = "".join(f"data:{text}{first}event: e{second}\n\n" for text, first, second in parts)
    assert [e.data.decode() for e in parse_events(stream.encode())] == [text.removeprefix(" ") for text, *_ in parts]


@given(st.binary())
def test_any_bytes_are_split_without_error(body: bytes) -> None:
    for event in parse_events(body):
        assert b"\r" not in event.data
        assert isinstance(event.type, str)


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_other_unicode_line_separators_do_not_end_a_line(character: str) -> None:
    (event,) = parse_events(f"data: {json.dumps({'a': character}, ensure_ascii=False)}\n\n".encode())
    assert character.encode() in event.data or json.loads(event.data)["a"] == character


def test_data_lines_are_joined_and_the_last_blank_line_may_be_missing() -> None:
    body = b"event: x\ndata: one\ndata:  two\nid: 7\nretry: 1\n\nevent: nothing\n\ndata\n\ndata: [DONE]"
    assert list(parse_events(body)) == [Event("x", b"one\n two"), Event("message", b""), Event("message", b"[DONE]")]
