"""A paid answer in another form than the one that was requested is read, and the words of a gateway are no answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.errors import BadReply
from mediamill.tasks.wire import Reply
from tests.providers.builders import build_ask_for, build_provider, parse_reply

SRT = "1\n00:00:00,000 --> 00:00:02,500\nHello there.\n\n2\n00:00:02,500 --> 01:00:04,000\nSecond\nline.\n"
VTT = (
    "WEBVTT\n\nNOTE x\n\n00:00.000 --> 00:02.500 align:start\n<v Bob>Hello there.\n\n"
    "00:02.500 --> 00:04.000\n<i>Second</i>\n"
)
LINES = b'{"text":"hi","start":0,"end":1}\n{"text":"you","start":1,"end":2}\n'
CHUNKS = b"".join(b'data: {"choices":[{"delta":{"content":"%c"}}]}\n\n' % letter for letter in b"hi")
COMPLETION = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
SCORES = [
    {"index": 1, "relevance_score": 0.1},
    {"index": 0, "relevance_score": 0.5},
    {"index": 2, "relevance_score": 0},
]


def read(operation: str, body: Any, content_type: str = "application/json") -> Any:
    """What a server's success comes to: its data; None where it is no answer."""
    provider = build_provider("compatible")
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = Reply(200, {"content-type": content_type}, content)
    if provider.classify(reply, operation) is not None:
        return None
    return parse_reply(provider, build_ask_for(provider, operation), reply).data


@pytest.mark.parametrize(
    ("body", "content_type", "text", "times"),
    [
        (b"Hello there.", "text/plain; charset=utf-8", "Hello there.", None),
        (b"Hello there.", "text/html", "Hello there.", None),
        (b"Hello there.\n", "application/json", "Hello there.", None),
        (SRT.encode(), "application/json", "Hello there. Second line.", [(0.0, 2.5), (2.5, 3604.0)]),
        (b'"Hello there."', "application/json", "Hello there.", None),
        (SRT.encode(), "application/x-subrip", "Hello there. Second line.", [(0.0, 2.5), (2.5, 3604.0)]),
        (SRT.replace("\n", "\r\n").encode(), "", "Hello there. Second line.", [(0.0, 2.5), (2.5, 3604.0)]),
        (b"\xef\xbb\xbf" + VTT.encode(), "text/vtt", "Hello there. Second", [(0.0, 2.5), (2.5, 4.0)]),
        (json.dumps({"text": VTT}).encode(), "application/json", "Hello there. Second", [(0.0, 2.5), (2.5, 4.0)]),
        (b"start\tend\ttext\n0\t2500\tHello\n2500\t4000\tyou\n", "text/plain", "Hello you", [(0.0, 2.5), (2.5, 4.0)]),
        (LINES, "", "hi you", [(0.0, 1.0), (1.0, 2.0)]),
        (b'data: {"delta":"h"}\n\ndata: {"type":"x.done","text":"hi"}\n\ndata: [DONE]\n\n', "", "hi", None),
        (CHUNKS, "", "hi", None),
    ],
)  # fmt: skip
def test_a_transcript_in_any_form_is_one(body: bytes, content_type: str, text: str, times: Any) -> None:
    data = read("transcription", body, content_type)
    assert data["text"] == text
    assert (data["segments"] and [(s["start"], s["end"]) for s in data["segments"]]) == times


def test_a_voice_of_web_vtt_is_a_speaker() -> None:
    assert read("transcription", VTT.encode(), "text/vtt")["speakers"] == ["Bob"]


@pytest.mark.parametrize(
    "body",
    [
        *({name: {"text": "hi"}, "code": 0, "msg": "ok"} for name in ("data", "result", "output", "response", "body")),
        {"status": "ok", "data": {"result": [{"text": "hi"}]}},
        {"transcript": "hi"},
        {"transcription": [{"text": "hi"}]},
        {"result": "hi"},
        [{"text": "hi"}],
        [{"start": 0, "end": 1, "text": "hi"}],
        {"text": None, "chunks": [{"timestamp": [0, 1], "text": "hi"}]},
    ],
)
def test_a_transcript_in_a_wrapper_is_one(body: Any) -> None:
    assert read("transcription", body)["text"] == "hi"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b'{"text": "Hello the',
        b"\x00\x01",
        b"<!DOCTYPE html><p>Sign in</p>",
        b"502 from upstream\n<html><body>Sign in</body></html>",
        b"undefined",
        b"Service Unavailable",
    ],
)
@pytest.mark.parametrize("content_type", ["text/plain", "text/html", "", "application/json"])
def test_what_is_no_transcript_is_none(body: bytes, content_type: str) -> None:
    assert read("transcription", body, content_type) is None


