"""Chat requests are read or refused as each provider does, and never break the built-in server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.local.chat.answers import ChatAnswer, answer_prompt
from mediamill.tasks.local.chat.chat_dialects import get_chat_dialect
from mediamill.tasks.local.chat.chat_models import ServedChatModel
from mediamill.tasks.local.chat.chat_reply import build_completion_reply
from mediamill.tasks.local.chat.chat_request import ChatRequest, read_chat_request
from mediamill.tasks.local.chat.chat_stream import build_chunks, encode_events
from mediamill.tasks.local.chat.response_format import read_answer_form
from mediamill.tasks.local.chat.token_usage import build_usage, count_usage, truncate_answer
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.settings import DIALECTS
from tests.helpers import loopback
from tests.helpers.hypothesis_profile import make_repeatable
from tests.helpers.local_server import JSON_TYPE, RunningServer, SharedServers, running_server
from tests.helpers.tiers import mark_rest_long
from tests.helpers.transcription_requests import PATHS
from tests.helpers.visual_samples import HOUSE, data_url
from tests.local.chat.test_schema_faker import JSON

CHAT = {name: f"{path}/chat/completions" for name, path in {**PATHS, "xai": "/xai/v1"}.items()}
MODEL = {
    "local": "any",
    "together": "Qwen/Qwen3.5-9B",
    "openai": "gpt-5.4-mini",
    "groq": "qwen/qwen3.8-27b",
    "compatible": "any",
    "xai": "grok-4.3",
}
HELLO = [{"role": "user", "content": "Is it JSON? It is json."}]
FIELDS = ["model", "messages", "role", "content", "type", "image_url", "url", "tools", "n", "stop", "response_format"]
MORE = ["tool_choice", "function", "name", "parameters", "schema", "json_schema", "tool_calls", "logprobs", "stream"]
SHAPED: Any = st.recursive(
    JSON | st.sampled_from(["user", "text", "image_url", "function", "json_schema", "tool", "required"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS + MORE), inner, max_size=5),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"price": [f"{model}=0.5/1.5" for model in set(MODEL.values())]}


def ask(server: RunningServer, dialect: str, body: Any = None, **more: Any) -> httpx.Response:
    fields = {"model": MODEL[dialect], "messages": HELLO, **more} if body is None else body
    content = fields if isinstance(fields, bytes) else orjson.dumps(fields)
    return loopback.post(server.origin + CHAT[dialect], content=content, headers=JSON_TYPE, timeout=60)


def error_message(dialect: str, body: Any) -> str:
    """The message in a dialect's error body."""
    if dialect == "xai":
        return str(body["error"])
    if "detail" in body:
        return str(body["detail"][0]["msg"])
    return str(body["error"]["message"])


@make_repeatable()
@given(SHAPED, st.sampled_from(DIALECTS), st.data())
def test_any_request_is_read_or_refused(fields: Any, name: str, data: st.DataObject) -> None:
    if isinstance(fields, dict) and data.draw(st.booleans()):
        fields = {"model": "m", "messages": HELLO, **fields}
    try:
        params = read_chat_request(fields, get_chat_dialect(name), {"m": ServedChatModel()})
        response_format, tool = read_answer_form(fields, params.text, get_chat_dialect(name))
        params = replace(params, response_format=response_format, tool=tool)
        answer = truncate_answer(answer_prompt("measure", params, [], 0), params)
    except ApiError:
        return
    assert answer.finish_reason
    usage = count_usage([answer], 3)
    assert orjson.loads(build_completion_reply(params, [answer], usage, name, "r", with_logprobs=True))["choices"]
    assert encode_events(build_chunks(params, [answer], usage, name, "r", with_logprobs=True), None, {})


@pytest.fixture(scope="module")
def server_for_all_examples(shared_servers: SharedServers, server_options: dict[str, Any]) -> RunningServer:
    """A server that is not reset between the examples of a property."""
    return shared_servers.take(server_options)


@make_repeatable()
@given(st.sampled_from(sorted(CHAT)), SHAPED | st.binary(max_size=9))
def test_no_request_breaks_the_server(server_for_all_examples: RunningServer, dialect: str, fields: Any) -> None:
    body = {"model": MODEL[dialect], "messages": HELLO, **fields} if isinstance(fields, dict) else fields
    assert ask(server_for_all_examples, dialect, body).status_code < 500
    assert server_for_all_examples.bill()["in_flight"] == 0


TOOL = {"type": "function", "function": {"name": "look"}}
TOOL_CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}],
}
TOOL_RESULT = {"role": "tool", "tool_call_id": "c", "content": "done"}
IMAGE = {"type": "image_url", "image_url": {"url": data_url(HOUSE)}}


