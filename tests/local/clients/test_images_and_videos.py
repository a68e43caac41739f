"""The providers' SDKs generate images and videos with the built-in server."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import openai
import pytest
import together
from PIL import Image

from tests.helpers import loopback
from tests.helpers.local_server import RunningServer
from tests.helpers.media_requests import FLUX, PIXVERSE, decode_image, decode_video
from tests.local.clients.sdk_clients import make_openai_client, make_together_client

pytestmark = pytest.mark.long

GPT, SORA, GROK = "gpt-image-1-mini", "sora-2", "grok-imagine-image"


@pytest.fixture(scope="module")
def server_options(server_options: dict[str, Any]) -> dict[str, Any]:
    prices = [f"{FLUX}=0.003", f"{PIXVERSE}=0.15", f"{SORA}=0.4", f"{GPT}=2/8"]
    return {**server_options, "price": prices, "job_seconds": "0"}


def test_together_generates_images(local_server: RunningServer) -> None:
    client = make_together_client(local_server)
    reply = client.images.generate(model=FLUX, prompt="a fox", width=256, height=256, n=2, response_format="base64")
    assert [one.index for one in reply.data] == [0, 1]
    for one in reply.data:
        assert one.type == "b64_json"
        assert decode_image(base64.b64decode(one.b64_json)).size == (256, 256)
    (linked,) = client.images.generate(model=FLUX, prompt="a fox", width=256, height=256).data
    assert linked.type == "url"
    assert decode_image(loopback.get(linked.url, follow_redirects=True).content).format == "JPEG"
    with pytest.raises(together.BadRequestError, match="multiples of 8"):
        client.images.generate(model=FLUX, prompt="a fox", width=257)
    assert local_server.bill()["usd"] == "0.009"


def test_together_generates_a_video(local_server: RunningServer) -> None:
    client = make_together_client(local_server)
    created = client.videos.create(model=PIXVERSE, prompt="a fox", width=360, height=360, seconds="5")
    job = client.videos.retrieve(created.id)
    assert (job.status, job.size, job.seconds) == ("completed", "360x360", "5")
    assert job.outputs is not None
    assert job.outputs.cost == 0.15
    data = loopback.get(job.outputs.video_url, follow_redirects=True).content
    assert decode_video(data).frames == 120
    local_server.faults({"fault": {"kind": "job_fail"}})
    failed = client.videos.retrieve(client.videos.create(model=PIXVERSE, prompt="a fox").id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.message == "Video generation failed."
    with pytest.raises(together.NotFoundError):
        client.videos.retrieve("nothing")
    assert local_server.bill()["usd"] == "0.15"


def test_openai_generates_images(local_server: RunningServer) -> None:
    reply = make_openai_client(local_server).images.generate(
        model=GPT, prompt="a fox", quality="low", output_format="webp"
    )
    assert reply.data is not None
    assert reply.usage is not None
    assert decode_image(base64.b64decode(reply.data[0].b64_json or "")).format == "WEBP"
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (2, 272)
    local_server.faults({"fault": {"kind": "moderated"}})
    with pytest.raises(openai.BadRequestError) as blocked:
        make_openai_client(local_server).images.generate(model=GPT, prompt="a fox")
    assert blocked.value.code == "moderation_blocked"


def test_openai_generates_a_video_from_an_image(local_server: RunningServer, tmp_path: Path) -> None:
    client = make_openai_client(local_server)
    first = tmp_path / "first.png"
    Image.new("RGB", (1280, 720)).save(first)
    fields = {"model": SORA, "prompt": "a fox", "seconds": "4", "size": "1280x720"}
    created = client.videos.create(**fields, input_reference=first)  # type: ignore[arg-type,unused-ignore]
    assert created.status == "queued"
    job = client.videos.retrieve(created.id)
    assert (job.status, job.progress) == ("completed", 100)
    video = decode_video(client.videos.download_content(created.id).content)
    assert (video.width, video.height, video.frames) == (1280, 720, 96)
    polled = client.videos.create_and_poll(**fields)  # type: ignore[arg-type,unused-ignore]
    assert polled.status == "completed"
    bill = local_server.bill()
    assert (bill["usd"], bill["sent_again"], bill["key_leaked"]) == ("0.8", 0, 0)


def test_xai_generates_an_image_through_the_openai_sdk(local_server: RunningServer) -> None:
    (one,) = (
        make_openai_client(local_server, "/xai/v1")
        .images.generate(model=GROK, prompt="a fox", response_format="b64_json")
        .data
        or []
    )
    image = Image.open(io.BytesIO(base64.b64decode(one.b64_json or "")))
    assert image.size == (1024, 1024)
