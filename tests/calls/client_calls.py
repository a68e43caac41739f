"""What the client's tests share: a sentinel key, and how a request is sent and its failure checked."""

from __future__ import annotations

import time
import traceback

import pytest

from mediamill.tasks.calls.client import Client
from mediamill.tasks.calls.transport_errors import TransportError
from mediamill.tasks.wire import Reply, Request

KEY = "sk-sentinel-5d41402abc4b2a76"
POST = Request("POST", "/v1/x", json={"a": 1})
MB = 1 << 20


async def send(
    client: Client, origin: str, request: Request = POST, *, timeout_seconds: float = 5.0, max_bytes: int = 64 * MB
) -> Reply:
    return await client.send(origin, request, key=KEY, timeout_seconds=timeout_seconds, max_bytes=max_bytes)


async def assert_fails(
    client: Client, origin: str, *, timeout_seconds: float = 5.0, request: Request = POST, max_bytes: int = 64 * MB
) -> str:
    """Class and kind of the failure; it must come in time and must not contain the key."""
    began_at = time.monotonic()
    with pytest.raises(TransportError) as caught:
        await send(client, origin, request, timeout_seconds=timeout_seconds, max_bytes=max_bytes)
    assert time.monotonic() - began_at < timeout_seconds + 3
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert KEY not in text
    assert "\n" not in caught.value.message
    return f"{type(caught.value).__name__} {caught.value.kind}"
