"""The providers' documented examples run against the built-in server; only base URL, key and images are changed."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import groq
import openai
import pytest
import together
from pydantic import BaseModel

from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.visual_samples import DAY, HOUSE, PAGE, data_url, serve_folder
from tests.local.clients.test_chat import VENDORS, XAI, sdk

pytestmark = pytest.mark.long

RETIRED = ["moonshotai/Kimi-K2.5", "me/Qwen/Qwen3-VL-8B-Instruct-0a1b", "meta-llama/Llama-3.3-70B-Instruct-Turbo"]
KIMI, DEDICATED, LLAMA = RETIRED
HELLO: Any = [{"role": "user", "content": "Say hello. Is this JSON?"}]


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"engine": "measure", "key_env": None, "model": RETIRED, "url_host": ["127.0.0.1"]}


def test_the_streaming_example_of_a_local_image(local_server: RunningServer) -> None:
    client, _ = sdk(local_server, "together")
    base64_image = base64.b64encode(HOUSE.read_bytes()).decode("utf-8")
    stream = client.chat.completions.create(
        model=KIMI,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is in the image"},
                    {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64_image}"}},
                ],
            }
        ],
        stream=True,
    )
    said = "".join(chunk.choices[0].delta.content or "" if chunk.choices else "" for chunk in stream)
    assert said.startswith("A description, not a caption: a wide JPEG picture")


def test_the_example_of_two_images_by_url(local_server: RunningServer) -> None:
    client, _ = sdk(local_server, "together")
    with serve_folder(HOUSE.parent) as address:
        content = [
            {"type": "text", "text": "Compare these two images."},
            {"type": "image_url", "image_url": {"url": f"{address}/{HOUSE.name}"}},
            {"type": "image_url", "image_url": {"url": f"{address}/{PAGE.name}"}},
        ]
        reply = client.chat.completions.create(model=KIMI, messages=[{"role": "user", "content": content}])
    assert "; 2: a wide PNG picture" in reply.choices[0].message.content


@pytest.mark.parametrize("vendor", ["together", "compatible"])
def test_the_example_of_a_video_by_url(vendor: str, local_server: RunningServer) -> None:
    client: Any
    client, _ = sdk(local_server, "together")
    if vendor == "compatible":
        client = openai.OpenAI(base_url=f"{local_server.origin}/compatible/v1", api_key="some-key", max_retries=0)
    with serve_folder(DAY.parent) as address:
        content = [
            {"type": "text", "text": "What's happening in this video?"},
            {"type": "video_url", "video_url": {"url": f"{address}/{DAY.name}"}},
        ]
        reply = client.chat.completions.create(model=DEDICATED, messages=[{"role": "user", "content": content}])
    assert "video of 6.0 s" in reply.choices[0].message.content


def test_the_example_of_groq(local_server: RunningServer) -> None:
    client, model = sdk(local_server, "groq")
    with serve_folder(HOUSE.parent) as address:
        content = [
            {"type": "text", "text": "What's in this image?"},
            {"type": "image_url", "image_url": {"url": f"{address}/{HOUSE.name}"}},
        ]
        completion = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": content}],
            temperature=1,
            max_tokens=1024,
            top_p=1,
            stream=False,
            stop=None,
        )
    assert completion.choices[0].message.content.startswith("A description")
    assert completion.usage.total_time > 0
    assert completion.x_groq.id


def test_the_examples_of_text_json_and_schemas(local_server: RunningServer) -> None:
    client, _ = sdk(local_server, "together")

    async def ask_llama() -> str:
        other = together.AsyncTogether(base_url=f"{local_server.origin}/together", api_key="some-key")
        reply = await other.chat.completions.create(model=LLAMA, messages=HELLO)
        message = reply.choices[0].message
        assert message is not None
        return str(message.content)

    assert asyncio.run(ask_llama()).startswith("No language model is built in")
    mode = {"type": "json_object"}
    found = client.chat.completions.create(model=LLAMA, messages=HELLO, response_format=mode)
    assert isinstance(json.loads(found.choices[0].message.content), dict)
    properties = {"name": {"type": "string"}, "age": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["name", "age"]}
    bound = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    person = json.loads(
        client.chat.completions.create(model=LLAMA, messages=HELLO, response_format=bound).choices[0].message.content
    )
    assert (type(person["name"]), type(person["age"])) == (str, int)


class Step(BaseModel):
    text: str
    next: Step | None


class Steps(BaseModel):
    title: str
    colors: list[str]
    first: Step


def test_a_pydantic_model_is_parsed_in_strict_mode(local_server: RunningServer) -> None:
    client, model = sdk(local_server, "openai")
    shown = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_url(HOUSE)}}]}]
    parsed = client.chat.completions.parse(model=model, messages=shown, response_format=Steps).choices[0].message.parsed
    assert isinstance(parsed, Steps)
    assert parsed.colors
    local_server.faults({"fault": {"kind": "say", "body": {"refusal": "I will not."}}})
    refused = client.chat.completions.parse(model=model, messages=shown, response_format=Steps)
    assert refused.choices[0].message.refusal == "I will not."
    local_server.faults({"fault": {"kind": "say", "body": {"content": '{"title": "a', "finish_reason": "length"}}})
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model=model, messages=shown, response_format=Steps)
    loose: Any = {"name": "loose", "strict": True, "schema": {"type": "object", "properties": {}}}
    with pytest.raises(openai.BadRequestError, match="additionalProperties"):
        client.chat.completions.create(
            model=model, messages=shown, response_format={"type": "json_schema", "json_schema": loose}
        )


def test_a_tool_is_called_in_a_stream(local_server: RunningServer) -> None:
    client, model = sdk(local_server, "openai")
    schema = {"type": "object", "properties": {"width": {"type": "integer"}}, "required": ["width"]}
    tool = {"type": "function", "function": {"name": "record", "parameters": schema}}
    chosen = {"type": "function", "function": {"name": "record"}}
    shown: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_url(HOUSE)}}]}]
    with client.chat.completions.stream(model=model, messages=shown, tools=[tool], tool_choice=chosen) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("record", {"width": 480})
    assert final.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("vendor", VENDORS)
def test_chat_errors_raise_the_sdks_exceptions(vendor: str, local_server: RunningServer) -> None:
    client, model = sdk(local_server, vendor)
    module: Any = {"together": together, "groq": groq}.get(vendor, openai)
    wrong = module.BadRequestError if vendor == "together" else module.NotFoundError
    with pytest.raises(wrong):
        client.chat.completions.create(model="nobody/nothing", messages=HELLO)
    with pytest.raises(module.BadRequestError):
        client.chat.completions.create(model=model, messages=[{"role": "nobody", "content": "x"}])
    local_server.faults({"fault": {"kind": "stream_error"}})
    with pytest.raises(module.APIError):
        list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    local_server.faults()
    local_server.limits(rpm=1, burst=1)
    try:
        with pytest.raises(module.RateLimitError):
            [client.chat.completions.create(model=model, messages=HELLO) for _ in range(3)]
    finally:
        local_server.limits(rpm=None, burst=None)
    refused = [call for call in local_server.bill()["calls"] if call["status"] != 200]
    assert len(refused) >= 3
    assert not any(call["billed"] for call in refused)


def test_a_required_key_is_accepted_and_recorded() -> None:
    with running_server(engine="echo", require_key=True) as wanting:
        client, model = sdk(wanting, "xai")
        assert model == XAI
        assert client.chat.completions.create(model=model, messages=HELLO).choices
        assert wanting.bill()["calls"][0]["key_seen"]
