"""What the client's tests share: a client, a sentinel key, and how a failure is judged."""

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


async def send(client: Client, origin: str, request: Request = POST, *, deadline: float = 5.0, **more: int) -> Reply:
    return await client.send(origin, request, key=KEY, timeout_seconds=deadline, **more)


async def assert_fails(
    client: Client, origin: str, *, deadline: float = 5.0, request: Request = POST, **more: int
) -> str:
    """The class and kind of the failure; it came in time and tells no key."""
    began = time.monotonic()
    with pytest.raises(TransportError) as caught:
        await send(client, origin, request, deadline=deadline, **more)
    assert time.monotonic() - began < deadline + 3
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert KEY not in text
    assert "\n" not in caught.value.message
    return f"{type(caught.value).__name__} {caught.value.kind}"
