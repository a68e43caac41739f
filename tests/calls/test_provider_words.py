"""An attempt that failed keeps what the provider said, on one line, bounded and without keys."""

from __future__ import annotations

import orjson
import pytest

from mediamill.tasks.calls.provider_words import MAX_CHARACTERS, describe_failed_attempt
from mediamill.tasks.providers.errors.error_body import find_error, read_page_title
from mediamill.tasks.wire import Problem, Reply

REFUSED = Problem("retry", "rate_limit", "p answered 429: slow down")


def describe(body: bytes, content_type: str = "application/json", **headers: str) -> str:
    return describe_failed_attempt(REFUSED, Reply(429, {"content-type": content_type, **headers}, body))


def test_the_whole_error_object_is_kept() -> None:
    body = b'{"error": {"message": "slow down", "code": "rate_limit_exceeded", "limit": 7}}'
    assert describe(body) == f"p answered 429: {body.decode()}"
    other = b'{"error": {"message": "quota", "limit": 7}}'
    assert describe(other) == f"p answered 429: slow down; it said: {other.decode()}"


@pytest.mark.parametrize("body", [b"", b"slow down", b" slow\r\n down "])
def test_nothing_is_said_twice(body: bytes) -> None:
    assert describe(body) == "p answered 429: slow down"


@pytest.mark.parametrize("words", ["x" * 150, "two\nlines " * 40, "long " * 20_000])
def test_words_that_our_reading_quotes_are_not_repeated(words: str) -> None:
    body = orjson.dumps({"error": {"message": words, "type": "busy"}})
    error = find_error(orjson.loads(body))
    assert error is not None
    text = describe_failed_attempt(
        Problem("retry", "rate_limit", f"p answered 429: {error.message}"), Reply(429, {}, body)
    )
    assert text.startswith('p answered 429: {"error":{"message":')
    assert "it said" not in text


def test_of_a_page_the_text_is_kept() -> None:
    page = b"<!DOCTYPE html><html><style>p { color: red }</style><h1>Busy</h1><!-- x --><p>ask <b>later</b></p></html>"
    assert describe(page, "text/html") == "p answered 429: slow down; it said: Busy ask later"


def test_of_a_stream_the_message_that_ended_it_is_kept() -> None:
    stream = b'data: {"text": "paid"}\n\ndata: {"error": {"message": "cut"}}\n\ndata: [DONE]\n\n'
    assert describe(stream, "text/event-stream").endswith('; it said: data: {"error": {"message": "cut"}}')


def test_other_keys_and_control_characters_do_not_get_in() -> None:
    text = describe('{"error": "gsk_abcdefghijklmnop1234 \x1b[2J\u202e is\nwrong"}'.encode())
    assert text.endswith('it said: {"error": "*** [2J is wrong"}')


@pytest.mark.parametrize("size", [1500, 3000, 100_000])
def test_long_words_are_cut_and_the_cut_is_marked(size: int) -> None:
    text = describe(orjson.dumps({"error": "word " * (size // 5)}))
    assert (len(text), text[-1]) == (MAX_CHARACTERS, "…") if size > MAX_CHARACTERS else text.endswith('word "}')


def test_bytes_that_are_not_text_are_counted() -> None:
    assert describe(bytes(range(128, 256)) * 8, "audio/mpeg").endswith("it said: 1,024 bytes that are not text")
    assert read_page_title(bytes(range(128, 256)) * 8) == "1,024 bytes that are not text"


def test_without_a_reply_our_own_words_stand_alone() -> None:
    assert describe_failed_attempt(Problem("unknown", "reset", "host: the\nconnection broke"), None) == (
        "host: the connection broke"
    )
