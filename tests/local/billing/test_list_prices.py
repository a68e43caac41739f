"""Without ``--price`` the bill has the providers' list prices; what nobody knows is no cost, and never nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.helpers.local_server import RunningServer
from tests.helpers.transcription_requests import post_transcription, tone_wav

HELLO = [{"role": "user", "content": "Hello"}]
HAILUO = {"model": "minimax/hailuo-02", "prompt": "a cat", "seconds": 6}
GROK = {"model": "grok-imagine-video-1.5", "prompt": "a cat", "duration": 3, "resolution": "720p"}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"job_seconds": "0..0", "model": ["nobody/knows-it"]}


@pytest.mark.parametrize(
    ("path", "fields", "usd"),
    [
        ("together/v1/videos", HAILUO, "0.49"),
        ("xai/v1/videos/generations", GROK, "0.42"),
        ("xai/v1/videos/generations", {**GROK, "image": {"url": "https://example.com/a.png"}}, "0.43"),
        ("xai/v1/images/generations", {"model": "grok-imagine-image", "prompt": "a", "n": 2}, "0.04"),
        ("together/v1/audio/speech", {"model": "hexgrad/Kokoro-82M", "input": "12345", "voice": "a"}, "0.00005"),
        ("cohere/v2/rerank", {"model": "rerank-v3.5", "query": "a", "documents": ["a"]}, "0.002"),
        ("together/tci/execute", {"language": "python", "code": "print(1)"}, "0.03"),
    ],
)
def test_a_request_is_billed_at_list_price(
    path: str, fields: dict[str, Any], usd: str, local_server: RunningServer
) -> None:
    assert httpx.post(f"{local_server.origin}/{path}", json=fields).status_code == 200
    (call,) = local_server.bill()["calls"]
    assert (call["billed"], call["usd"]) == (True, usd)
    assert call["price_source"].count(", ") >= 2  # the price, where it was read, and when


def test_audio_is_billed_by_the_minute_or_the_hour_as_it_is_listed(local_server: RunningServer) -> None:
    for dialect in ("together", "groq"):
        assert post_transcription(local_server.origin, dialect, audio=tone_wav(20.0)).status_code == 200
    together, groq = (Decimal(call["usd"]) for call in local_server.bill()["calls"])
    assert together == Decimal("0.0015") / 3
    assert abs(groq - Decimal("0.111") / 180) < Decimal("1e-12")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("together/v1/chat/completions", {"model": "nobody/knows-it", "messages": HELLO}),
        ("xai/v1/chat/completions", {"model": "grok-beta", "messages": HELLO}),
        ("together/v1/videos", {"model": "openai/sora-2", "prompt": "a cat"}),
        ("together/v1/images/generations", {"model": "black-forest-labs/FLUX.1-schnell", "prompt": "a", "steps": 8}),
    ],
)
def test_a_cost_that_nobody_knows_is_left_out(path: str, fields: dict[str, Any], local_server: RunningServer) -> None:
    reply = httpx.post(f"{local_server.origin}/{path}", json=fields).json()
    bill = local_server.bill()
    assert "cost" not in str(reply)
    assert (bill["billed"], bill["unpriced"], bill["usd"]) == (1, 1, "0")
    assert bill["calls"][0]["usd"] is None


def test_a_job_tells_its_list_price(local_server: RunningServer) -> None:
    origin = f"{local_server.origin}/together/v1/videos"
    job = httpx.post(origin, json=HAILUO).json()
    assert httpx.get(f"{origin}/{job['id']}").json()["outputs"]["cost"] == 0.49


def test_a_server_of_ones_own_is_free(local_server: RunningServer) -> None:
    fields = {"model": "any", "messages": HELLO}
    assert httpx.post(f"{local_server.origin}/compatible/v1/chat/completions", json=fields).status_code == 200
    bill = local_server.bill()
    assert (bill["unpriced"], bill["calls"][0]["usd"], bill["calls"][0]["price_source"]) == (0, "0", None)
