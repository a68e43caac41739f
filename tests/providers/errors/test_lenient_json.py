"""JSON that is not quite JSON is read as what it means, and what strict JSON reads is read equal."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.providers.errors.lenient_json import read_json
from tests.helpers.hypothesis_profile import make_repeatable

_SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text()
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":NaN,"b":-Infinity,"c":[Infinity,1]}', {"a": None, "b": None, "c": [None, 1]}),
        (b'{"a":nan,"b":-inf,"c":-nan(ind),"d":inf}', {"a": None, "b": None, "c": None, "d": None}),
        (b'{"a":1e999,"b":-1e999}', {"a": None, "b": None}),
        (b'["NaN \\" Infinity",NaN]', ['NaN " Infinity', None]),
        (rb'["hi \ud83d you","\ud83d\ude00","\\ud83d","\udc00\ud83d"]', ["hi � you", "😀", "\\ud83d", "��"]),
        (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
        ('{"a":"Zürich"}'.encode("utf-16"), {"a": "Zürich"}),
        ('{"a":"Zürich"}'.encode("utf-32"), {"a": "Zürich"}),
        ('{"a":"Zürich"}'.encode("latin-1"), {"a": "Zürich"}),
        ("[“Zürich”]".replace("“", '"').replace("”", '"').encode() + b" ", ["Zürich"]),
        ('["日本'.encode() + b'\xe6\x97"]', ["日本�"]),
        (b'["hi \xed\xa0\xbd you"]', ["hi \ufffd you"]),
        (b'["\xed\xa0\xbd\xed\xb8\x80", "\xc3\xbc"]', ["\U0001f600", "\xfc"]),
        (b'{"a":"one\ntwo\tthree\x00"}', {"a": "one\ntwo\tthree\x00"}),
        (b'\n\n  {"a":NaN}\r\n', {"a": None}),
    ],
)
def test_what_strict_json_refuses_is_mended(body: bytes, value: Any) -> None:
    assert read_json(body) == value


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"a":NaN', b'{"a":"NaN', b"<html>", b"nanny", b"[NaNa]", b"[1e5x]", b"hello", b"[" * 2000, b'["\\"]'],
)
def test_what_is_no_json_stays_none(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\(char|\w"):
        read_json(body)


@pytest.mark.parametrize("body", [b"[NaN," + b"[" * 2000 + b"]" * 2000 + b"]", b'{"a":' * 1500 + b"NaN" + b"}" * 1500])
def test_depth_is_bounded(body: bytes) -> None:
    with pytest.raises(ValueError, match="depth"):
        read_json(body)


@make_repeatable()
@given(_VALUES)
def test_what_strict_json_reads_is_read_equal(value: Any) -> None:
    body = orjson.dumps(value)
    strict = orjson.loads(body)
    assert read_json(body) == strict
    assert read_json(b"\xef\xbb\xbf" + body) == strict
    assert read_json(b"[NaN," + body + b"]") == [None, strict]
    assert read_json(json.dumps(value).encode("utf-16")) == strict


@make_repeatable()
@given(st.binary() | st.text('{}[]":,\\ud83NaINf-+.e01 \n').map(str.encode))
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        value = read_json(body)
    except ValueError:
        return
    assert orjson.loads(orjson.dumps(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"b",}',
        '{"a":"b", \n}',
        ')]}\'\n{"a":"b"}',
        'while(1);{"a":"b"}',
        ': ping\n\n{"a":"b"}',
        '{"a":"b"}\n<!-- cached -->',
        '{"a":"b"}\n\n[DONE]',
    ],
)
def test_what_stands_around_a_value_is_passed_over(text: str) -> None:
    assert read_json(text.encode()) == {"a": "b"}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-8-sig", "utf-16"])
def test_an_object_is_read_in_any_unicode_encoding(encoding: str) -> None:
    assert read_json('{"a":"h\xe9"}'.encode(encoding)) == {"a": "h\xe9"}


@pytest.mark.parametrize(("text", "value"), [('"it\\\'s"', "it's"), ('"\\d"', "\\d"), ('"\\u00e9,]"', "\xe9,]")])
def test_escapes_of_other_languages_are_read(text: str, value: str) -> None:
    assert read_json(text.encode()) == value


@pytest.mark.parametrize(
    "text", ['{"a":1}{"b":2}', '{"a":1}\n{"a":2}', 'so {"a":1}', '{"a":[1,}', '{"a":1', '{"a":"b,']
)
def test_no_value_and_several_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        read_json(text.encode())
