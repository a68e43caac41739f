"""The splitter of server-sent events, against every line end and every byte that is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.providers.sse import Event, parse_events

ENDS = st.sampled_from(["\n", "\r\n", "\r"])
TEXTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(TEXTS), ENDS, st.booleans(), st.booleans())
def test_what_was_sent_comes_back(texts: list[str], end: str, comments: bool, bom: bool) -> None:
    comment = f": keep-alive{end}{end}" if comments else ""
    stream = "".join(f"{comment}data: {text}{end}{end}" for text in texts)
    told = list(parse_events((b"\xef\xbb\xbf" if bom else b"") + stream.encode()))
    assert [e.data.decode() for e in told] == texts
    assert {e.type for e in told} <= {"message"}


@given(st.lists(st.tuples(TEXTS, ENDS, ENDS)))
def test_line_ends_may_be_mixed(parts: list[tuple[str, str, str]]) -> None:
    stream = "".join(f"data:{text}{first}event: e{second}\n\n" for text, first, second in parts)
    assert [e.data.decode() for e in parse_events(stream.encode())] == [text.removeprefix(" ") for text, *_ in parts]


@given(st.binary())
def test_any_bytes_are_split_somehow(body: bytes) -> None:
    for event in parse_events(body):
        assert b"\r" not in event.data
        assert isinstance(event.type, str)


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_what_only_looks_like_a_line_end_is_none(odd: str) -> None:
    (event,) = parse_events(f"data: {json.dumps({'a': odd}, ensure_ascii=False)}\n\n".encode())
    assert odd.encode() in event.data or json.loads(event.data)["a"] == odd


def test_lines_of_data_are_joined_and_the_end_may_be_cut_off() -> None:
    body = b"event: x\ndata: one\ndata:  two\nid: 7\nretry: 1\n\nevent: nothing\n\ndata\n\ndata: [DONE]"
    assert list(parse_events(body)) == [Event("x", b"one\n two"), Event("message", b""), Event("message", b"[DONE]")]