@pytest.mark.parametrize(
    ("dialect", "more", "message"),
    [
        ("openai", {"max_tokens": 5}, "max_completion_tokens"),
        ("openai", {"top_k": 5}, "Unrecognized request argument supplied: top_k"),
        ("openai", {"stop": list("abcde")}, "at most 4"),
        ("openai", {"top_logprobs": 2}, "logprobs is true"),
        ("openai", {"messages": [{"role": "system", "content": [IMAGE]}]}, "only allowed in messages of the user"),
        ("openai", {"messages": [TOOL_RESULT]}, "answers a tool call before it"),
        ("openai", {"stream_options": {"include_usage": True}}, "only allowed when stream"),
        ("groq", {"logprobs": True}, "unsupported property: logprobs"),
        ("groq", {"n": 2}, "from 1 to 1"),
        ("groq", {"messages": [{**HELLO[0], "name": "me"}]}, "name' is unsupported"),
        ("groq", {"model": "openai/gpt-oss-20b", "messages": [{"role": "user", "content": [IMAGE]}]}, "text only"),
        ("together", {"messages": [{"role": "developer", "content": "x"}]}, "one of assistant, function, system"),
        ("together", {"logprobs": 21}, "from 0 to 20"),
        ("together", {"temperature": 2.5}, "between 0 and 2"),
        ("xai", {"stop": ["a"]}, "Argument not supported on this model: stop"),
        ("xai", {"model": "grok-0"}, "does not exist"),
        ("compatible", {"presence_penalty": 3}, "between -2 and 2"),
        ("local", {"tool_choice": "required"}, "only allowed when tools"),
        ("local", {"tools": [TOOL], "tool_choice": {"function": {"name": "other"}}}, "not found in tools"),
        ("local", {"response_format": {"type": "regex", "pattern": "("}}, "not a regular expression"),
        (
            "local",
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "input_audio is not supported",
        ),
    ],
)
def test_requests_that_the_provider_refuses_are_refused_and_free(
    dialect: str, more: dict[str, Any], message: str, local_server: RunningServer
) -> None:
    reply = ask(local_server, dialect, **more)
    assert reply.status_code in (400, 404, 422), reply.text
    assert message in error_message(dialect, reply.json())
    bill = local_server.bill()
    assert (bill["requests"], bill["billed"], bill["usd"]) == (1, 0, "0")


def test_json_object_requires_the_word_json_where_the_provider_does(local_server: RunningServer) -> None:
    plain: Any = {"messages": [{"role": "user", "content": "hello"}], "response_format": {"type": "json_object"}}
    for dialect, status in (("openai", 400), ("groq", 400), ("together", 200)):
        assert ask(local_server, dialect, **plain).status_code == status
        assert ask(local_server, dialect, response_format={"type": "json_object"}).status_code == 200


@pytest.mark.parametrize("dialect", mark_rest_long(sorted(CHAT), ["together"]))
def test_json_object_answers_with_a_json_object(dialect: str, local_server: RunningServer) -> None:
    messages = [{"role": "user", "content": "List 3 colors as JSON array"}]
    reply = ask(local_server, dialect, messages=messages, response_format={"type": "json_object"}).json()
    assert isinstance(orjson.loads(reply["choices"][0]["message"]["content"]), dict)


def test_messages_with_tool_calls_and_results_are_accepted(local_server: RunningServer) -> None:
    for dialect in CHAT:
        assert ask(local_server, dialect, messages=[*HELLO, TOOL_CALL, TOOL_RESULT]).status_code == 200


def test_answers_differ_by_prompt_image_seed_and_sample(local_server: RunningServer) -> None:
    with_image = [{"role": "user", "content": [{"type": "text", "text": "what?"}, IMAGE]}]
    requests: list[dict[str, Any]] = [{}, {"seed": 1}, {"n": 2}, {"messages": with_image}]
    contents = [
        choice["message"]["content"]
        for more in [*requests, *requests]
        for choice in ask(local_server, "together", **more).json()["choices"]
    ]
    assert len(set(contents)) == 4
    assert contents[:5] == contents[5:]


@pytest.mark.parametrize(("maximum", "finish"), [(2, "length"), (1000, "stop")])
def test_an_answer_never_exceeds_max_tokens(maximum: int, finish: str) -> None:
    params = ChatRequest("m", ServedChatModel(), "One sentence. Another one. Which one?", max_tokens=maximum)
    answer = truncate_answer(answer_prompt("measure", params, [], 0), params)
    assert (answer.finish_reason, len(answer.text) <= 4 * maximum) == (finish, True)
    assert build_usage(count_usage([answer], 5), "openai")["completion_tokens"] <= maximum
    thoughtful = truncate_answer(
        ChatAnswer("text", reasoning="long thoughts " * 100), ChatRequest("m", ServedChatModel(), "", max_tokens=3)
    )
    assert (thoughtful.text, thoughtful.finish_reason, count_usage([thoughtful], 0).completion) == ("", "length", 3)


def test_an_answer_ends_before_the_stop_sequence(local_server: RunningServer) -> None:
    reply = ask(local_server, "together", stop=["prompt"]).json()["choices"][0]
    assert (reply["message"]["content"], reply["finish_reason"]) == ("echo of ", "stop")


def test_an_answer_matches_the_requested_regex(local_server: RunningServer) -> None:
    bound = {"type": "regex", "pattern": "^(yes|no)$"}
    assert ask(local_server, "together", response_format=bound).json()["choices"][0]["message"]["content"] == "yes"


def test_logprobs_have_the_providers_form_and_only_echo_simulates_them(local_server: RunningServer) -> None:
    together = ask(local_server, "together", logprobs=1).json()["choices"][0]
    assert "".join(together["logprobs"]["tokens"]) == together["message"]["content"]
    openai = ask(local_server, "openai", logprobs=True, top_logprobs=1).json()["choices"][0]
    assert "".join(one["token"] for one in openai["logprobs"]["content"]) == openai["message"]["content"]
    with running_server(engine="extract") as honest:
        assert ask(honest, "openai", logprobs=True).json()["choices"][0]["logprobs"] is None


def test_limits_count_tokens_of_prompts_and_answers(local_server: RunningServer) -> None:
    local_server.limits(tpm=100)
    try:
        large = [{"role": "user", "content": "word " * 200}]
        first = ask(local_server, "openai", messages=large)
        second = ask(local_server, "openai")
        assert (first.status_code, second.status_code) == (200, 429)
        assert second.headers["x-ratelimit-remaining-tokens"] == "0"
    finally:
        local_server.limits(tpm=None)
