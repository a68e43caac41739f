"""What the client sends, and what it makes of replies."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import zlib
from pathlib import Path

import pytest

from mediamill.tasks.calls.client import Client
from mediamill.tasks.calls.transport_errors import NotSent, ReplyLost
from mediamill.tasks.domain import Payload
from mediamill.tasks.errors import BadInput, UsageError
from mediamill.tasks.wire import Request
from tests.calls.client_calls import KEY, MB, POST, send
from tests.calls.raw_server import always_reply, running_raw_server


async def test_requests_and_replies_carry_the_right_headers_and_bodies(client: Client) -> None:
    async with running_raw_server(
        always_reply(b'{"text":"hi"}', headers=("X-Request-ID: r1", "Set-Cookie: a=1", "X-A: 1", "X-A: 2"))
    ) as server:
        request = Request(
            "POST",
            "/v1/audio?x=1",
            {"X-Extra": "y", "Authorization": "Bearer other", "Host": "evil"},
            json={"ü": [1, None]},
        )
        for _ in range(2):
            reply = await send(client, server.origin, request)
    assert (reply.status, reply.body) == (200, b'{"text":"hi"}')
    assert reply.headers["x-request-id"] == "r1"
    assert reply.headers["x-a"] == "1, 2"
    head, _, body = server.requests[1].partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /v1/audio?x=1 http/1.1"
    assert f"authorization: bearer {KEY}" in lines
    assert "accept-encoding: identity" in lines
    assert "x-extra: y" in lines
    assert f"host: 127.0.0.1:{server.port}" in lines
    assert any(line.startswith("user-agent: mediamill/") for line in lines)
    assert not any(line.startswith(("cookie", "transfer-encoding")) for line in lines)
    assert json.loads(body) == {"ü": [1, None]}
    assert server.connections == 1


async def test_without_a_key_no_authorization_header_is_sent(client: Client) -> None:
    async with running_raw_server(always_reply()) as server:
        await client.send(server.origin, Request("GET", "/v1/models"), key=None, timeout_seconds=5)
    assert b"authorization" not in server.requests[0].lower()
    assert b"content-type" not in server.requests[0].lower()


@pytest.mark.parametrize("key", ["sk-a\r\nX-Evil: 1", "", "sk ä", "a\x00b"])
async def test_a_key_that_no_header_can_carry_is_a_usage_error_and_not_shown(client: Client, key: str) -> None:
    async with running_raw_server(always_reply()) as server:
        with pytest.raises(UsageError) as caught:
            await client.send(server.origin, POST, key=key, timeout_seconds=5)
    assert server.requests == []
    assert not key or key not in str(caught.value)


async def test_an_error_status_is_returned_as_a_reply(client: Client) -> None:
    async with running_raw_server(always_reply(b"slow down", "429 Too Many", ("Retry-After: 3",))) as server:
        reply = await send(client, server.origin)
    assert (reply.status, reply.headers["retry-after"], reply.body) == (429, "3", b"slow down")


async def test_a_large_upload_is_streamed_with_its_length(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    path.write_bytes(os.urandom(5 * MB))
    payload = Payload("long.flac", "audio/flac", 5 * MB, path=path)
    async with running_raw_server(always_reply()) as server:
        await send(client, server.origin, Request("POST", "/", fields=[("model", "m")], files=[("file", payload)]))
    assert path.read_bytes() in server.requests[0]
    assert b"content-length: 52" in server.requests[0][:600].lower()


async def test_redirects_are_not_followed(client: Client) -> None:
    async with running_raw_server(always_reply()) as other:
        async with running_raw_server(
            always_reply(b"", "307 Temporary", (f"Location: {other.origin}/steal",))
        ) as server:
            reply = await send(client, server.origin)
        assert reply.status == 307
        assert other.connections == 0


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "x-gzip"])
async def test_compressed_replies_are_decoded(client: Client, encoding: str) -> None:
    text = b'{"text":"' + b"x" * 200_000 + b'"}'
    packed = zlib.compress(text) if encoding == "deflate" else gzip.compress(text)
    async with running_raw_server(always_reply(packed, headers=(f"Content-Encoding: {encoding}",))) as server:
        assert (await send(client, server.origin)).body == text


async def test_a_reply_in_an_unknown_encoding_is_kept_undecoded(client: Client) -> None:
    async with running_raw_server(always_reply(b"\x00br", headers=("Content-Encoding: br",))) as server:
        assert (await send(client, server.origin)).body == b"\x00br"


async def test_cancelling_a_send_leaves_the_client_usable(client: Client) -> None:
    arrived = asyncio.Event()

    async def hold(request: bytes, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await asyncio.sleep(60)

    async with running_raw_server(hold) as server:
        task = asyncio.ensure_future(send(client, server.origin, timeout_seconds=30))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with running_raw_server(always_reply()) as server:
        assert (await send(client, server.origin)).status == 200


async def test_the_environments_proxy_is_used_except_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        running_raw_server(always_reply(b"via proxy")) as proxy,
        running_raw_server(always_reply(b"direct")) as server,
    ):
        monkeypatch.setenv("http_proxy", proxy.origin)
        client = Client()
        assert (await send(client, "http://media.invalid")).body == b"via proxy"
        assert (await send(client, server.origin)).body == b"direct"
        await client.aclose()
    assert proxy.requests[0].startswith(b"POST http://media.invalid/v1/x HTTP/1.1")


async def test_not_sent_and_reply_lost_are_different_errors() -> None:
    assert not issubclass(NotSent, ReplyLost)
    assert not issubclass(ReplyLost, BadInput)


async def test_progress_is_reported_from_the_connection_to_the_last_byte(client: Client) -> None:
    reports: list[str] = []
    async with running_raw_server(always_reply(b"x" * 100_000)) as server:
        for _ in range(2):  # the second request goes over the connection of the first
            await client.send(server.origin, POST, key=KEY, timeout_seconds=5, report=reports.append)
            assert reports[0] == "connected"
            assert len(reports) > 2
            assert set(reports[1:]) == {"received"}
            reports.clear()
    assert server.connections == 1


async def test_parts_of_a_large_upload_are_progress(client: Client, tmp_path: Path) -> None:
    path, reports = tmp_path / "long.flac", list[str]()
    path.write_bytes(bytes(3 * MB))
    files = [("file", Payload("long.flac", "audio/flac", 3 * MB, path=path))]
    async with running_raw_server(always_reply()) as server:
        request = Request("POST", "/", files=files)
        await client.send(server.origin, request, key=KEY, timeout_seconds=5, report=reports.append)
    assert reports[0] == "connected"
    assert reports.count("sent") >= 3
    assert reports[-1] == "received"


async def test_without_a_connection_there_is_no_progress(client: Client) -> None:
    async with running_raw_server(always_reply()) as server:
        origin = server.origin
    reports: list[str] = []
    with pytest.raises(NotSent):
        await client.send(origin, POST, key=KEY, timeout_seconds=5, report=reports.append)
    assert reports == []