@pytest.mark.parametrize(
    "words",
    [
        "Internal Server Error",
        "upstream connect error or disconnect/reset before headers",
        "OK",
        "Error: no GPU",
        "502",
    ],
)
def test_the_words_of_a_gateway_are_no_transcript(words: str) -> None:
    assert words == "502" or read("transcription", words.encode(), "text/plain") is None
    with pytest.raises(BadReply, match="holds no text"):
        read("transcription", {"result": words})


@pytest.mark.parametrize(
    "body",
    [
        {"code": 0, "data": COMPLETION},
        {"result": COMPLETION, "success": True},
        [COMPLETION],
        {"choices": [{"text": "hi", "finish_reason": "stop"}]},
        {"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]},
        {"model": "m", "message": {"role": "assistant", "content": "hi"}, "done": True},
        {"model": "m", "response": "hi", "done": True, "done_reason": "stop"},
        b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    ],
)
def test_a_completion_in_any_form_is_one(body: Any) -> None:
    (choice,) = read("chat", body)["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("hi", "stop")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"hi\n", "text/plain"), (b"hi", ""), (b'"hi"', "application/json"), (b"hi", "application/json; charset=utf-8")],
)
def test_a_completion_that_is_its_text_alone_is_one(body: bytes, content_type: str) -> None:
    (choice,) = read("chat", body, content_type)["choices"]
    assert (choice["text"].strip(), choice["finish_reason"]) == ("hi", None)


@pytest.mark.parametrize("body", [b"", b'{"choices": [{"mess', b"<html><body>Sign in</body></html>", b"Bad Gateway"])
def test_a_page_or_half_an_object_is_no_completion(body: bytes) -> None:
    assert read("chat", body, "text/plain") is None
    assert read("chat", body, "application/json") is None


@pytest.mark.parametrize(
    "body",
    [
        {"embeddings": [[1, 2]]},
        [[1, 2]],
        {"embedding": [1, 2]},
        {"code": 0, "data": {"data": [{"index": 0, "embedding": [1, 2]}]}},
        {"data": [[1, 2]]},
        {"embeddings": {"float": [[1, 2]]}},
        [{"index": 0, "embedding": [[1, 2]]}],
        {"data": [{"embedding": "[1, 2]"}]},
    ],
)
def test_a_vector_in_any_form_is_one(body: Any) -> None:
    assert read("embeddings", body) == read("embeddings", {"data": [{"index": 0, "embedding": [1, 2]}]})


@pytest.mark.parametrize(
    "body",
    [
        {"results": SCORES},
        {"code": 0, "data": {"results": SCORES}},
        {"output": {"results": SCORES}},
        {"scores": [0.5, 0.1, 0]},
        [0.5, 0.1, 0],
        {"rankings": [{"index": 0, "logit": 0.5}, {"index": 1, "logit": 0.1}, {"index": 2, "logit": 0}]},
    ],
)
def test_scores_in_any_form_are_scores(body: Any) -> None:
    assert read("rerank", body)["scores"] == [0.5, 0.1, 0]


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.sampled_from(["text/plain", "", "text/vtt"]))
def test_no_body_crashes(body: bytes, content_type: str) -> None:
    try:
        data = read("transcription", body, content_type)
    except BadReply:
        return
    assert data is None or isinstance(data["text"], str)


WORDS = st.from_regex(r"[a-z]{1,9}( [a-z]{1,9}){0,3}", fullmatch=True)


@given(st.lists(st.tuples(st.integers(0, 359_999_999), st.integers(0, 10_000), WORDS), min_size=1, max_size=6))
def test_subtitles_come_back_with_their_times(cues: list[tuple[int, int, str]]) -> None:
    def spell(milliseconds: int, mark: str) -> str:
        seconds, rest = divmod(milliseconds, 1000)
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{rest:03}"

    for head, mark in (("", ","), ("WEBVTT\n\n", ".")):
        blocks = [
            f"{n}\n{spell(at, mark)} --> {spell(at + size, mark)}\n{text}" for n, (at, size, text) in enumerate(cues, 1)
        ]
        segments = read("transcription", (head + "\n\n".join(blocks)).encode(), "text/plain")["segments"]
        assert [segment["text"] for segment in segments] == [text for _, _, text in cues]
        if all(at < 36_000_000 for at, _, _ in cues):
            assert [round(segment["start"] * 1000) for segment in segments] == [at for at, _, _ in cues]
