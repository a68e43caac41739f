"""The built-in server generates images as each provider does, and bills them by image or by token."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from tests.helpers import loopback
from tests.helpers.local_server import JSON_TYPE, RunningServer
from tests.helpers.media_requests import FLUX, decode_image, fetch

GPT = "gpt-image-1"
GROK = "grok-imagine-image"
MODELS = {"/v1": "any", "/compatible/v1": "any", "/together/v1": FLUX, "/openai-api/v1": GPT, "/xai/v1": GROK}
PRICES = [f"{FLUX}=0.003", f"{GPT}=5/40", f"{GROK}=0.02"]


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"price": PRICES}


def generate(server: RunningServer, prefix: str, **fields: Any) -> httpx.Response:
    body = {"model": MODELS.get(prefix, "any"), "prompt": "a red fox", **fields}
    sent = {name: value for name, value in body.items() if value is not None}
    return loopback.post(f"{server.origin}{prefix}/images/generations", json=sent, timeout=60)


def test_together_replies_with_image_links_or_base64(local_server: RunningServer) -> None:
    reply = generate(local_server, "/together/v1", width=256, height=320, n=2).json()
    assert set(reply) == {"id", "model", "object", "data"}
    assert [(one["index"], one["type"]) for one in reply["data"]] == [(0, "url"), (1, "url")]
    first, second = (fetch(one["url"]) for one in reply["data"])
    assert first.headers["content-type"] == "image/jpeg"
    image = decode_image(first.content)
    assert (image.format, image.size, image.getexif()[0x010E]) == ("JPEG", (256, 320), "simulated")
    assert first.content != second.content
    fields = {"response_format": "base64", "output_format": "png", "width": 256, "height": 320, "seed": 7}
    once, again = (generate(local_server, "/together/v1", **fields).json()["data"][0] for _ in range(2))
    assert once["type"] == "b64_json"
    assert once["b64_json"] == again["b64_json"]
    base64_image = decode_image(base64.b64decode(once["b64_json"]))
    assert (base64_image.format, base64_image.info["Comment"]) == ("PNG", "simulated")
    bill = local_server.bill()
    assert (bill["usd"], bill["billed_again"]) == ("0.012", 1)
    assert [call["images"] for call in bill["calls"]] == [2, 1, 1]


@pytest.mark.parametrize(("form", "name"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_openai_replies_with_base64_images_and_token_usage(form: str, name: str, local_server: RunningServer) -> None:
    fields = {"size": "1536x1024", "quality": "low", "output_format": form}
    reply = generate(local_server, "/openai-api/v1", **fields).json()
    image = decode_image(base64.b64decode(reply["data"][0]["b64_json"]))
    assert (image.format, image.size) == (name, (1536, 1024))
    assert reply["usage"] == {
        "input_tokens": 3,
        "output_tokens": 408,
        "total_tokens": 411,
        "input_tokens_details": {"text_tokens": 3, "image_tokens": 0},
    }
    assert (reply["size"], reply["quality"], reply["output_format"]) == ("1536x1024", "low", form)
    (call,) = local_server.bill()["calls"]
    assert (call["images"], call["output_tokens"], call["usd"]) == (1, 408, "0.016335")


def test_xai_accepts_an_aspect_ratio_and_reports_the_cost_in_ticks(local_server: RunningServer) -> None:
    reply = generate(local_server, "/xai/v1", aspect_ratio="16:9", n=2).json()
    assert reply["usage"]["cost_in_usd_ticks"] == 400_000_000
    assert decode_image(fetch(reply["data"][0]["url"]).content).size == (1824, 1024)
    item = generate(local_server, "/xai/v1", response_format="b64_json", resolution="2k").json()["data"][0]
    assert decode_image(base64.b64decode(item["b64_json"])).size == (2048, 2048)
    assert local_server.bill()["usd"] == "0.06"


@pytest.mark.parametrize("prefix", ["/v1", "/compatible/v1"])
def test_local_and_compatible_accept_the_fields_of_all_providers(prefix: str, local_server: RunningServer) -> None:
    one = generate(local_server, prefix, size="128x64").json()["data"][0]
    assert decode_image(base64.b64decode(one["b64_json"])).size == (128, 64)
    two = generate(local_server, prefix, width=96, height=80, response_format="url", output_format="webp").json()[
        "data"
    ][0]
    image = decode_image(fetch(two["url"]).content)
    assert (image.format, image.size) == ("WEBP", (96, 80))


@pytest.mark.parametrize(
    ("prefix", "fields", "status", "code"),
    [
        ("/together/v1", {"response_format": "b64_json"}, 400, "invalid_params"),
        ("/together/v1", {"n": 5}, 400, "invalid_params"),
        ("/together/v1", {"width": 100}, 400, "invalid_params"),
        ("/together/v1", {"width": 3000}, 400, "invalid_params"),
        ("/together/v1", {"output_format": "webp"}, 400, "invalid_params"),
        ("/together/v1", {"steps": 0}, 400, "invalid_params"),
        ("/together/v1", {"image_loras": [{"path": "x"}]}, 400, "invalid_params"),
        ("/together/v1", {"prompt": None}, 400, "invalid_params"),
        ("/together/v1", {"model": "nobody/nothing"}, 400, "model_not_available"),
        ("/openai-api/v1", {"response_format": "b64_json"}, 400, "unknown_parameter"),
        ("/openai-api/v1", {"seed": 3}, 400, "unknown_parameter"),
        ("/openai-api/v1", {"size": "640x640"}, 400, None),
        ("/openai-api/v1", {"size": 5}, 400, None),
        ("/openai-api/v1", {"model": "gpt-4o"}, 404, "model_not_found"),
        ("/openai-api/v1", {"n": 11}, 400, None),
        ("/openai-api/v1", {"background": "transparent", "output_format": "jpeg"}, 400, None),
        ("/compatible/v1", {"n": "two"}, 422, None),
        ("/v1", {"size": "99999x1"}, 400, "invalid_params"),
    ],
)
def test_requests_that_the_provider_refuses_are_refused_and_free(
    prefix: str, fields: dict[str, Any], status: int, code: str | None, local_server: RunningServer
) -> None:
    reply = generate(local_server, prefix, **fields)
    assert reply.status_code == status, reply.text
    if prefix != "/compatible/v1":
        assert reply.json()["error"]["code"] == code
    bill = local_server.bill()
    assert (bill["requests"], bill["billed"]) == (1, 0)


def test_xai_refuses_sizes_and_groq_has_no_image_endpoint(local_server: RunningServer) -> None:
    reply = generate(local_server, "/xai/v1", size="1024x1024")
    assert (reply.status_code, reply.json()["error"]) == (400, "Argument not supported: size")
    assert generate(local_server, "/groq/openai/v1").status_code == 404


@pytest.mark.parametrize(
    ("prefix", "code"), [("/together/v1", "content_policy_violation"), ("/openai-api/v1", "moderation_blocked")]
)
def test_moderated_requests_are_refused_and_free(prefix: str, code: str, local_server: RunningServer) -> None:
    local_server.faults({"fault": {"kind": "moderated"}, "times": 1})
    reply = generate(local_server, prefix)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, code)
    assert generate(local_server, prefix).status_code == 200
    assert [call["billed"] for call in local_server.bill()["calls"]] == [False, True]


def test_an_image_whose_reply_is_lost_is_billed(local_server: RunningServer) -> None:
    local_server.faults({"match": {"path": "*/images/*"}, "fault": {"kind": "close"}, "times": 1})
    with pytest.raises(httpx.HTTPError):
        generate(local_server, "/together/v1", seed=4)
    assert generate(local_server, "/together/v1", seed=4).status_code == 200
    bill = local_server.bill()
    assert (bill["billed"], bill["billed_again"], bill["calls"][0]["status"]) == (2, 1, 0)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null", b'{"prompt": 3}'])
def test_an_invalid_body_is_refused(body: bytes, local_server: RunningServer) -> None:
    for path in ("/v1/images/generations", "/v2/videos", "/openai-api/v1/videos", "/xai/v1/videos/generations"):
        assert loopback.post(f"{local_server.origin}{path}", content=body, headers=JSON_TYPE).status_code == 400
    assert local_server.bill()["billed"] == 0
