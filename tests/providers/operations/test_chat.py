"""Chat: what goes out, and every shape of what comes back."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Payload, Usage
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.providers.operations.chat_stream import has_token
from mediamill.tasks.wire import FIRST_CHUNK_HEADER, Reply
from tests.helpers.hypothesis_profile import repeatable
from tests.providers.builders import (
    build_ask,
    build_body,
    build_event_stream,
    build_provider,
    build_reply,
    build_request,
    parse_reply,
)

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("provider", "path", "field"),
    [
        ("together", "/v1/chat/completions", "max_tokens"),
        ("openai", "/v1/chat/completions", "max_completion_tokens"),
        ("groq", "/openai/v1/chat/completions", "max_completion_tokens"),
        ("xai", "/v1/chat/completions", "max_completion_tokens"),
        ("compatible", "/v1/chat/completions", "max_tokens"),
    ],
)
def test_each_endpoint_gets_its_own_words(provider: str, path: str, field: str) -> None:
    one = build_ask("chat", seed=7, temperature=0.5)
    assert build_request(provider, one).path == path
    told = build_body(provider, one)
    assert (told[field], told["seed"], told["temperature"]) == (50, 7, 0.5)
    assert told["messages"] == [{"role": "user", "content": "hello"}]
    assert "stream" not in told


def test_pictures_go_as_data_and_never_into_the_key() -> None:
    one = build_ask("vision_chat", payload=Payload("a.jpg", "image/jpeg", 3, data=b"\xff\xd8\xff"))
    parts = build_body("together", one)["messages"][0]["content"]
    assert parts[0] == {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/"}}
    assert parts[1] == {"type": "text", "text": "What is it?"}
    assert "base64" not in str(build_provider("together").to_wire(one).params)
    linked = build_ask("vision_chat", payload=LINK)
    assert build_body("openai", linked)["messages"][0]["content"][0]["image_url"]["url"] == "https://example.org/a.jpg"


LINK = Payload("", "", 0, url="https://example.org/a.jpg")


def test_a_stream_is_the_same_purchase() -> None:
    whole, streamed = build_ask("chat"), build_ask("chat", stream=True)
    assert build_provider("groq").to_wire(whole).params == build_provider("groq").to_wire(streamed).params
    told = build_body("groq", streamed)
    assert (told["stream"], told["stream_options"]) == (True, {"include_usage": True})
    assert "stream_options" not in build_body("together", streamed)


def test_a_schema_binds_the_answer_as_the_model_can_be_bound() -> None:
    bound = build_body("together", build_ask("chat", schema=SCHEMA))["response_format"]
    assert bound == {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    assert build_body("groq", build_ask("chat", "qwen/qwen3.8-27b", schema=SCHEMA))["response_format"] == {
        "type": "json_object"
    }


@pytest.mark.parametrize(
    ("provider", "params", "named"),
    [("openai", {"top_k": 5}, "top_k"), ("groq", {"logprobs": 2}, "logprobs"), ("groq", {"n": 2}, "n")],
)
def test_what_an_endpoint_does_not_take_is_told_before_it_is_sent(
    provider: str, params: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadInput, match=named):
        build_provider(provider).to_wire(build_ask("chat", **params))


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def answer(provider: str, told: Reply) -> tuple[dict[str, Any], Usage]:
    parsed = parse_reply(provider, build_ask("chat"), told)
    return parsed.data, parsed.usage


def test_a_whole_answer() -> None:
    told = {
        "model": "m-2",
        "choices": [{"message": {"content": "Hi", "reasoning": "hm"}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 7,
            "total_tokens": 18,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
    }
    data, usage = answer("openai", build_reply(told))
    assert (data["choices"][0]["text"], data["choices"][0]["reasoning"], data["model"]) == ("Hi", "hm", "m-2")
    assert usage == Usage(input_tokens=11, cached_input_tokens=4, output_tokens=7, requests=1)
    assert data["reasoning_tokens"] == 3


def test_xai_leaves_reasoning_out_of_the_completion_and_tells_its_price() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 115,
        "completion_tokens_details": {"reasoning_tokens": 100},
        "cost_in_usd_ticks": 12_345_678,
    }
    _, told = answer("xai", build_reply({"choices": [{"message": {"content": "a"}}], "usage": usage}))
    assert (told.output_tokens, told.billed_usd) == (105, Decimal("0.0012345678"))


def test_a_stream_adds_up() -> None:
    told = build_event_stream(
        {"choices": []},
        delta(role="assistant", content=None),
        delta(reasoning="think ", reasoning_content="think "),
        delta(content="Hel"),
        delta(content="lo\u2028there"),
        delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
        delta("stop"),
        {"choices": [], "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 2}}},
    )
    data, usage = answer("groq", told)
    choice = data["choices"][0]
    assert (choice["text"], choice["reasoning"], choice["finish_reason"]) == ("Hello\u2028there", "think ", "stop")
    assert choice["tool_calls"] == [{"id": "c1", "name": "f", "arguments": '{"a":1}'}]
    assert (usage.input_tokens, usage.output_tokens) == (3, 2)


def test_likelihoods_come_in_two_shapes() -> None:
    bare = build_event_stream({"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": -0.5}]}, delta("stop"))
    assert answer("together", bare)[0]["choices"][0]["logprobs"] == {"content": [{"token": "a", "logprob": -0.5}]}
    token = {"token": "a", "logprob": -1}
    whole = build_event_stream(
        {"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [token]}}]}, delta("stop")
    )
    assert answer("openai", whole)[0]["choices"][0]["logprobs"] == {"content": [token]}


def test_a_stream_without_its_end_counts_when_the_answer_has_one() -> None:
    assert (
        answer("together", build_event_stream(delta(content="a"), delta("stop"), end=b""))[0]["choices"][0]["text"]
        == "a"
    )
    problem = build_provider("together").classify(build_event_stream(delta(content="a"), end=b""), "chat")
    assert problem
    assert (problem.verdict, problem.billed) == ("unknown", True)


def test_an_error_inside_a_stream_is_an_error() -> None:
    at_once = build_provider("openai").classify(
        build_event_stream({"error": {"message": "no", "code": "rate_limit_exceeded"}}), "chat"
    )
    assert at_once
    assert not at_once.billed
    later = build_provider("groq").classify(
        build_event_stream(delta(content="a"), {"x_groq": {"error": "over capacity"}}), "chat"
    )
    assert later
    assert (later.verdict, later.billed) == ("unknown", True)


def test_the_first_token_is_timed_and_reasoning_counts() -> None:
    assert has_token(b'data: {"choices":[{"delta":{"reasoning":"so"}}]}')
    assert not has_token(b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}')
    assert not has_token(b": keepalive")
    data, _ = answer(
        "together", build_reply({"choices": [{"message": {"content": "a"}}]}, headers={FIRST_CHUNK_HEADER: "321"})
    )
    assert data["first_token_ms"] == 321


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["choices", "delta", "message", "content", "index", "tool_calls", "usage", "error", "function"])
SHAPED: Any = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)


@repeatable
@given(st.lists(SHAPED, max_size=4), st.booleans(), st.booleans())
def test_any_reply_is_an_answer_or_an_error(chunks: list[Any], streamed: bool, done: bool) -> None:
    told = (
        build_event_stream(*chunks, end=b"data: [DONE]\n\n" * done)
        if streamed
        else build_reply(chunks[0] if chunks else {})
    )
    adapter = build_provider("together")
    if adapter.classify(told, "chat") is None:
        with contextlib.suppress(BadReply):
            (parsed,) = adapter.parse(told, [build_ask("chat")])
            assert parsed.data["choices"]
