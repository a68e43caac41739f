"""Streams in each provider's form, complete or broken by faults, and answers set by faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import orjson
import pytest

from tests.helpers import loopback
from tests.helpers.local_server import RunningServer
from tests.local.chat.test_chat_request import CHAT, HELLO, MODEL, ask

THINKING = {"content": "yes or no\u2028maybe", "reasoning": "let me see"}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"price": [f"{model}=0.5/1.5" for model in set(MODEL.values())]}


@contextmanager
def streaming(server: RunningServer, dialect: str, timeout: float = 60, **more: Any) -> Iterator[httpx.Response]:
    body = {"model": MODEL[dialect], "messages": HELLO, "stream": True, **more}
    with loopback.stream("POST", server.origin + CHAT[dialect], json=body, timeout=timeout) as reply:
        yield reply


def read_stream(server: RunningServer, dialect: str, **more: Any) -> tuple[list[dict[str, Any]], bytes]:
    """The chunks, and the whole body."""
    with streaming(server, dialect, **more) as reply:
        body = reply.read()
    lines = [line for line in body.split(b"\n") if line.startswith(b"data: {")]
    return [orjson.loads(line[6:]) for line in lines], body


def join_deltas(chunks: list[dict[str, Any]], name: str, index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.get("choices", ()) if choice["index"] == index]
    return "".join(choice["delta"].get(name) or "" for choice in choices)


@pytest.mark.parametrize(
    ("dialect", "names"),
    [
        ("together", ["reasoning"]),
        ("groq", ["reasoning"]),
        ("compatible", ["reasoning", "reasoning_content"]),
        ("xai", ["reasoning_content"]),
        ("openai", ["reasoning_content"]),
    ],
)
def test_streamed_reasoning_has_the_providers_field_and_comes_first(
    dialect: str, names: list[str], local_server: RunningServer
) -> None:
    local_server.faults({"fault": {"kind": "say", "body": THINKING}})
    chunks, body = read_stream(local_server, dialect)
    assert [name for name in ("reasoning", "reasoning_content") if join_deltas(chunks, name)] == names
    assert join_deltas(chunks, "content") == THINKING["content"]
    assert body.index(b'"let ') < body.index(b'"yes ')
    assert body.endswith(b"data: [DONE]\n\n")
    message = ask(local_server, dialect).json()["choices"][0]["message"]
    assert {name: message[name] for name in names} == dict.fromkeys(names, THINKING["reasoning"])


@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize("dialect", sorted(CHAT))
def test_streamed_usage_is_where_the_provider_puts_it(
    dialect: str, include_usage: bool, local_server: RunningServer
) -> None:
    chunks, _ = read_stream(
        local_server, dialect, **({"stream_options": {"include_usage": True}} if include_usage else {})
    )
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert bool(usages) == (include_usage or dialect in ("together", "xai"))
    if dialect == "groq":
        assert chunks[0]["x_groq"]["id"]
        usages += [chunk["x_groq"]["usage"] for chunk in chunks if "usage" in chunk.get("x_groq", ())]
    finished = [chunk for chunk in chunks if any(choice["finish_reason"] for choice in chunk["choices"])]
    if dialect == "together":
        assert finished == [chunks[-1]]
        assert chunks[-1]["usage"]
    elif include_usage and dialect != "together":
        assert chunks[-1]["choices"] == []
    plain = ask(local_server, dialect).json()["usage"]
    assert all(usage["prompt_tokens"] == plain["prompt_tokens"] for usage in usages)


def test_chunks_of_several_answers_alternate(local_server: RunningServer) -> None:
    chunks, _ = read_stream(local_server, "together", n=3)
    whole = ask(local_server, "together", n=3).json()["choices"]
    assert [join_deltas(chunks, "content", n) for n in range(3)] == [choice["message"]["content"] for choice in whole]
    indices = [choice["index"] for chunk in chunks for choice in chunk["choices"]]
    assert indices[:3] == [0, 1, 2]


CALLS = [{"name": "look", "arguments": '{"at": "it'}, {"name": "see", "arguments": {"deep": [1, 2, 3, 4, 5, 6]}}]


def test_tool_calls_are_streamed_in_fragments_by_index(local_server: RunningServer) -> None:
    local_server.faults({"fault": {"kind": "say", "body": {"tool_calls": CALLS, "finish_reason": "tool_calls"}}})
    chunks, _ = read_stream(local_server, "openai")
    parts = [part for c in chunks for choice in c["choices"] for part in choice["delta"].get("tool_calls", ())]
    message = ask(local_server, "openai").json()["choices"][0]["message"]
    assert message["content"] is None
    for n, call in enumerate(message["tool_calls"]):
        fragments = [part for part in parts if part["index"] == n]
        assert "".join(part["function"]["arguments"] for part in fragments) == call["function"]["arguments"]
        assert [part["function"]["name"] for part in fragments if "id" in part] == [call["function"]["name"]]
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"at": "it', '{"deep":[1,2,3,4,5,6]}']


ANSWERS: list[dict[str, Any]] = [
    {"content": "<think>hm</think>{}"},
    {"content": '{"a": [1', "finish_reason": "length"},
    {"refusal": "I will not."},
    {"content": "nothing", "finish_reason": "content_filter"},
]


@pytest.mark.parametrize("body", ANSWERS)
def test_the_fault_say_sets_the_answer(body: dict[str, Any], local_server: RunningServer) -> None:
    local_server.faults({"fault": {"kind": "say", "body": body}})
    (choice,) = ask(local_server, "openai").json()["choices"]
    assert choice["message"]["content"] == body.get("content")
    assert choice["message"]["refusal"] == body.get("refusal")
    assert choice["finish_reason"] == body.get("finish_reason", "stop")
    chunks, _ = read_stream(local_server, "openai")
    assert join_deltas(chunks, "content") == body.get("content", "")
    assert join_deltas(chunks, "refusal") == body.get("refusal", "")


@pytest.mark.parametrize("dialect", sorted(CHAT))
def test_the_fault_stream_error_ends_the_stream_with_an_error(dialect: str, local_server: RunningServer) -> None:
    local_server.faults({"fault": {"kind": "stream_error"}})
    chunks, body = read_stream(local_server, dialect)
    assert chunks[-1]["error"]
    assert b"[DONE]" not in body
    assert ("code" in chunks[-1]) == (dialect == "xai")
    local_server.faults({"fault": {"kind": "stream_error", "body": {"x_groq": {"error": "gone"}}}})
    assert read_stream(local_server, dialect)[0][-1] == {"x_groq": {"error": "gone"}}


def test_streams_can_end_without_finish_reason_or_done(local_server: RunningServer) -> None:
    local_server.faults({"fault": {"kind": "undone"}})
    chunks, body = read_stream(local_server, "openai")
    assert (chunks[-1]["choices"][0]["finish_reason"], b"[DONE]" in body) == ("stop", False)
    local_server.faults({"fault": {"kind": "no_done"}})
    chunks, body = read_stream(local_server, "openai")
    assert (any(choice["finish_reason"] for c in chunks for choice in c["choices"]), b"[DONE]" in body) == (
        False,
        False,
    )


def test_the_fault_empty_chunks_adds_chunks_without_choices_and_comments(local_server: RunningServer) -> None:
    whole = ask(local_server, "openai").json()["choices"][0]["message"]["content"]
    local_server.faults({"fault": {"kind": "empty_chunks"}})
    chunks, body = read_stream(local_server, "openai")
    assert [chunk for chunk in chunks if not chunk["choices"]]
    assert b": keep-alive\n\n" in body
    assert join_deltas(chunks, "content") == whole


@pytest.mark.parametrize("kind", ["reset_mid_body", "short_body"])
def test_a_connection_breaks_in_the_middle_of_a_stream(kind: str, local_server: RunningServer) -> None:
    local_server.faults({"fault": {"kind": kind}})
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)), streaming(local_server, "together") as reply:
        reply.read()
    assert local_server.bill()["billed"] == 1


def test_the_fault_stall_pauses_a_stream(local_server: RunningServer) -> None:
    local_server.faults({"fault": {"kind": "stall", "interval": 3600}, "times": 1})
    with streaming(local_server, "together", timeout=2) as reply:
        blocks = reply.iter_raw()
        assert b"chat.completion.chunk" in next(blocks)
        with pytest.raises(httpx.ReadTimeout):
            list(blocks)
    local_server.faults({"fault": {"kind": "stall", "interval": 0.01}})
    assert read_stream(local_server, "together")[1].endswith(b"data: [DONE]\n\n")


def test_a_refused_streaming_request_gets_a_plain_json_error(local_server: RunningServer) -> None:
    with streaming(local_server, "openai", model="nobody") as reply:
        assert (reply.status_code, reply.headers["content-type"]) == (404, "application/json")
    assert local_server.bill()["billed"] == 0
