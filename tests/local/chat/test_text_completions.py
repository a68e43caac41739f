"""Text completions: a prompt is continued, in each provider's form, or refused as the provider refuses it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.helpers.local_server import RunningServer

MODEL = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
PROMPT = "Large language models are "


def complete(server: RunningServer, path: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{server.origin}/{path}/completions", json={"model": MODEL, "prompt": PROMPT, **fields})


def read_chunks(reply: httpx.Response) -> list[dict[str, Any]]:
    *events, done = [event.removeprefix("data: ") for event in reply.text.split("\n\n") if event]
    assert done == "[DONE]"
    return [json.loads(event) for event in events]


@pytest.mark.parametrize(
    ("path", "kind"), [("together/v1", "text.completion"), ("compatible/v1", "text_completion"), ("v1", None)]
)
def test_a_prompt_is_continued_and_billed(path: str, kind: str | None, local_server: RunningServer) -> None:
    reply = complete(local_server, path, max_tokens=512, stop=["."], n=2, seed=4).raise_for_status().json()
    assert reply["object"] == kind or kind is None
    assert [choice["finish_reason"] for choice in reply["choices"]] == ["stop", "stop"]
    assert len({choice["text"] for choice in reply["choices"]}) == 2
    (call,) = local_server.bill()["calls"]
    assert (call["input_tokens"], call["output_tokens"]) == (
        reply["usage"]["prompt_tokens"],
        reply["usage"]["completion_tokens"],
    )


@pytest.mark.parametrize("path", ["together/v1", "compatible/v1"])
def test_a_stream_has_the_same_text(path: str, local_server: RunningServer) -> None:
    text = complete(local_server, path).json()["choices"][0]["text"]
    chunks = read_chunks(complete(local_server, path, stream=True))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == text
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]


def test_togethers_chunks_have_what_its_specification_requires(local_server: RunningServer) -> None:
    chunks = read_chunks(complete(local_server, "together/v1", stream=True))
    assert all(
        chunk["object"] == "completion.chunk" and {"token", "usage", "finish_reason"} <= chunk.keys()
        for chunk in chunks
    )
    assert all({"id", "text", "logprob", "special"} <= chunk["token"].keys() for chunk in chunks)
    assert chunks[-1]["usage"]["total_tokens"] > 0


def test_echo_gives_the_prompt_back(local_server: RunningServer) -> None:
    assert complete(local_server, "together/v1", echo=True).json()["prompt"] == [{"text": PROMPT}]
    assert complete(local_server, "compatible/v1", echo=True).json()["choices"][0]["text"].startswith(PROMPT)


def test_openai_says_that_its_models_chat(local_server: RunningServer) -> None:
    reply = complete(local_server, "openai-api/v1", model="gpt-5.4-mini")
    assert reply.status_code == 404
    assert reply.json()["error"]["message"].startswith("This is a chat model")
    assert local_server.bill()["billed"] == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": [{"role": "user", "content": "a"}]}, "messages"),
        ({"temperature": 9}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"model": ""}, "model"),
    ],
)
def test_what_is_not_valid_is_refused_by_name(fields: dict[str, Any], param: str, local_server: RunningServer) -> None:
    reply = complete(local_server, "together/v1", **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
