"""Servers that misbehave: every exchange ends in bounded time, in the right class, and tells no key."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import subprocess
import tracemalloc
import zlib
from pathlib import Path

import pytest

from mediamill.tasks.calls.client import Client
from mediamill.tasks.calls.transport_errors import ReplyLost
from mediamill.tasks.domain import Payload
from mediamill.tasks.wire import Request
from tests.calls.client_calls import KEY, MB, assert_fails, send
from tests.calls.raw_server import Behaviour, always_reply, reset_connection, running_raw_server


async def drip(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def drip_head(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silence(request: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def reset_at_once(request: bytes, writer: asyncio.StreamWriter) -> None:
    reset_connection(writer)


async def close_at_once(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset_in_body(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nxxxx")
    await writer.drain()
    await asyncio.sleep(0.05)
    reset_connection(writer)


async def short_chunked(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    await writer.drain()
    writer.close()


async def short_body(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nxxxx")
    await writer.drain()
    writer.close()


async def endless_headers(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Filler: " + b"y" * 1000 + b"\r\n")
        await writer.drain()


async def endless_line(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Filler: ")
    while True:
        writer.write(b"y" * 10_000)
        await writer.drain()


async def nonsense(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")


async def endless_body(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"100000\r\n" + b"x" * MB + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    ("behave", "deadline", "expected"),
    [
        (drip, 0.5, "ReplyLost deadline"),
        (drip_head, 0.5, "ReplyLost deadline"),
        (silence, 0.5, "ReplyLost deadline"),
        (reset_at_once, 5, "ReplyLost reset"),
        (close_at_once, 5, "ReplyLost reset"),
        (reset_in_body, 5, "ReplyLost reset"),
        (short_body, 5, "ReplyLost short_body"),
        (short_chunked, 5, "ReplyLost short_body"),
        (always_reply(b"xx", length=1 << 30), 5, "ReplyLost too_large"),
        (always_reply(b"xx", length=-5), 5, "ReplyLost protocol"),
        (endless_headers, 5, "ReplyLost protocol"),
        (endless_line, 5, "ReplyLost protocol"),
        (nonsense, 5, "ReplyLost protocol"),
        (endless_body, 5, "ReplyLost too_large"),
        (always_reply(b"not gzip", headers=("Content-Encoding: gzip",)), 5, "ReplyLost protocol"),
        (
            always_reply(gzip.compress(b"x" * 9999)[:-12], headers=("Content-Encoding: gzip",)),
            5,
            "ReplyLost short_body",
        ),
    ],
)
async def test_each_misbehaviour_of_a_server_has_its_error(
    client: Client, behave: Behaviour, deadline: float, expected: str
) -> None:
    async with running_raw_server(behave) as server:
        assert await assert_fails(client, server.origin, timeout_seconds=deadline, max_bytes=4 * MB) == expected


async def test_a_server_that_answers_before_it_has_read_the_upload(client: Client) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 100\r\n\r\nno")
        await asyncio.sleep(30)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    payload = Payload("a.wav", "audio/wav", 30 * MB, data=bytes(30 * MB))
    kind = await assert_fails(
        client, origin, timeout_seconds=1.0, request=Request("POST", "/", files=[("file", payload)])
    )
    assert kind == "ReplyLost deadline"
    server.close()


async def test_more_bytes_than_announced_do_not_reach_the_next_request(client: Client) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
    async with running_raw_server(always_reply(b"good" + smuggled, length=4)) as server:
        for _ in range(3):
            try:
                reply = await send(client, server.origin)
            except ReplyLost:
                continue
            assert reply.body == b"good"


@pytest.mark.long
async def test_a_gzip_bomb_is_stopped_at_the_maximum_size(client: Client) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([*(packer.compress(bytes(MB)) for _ in range(300)), packer.flush()])
    assert len(bomb) < MB
    async with running_raw_server(always_reply(bomb, headers=("Content-Encoding: gzip",))) as server:
        tracemalloc.start()
        try:
            assert await assert_fails(client, server.origin, max_bytes=4 * MB) == "ReplyLost too_large"
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 32 * MB


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_a_closed_port_is_not_sent(client: Client) -> None:
    assert await assert_fails(client, f"http://127.0.0.1:{closed_port()}") == "NotSent refused"


async def test_an_unknown_host_is_not_sent(client: Client) -> None:
    assert await assert_fails(client, "http://no-such-host.invalid") == "NotSent dns"


async def test_tls_to_a_port_without_tls_is_not_sent(client: Client) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    assert await assert_fails(client, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") == "NotSent tls"
    server.close()


async def test_an_untrusted_certificate_is_not_sent(client: Client, tmp_path: Path) -> None:
    pem = tmp_path / "self.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    try:
        subprocess.run([*command, "-keyout", str(pem), "-out", str(tmp_path / "crt")], check=True, capture_output=True)  # noqa: ASYNC221
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl is not installed")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", pem)
    async with running_raw_server(always_reply(), context) as server:
        assert await assert_fails(client, f"https://127.0.0.1:{server.port}") == "NotSent tls"
        assert server.requests == []


async def test_a_connection_timeout_is_not_sent() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):  # fill the backlog, so that the next SYN is left unanswered
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        client = Client(connect_timeout=0.3)
        kind = await assert_fails(client, f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_seconds=3)
        await client.aclose()
        for filler in fillers:
            filler.close()
    assert kind == "NotSent connect_timeout"


async def test_a_closed_idle_connection_is_reply_lost(client: Client) -> None:
    async def once(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()

    async def then_slam(request: bytes, writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 1:
            await once(request, writer)
        else:
            reset_connection(writer)

    async with running_raw_server(then_slam) as server:
        await send(client, server.origin)
        assert await assert_fails(client, server.origin) == "ReplyLost reset"
        assert len(server.requests) == 2  # and it was not silently sent again


async def test_the_key_is_not_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with running_raw_server(reset_in_body) as server:
        await assert_fails(client, server.origin)
    assert KEY not in caplog.text
