"""The vendors' SDKs ask the built-in server in words and pictures."""

from __future__ import annotations

import json
from typing import Any

import groq
import openai
import pytest
import together

from tests.helpers.local_server import RunningServer
from tests.helpers.visual_samples import DAY, HOUSE, PAGE, data_url, serve_folder

ASKED = "What is in this picture?"
TOGETHER, OPENAI, GROQ, XAI = "Qwen/Qwen3.5-9B", "gpt-5.4-mini", "qwen/qwen3.8-27b", "grok-4.3"
VENDORS = ["together", "openai", "groq", "xai"]
SCHEMA = {
    "type": "object",
    "properties": {"width": {"type": "integer"}, "colors": {"type": "array", "items": {"type": "string"}}},
    "required": ["width", "colors"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "record", "parameters": SCHEMA}}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    prices = [f"{model}=0.5/1.5" for model in (TOGETHER, OPENAI, GROQ, XAI)]
    return {"engine": "measure", "key_env": None, "price": prices, "url_host": ["127.0.0.1"]}


def sdk(server: RunningServer, vendor: str) -> tuple[Any, str]:
    """A client as the vendor's documents make one, and a model."""
    server.reset()
    told: dict[str, Any] = {"api_key": "some-key", "max_retries": 0, "timeout": 60}
    if vendor == "together":
        return together.Together(base_url=f"{server.origin}/together", **told), TOGETHER
    if vendor == "groq":
        return groq.Groq(base_url=f"{server.origin}/groq", **told), GROQ
    if vendor == "xai":
        return openai.OpenAI(base_url=f"{server.origin}/xai/v1", **told), XAI
    return openai.OpenAI(base_url=f"{server.origin}/openai-api/v1", **told), OPENAI


def shown(*urls: str, words: str = ASKED) -> list[dict[str, Any]]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [{"type": "text", "text": words}, *parts]}]


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_picture_is_described_and_billed(vendor: str, local_server: RunningServer) -> None:
    client, model = sdk(local_server, vendor)
    reply = client.chat.completions.create(model=model, messages=shown(data_url(HOUSE)))
    said = reply.choices[0].message.content
    assert said.startswith("A description, not a caption: a wide JPEG picture of 480 by 360 pixels")
    assert reply.choices[0].finish_reason == "stop"
    (call,) = local_server.bill()["calls"]
    assert call["input_tokens"] == reply.usage.prompt_tokens > 100
    assert call["output_tokens"] == reply.usage.completion_tokens
    assert float(call["usd"]) == pytest.approx((call["input_tokens"] * 0.5 + call["output_tokens"] * 1.5) / 1e6)


@pytest.mark.parametrize("vendor", VENDORS)
def test_several_pictures_one_of_them_by_its_address(vendor: str, local_server: RunningServer) -> None:
    client, model = sdk(local_server, vendor)
    with serve_folder(PAGE.parent) as address:
        messages = shown(data_url(HOUSE), f"{address}/page.png")
        said = client.chat.completions.create(model=model, messages=messages).choices[0].message.content
    assert "1: a wide JPEG" in said
    assert "2: a wide PNG picture of 520 by 300" in said


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_answer_comes_as_a_stream(vendor: str, local_server: RunningServer) -> None:
    client, model = sdk(local_server, vendor)
    more = {} if vendor in ("together", "groq") else {"stream_options": {"include_usage": True}}
    whole = client.chat.completions.create(model=model, messages=shown(data_url(HOUSE)))
    pieces, ends, tokens = [], [], None
    for chunk in client.chat.completions.create(model=model, messages=shown(data_url(HOUSE)), stream=True, **more):
        usage = getattr(chunk, "usage", None) or getattr(getattr(chunk, "x_groq", None), "usage", None)
        tokens = usage.prompt_tokens if usage else tokens
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            ends.append(choice.finish_reason)
    assert "".join(pieces) == whole.choices[0].message.content
    assert ends[-1] == "stop"
    assert tokens == whole.usage.prompt_tokens


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_schema_and_a_tool_hold_the_answer(vendor: str, local_server: RunningServer) -> None:
    client, model = sdk(local_server, vendor)
    bound = {"type": "json_schema", "json_schema": {"name": "seen", "schema": SCHEMA}}
    messages = shown(data_url(HOUSE))
    told = client.chat.completions.create(model=model, messages=messages, response_format=bound)
    assert json.loads(told.choices[0].message.content)["width"] == 480
    called = client.chat.completions.create(model=model, messages=messages, tools=[TOOL], tool_choice="required")
    (call,) = called.choices[0].message.tool_calls
    assert call.function.name == "record"
    assert json.loads(call.function.arguments)["width"] == 480
    assert called.choices[0].finish_reason == "tool_calls"


def test_a_video_goes_to_those_who_take_one(local_server: RunningServer) -> None:
    client, model = sdk(local_server, "together")
    parts = [{"type": "video_url", "video_url": {"url": data_url(DAY)}}, {"type": "text", "text": "What happens?"}]
    messages: Any = [{"role": "user", "content": parts}]
    said = client.chat.completions.create(model=model, messages=messages).choices[0].message.content
    assert "video of 6.0 s" in said
    client, model = sdk(local_server, "groq")
    with pytest.raises(groq.BadRequestError, match="video_url is not supported"):
        client.chat.completions.create(model=model, messages=messages)


def test_what_a_vendor_refuses_is_refused_in_its_words_and_free(local_server: RunningServer) -> None:
    client, model = sdk(local_server, "groq")
    create = client.chat.completions.create
    with pytest.raises(groq.BadRequestError, match="Too many images"):
        create(model=model, messages=shown(*[data_url(HOUSE)] * 6))
    with pytest.raises(groq.NotFoundError):
        create(model="nobody/nothing", messages=shown(data_url(HOUSE)))
    with pytest.raises(groq.APIStatusError) as large:
        create(model=model, messages=shown("data:image/jpeg;base64," + "A" * 5_000_000))
    assert large.value.status_code == 413
    client, model = sdk(local_server, "xai")
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model=model, messages=shown(data_url(HOUSE.with_name("badge.webp"))))
    assert "it must be one of jpeg, png" in wrong.value.response.text
    client, model = sdk(local_server, "together")
    half = "data:image/jpeg;base64," + data_url(HOUSE).partition(",")[2][:4000]
    with pytest.raises(together.BadRequestError, match="Invalid image"):
        client.chat.completions.create(model=model, messages=shown(half))
    assert local_server.bill()["billed"] == 0


def test_xai_tells_reasoning_beside_the_completion_and_the_price_in_ticks(local_server: RunningServer) -> None:
    client, model = sdk(local_server, "xai")
    local_server.faults({"fault": {"kind": "say", "body": {"content": "yes", "reasoning": "let me think about it"}}})
    reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "well?"}])
    usage = reply.usage
    assert reply.choices[0].message.reasoning_content == "let me think about it"
    thought = usage.completion_tokens_details.reasoning_tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens + thought
    assert usage.cost_in_usd_ticks == round(float(local_server.bill()["usd"]) * 1e10)
