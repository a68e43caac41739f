"""The providers' SDKs send text, images and videos to the built-in chat endpoint."""

from __future__ import annotations

import json
from typing import Any

import groq
import openai
import pytest
import together

from tests.helpers.local_server import RunningServer
from tests.helpers.visual_samples import DAY, HOUSE, PAGE, data_url, serve_folder

pytestmark = pytest.mark.long

QUESTION = "What is in this picture?"
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
    """A client as the provider's docs create it, and a model."""
    server.reset()
    options: dict[str, Any] = {"api_key": "some-key", "max_retries": 0, "timeout": 60}
    if vendor == "together":
        return together.Together(base_url=f"{server.origin}/together", **options), TOGETHER
    if vendor == "groq":
        return groq.Groq(base_url=f"{server.origin}/groq", **options), GROQ
    if vendor == "xai":
        return openai.OpenAI(base_url=f"{server.origin}/xai/v1", **options), XAI
    return openai.OpenAI(base_url=f"{server.origin}/openai-api/v1", **options), OPENAI


def make_messages(*urls: str, words: str = QUESTION) -> list[dict[str, Any]]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [{"type": "text", "text": words}, *parts]}]


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_image_is_described_and_billed(vendor: str, local_server: RunningServer) -> None:
    client, model = sdk(local_server, vendor)
    reply = client.chat.completions.create(model=model, messages=make_messages(data_url(HOUSE)))
    content = reply.choices[0].message.content
    assert content.startswith("A description, not a caption: a wide JPEG picture of 480 by 360 pixels")
    assert reply.choices[0].finish_reason == "stop"
    (call,) = local_server.bill()["calls"]
    assert call["input_tokens"] == reply.usage.prompt_tokens > 100
    assert call["output_tokens"] == reply.usage.completion_tokens
    assert float(call["usd"]) == pytest.approx((call["input_tokens"] * 0.5 + call["output_tokens"] * 1.5) / 1e6)


@pytest.mark.parametrize("vendor", VENDORS)
def test_several_images_are_described_one_of_them_by_url(vendor: str, local_server: RunningServer) -> None:
    client, model = sdk(local_server, vendor)
    with serve_folder(PAGE.parent) as address:
        messages = make_messages(data_url(HOUSE), f"{address}/page.png")
        content = client.chat.completions.create(model=model, messages=messages).choices[0].message.content
    assert "1: a wide JPEG" in content
    assert "2: a wide PNG picture of 520 by 300" in content


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_streamed_answer_equals_the_plain_one(vendor: str, local_server: RunningServer) -> None:
    client, model = sdk(local_server, vendor)
    more = {} if vendor in ("together", "groq") else {"stream_options": {"include_usage": True}}
    whole = client.chat.completions.create(model=model, messages=make_messages(data_url(HOUSE)))
    pieces, ends, tokens = [], [], None
    for chunk in client.chat.completions.create(
        model=model, messages=make_messages(data_url(HOUSE)), stream=True, **more
    ):
        usage = getattr(chunk, "usage", None) or getattr(getattr(chunk, "x_groq", None), "usage", None)
        tokens = usage.prompt_tokens if usage else tokens
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            ends.append(choice.finish_reason)
    assert "".join(pieces) == whole.choices[0].message.content
    assert ends[-1] == "stop"
    assert tokens == whole.usage.prompt_tokens


@pytest.mark.parametrize("vendor", VENDORS)
def test_an_answer_conforms_to_a_schema_and_to_a_tool(vendor: str, local_server: RunningServer) -> None:
    client, model = sdk(local_server, vendor)
    schema_format = {"type": "json_schema", "json_schema": {"name": "seen", "schema": SCHEMA}}
    messages = make_messages(data_url(HOUSE))
    reply = client.chat.completions.create(model=model, messages=messages, response_format=schema_format)
    assert json.loads(reply.choices[0].message.content)["width"] == 480
    tool_reply = client.chat.completions.create(model=model, messages=messages, tools=[TOOL], tool_choice="required")
    (call,) = tool_reply.choices[0].message.tool_calls
    assert call.function.name == "record"
    assert json.loads(call.function.arguments)["width"] == 480
    assert tool_reply.choices[0].finish_reason == "tool_calls"


def test_a_video_is_described_by_together_and_refused_by_groq(local_server: RunningServer) -> None:
    client, model = sdk(local_server, "together")
    parts = [{"type": "video_url", "video_url": {"url": data_url(DAY)}}, {"type": "text", "text": "What happens?"}]
    messages: Any = [{"role": "user", "content": parts}]
    content = client.chat.completions.create(model=model, messages=messages).choices[0].message.content
    assert "video of 6.0 s" in content
    client, model = sdk(local_server, "groq")
    with pytest.raises(groq.BadRequestError, match="video_url is not supported"):
        client.chat.completions.create(model=model, messages=messages)


def test_refused_requests_raise_the_sdks_errors_and_are_free(local_server: RunningServer) -> None:
    client, model = sdk(local_server, "groq")
    create = client.chat.completions.create
    with pytest.raises(groq.BadRequestError, match="Too many images"):
        create(model=model, messages=make_messages(*[data_url(HOUSE)] * 6))
    with pytest.raises(groq.NotFoundError):
        create(model="nobody/nothing", messages=make_messages(data_url(HOUSE)))
    with pytest.raises(groq.APIStatusError) as large:
        create(model=model, messages=make_messages("data:image/jpeg;base64," + "A" * 5_000_000))
    assert large.value.status_code == 413
    client, model = sdk(local_server, "xai")
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model=model, messages=make_messages(data_url(HOUSE.with_name("badge.webp"))))
    assert "it must be one of jpeg, png" in wrong.value.response.text
    client, model = sdk(local_server, "together")
    half = "data:image/jpeg;base64," + data_url(HOUSE).partition(",")[2][:4000]
    with pytest.raises(together.BadRequestError, match="Invalid image"):
        client.chat.completions.create(model=model, messages=make_messages(half))
    assert local_server.bill()["billed"] == 0


def test_xai_reports_reasoning_beside_the_completion_and_the_cost_in_ticks(local_server: RunningServer) -> None:
    client, model = sdk(local_server, "xai")
    local_server.faults({"fault": {"kind": "say", "body": {"content": "yes", "reasoning": "let me think about it"}}})
    reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "well?"}])
    usage = reply.usage
    assert reply.choices[0].message.reasoning_content == "let me think about it"
    thought = usage.completion_tokens_details.reasoning_tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens + thought
    assert usage.cost_in_usd_ticks == round(float(local_server.bill()["usd"]) * 1e10)
