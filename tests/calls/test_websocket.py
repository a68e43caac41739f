"""Websocket sessions with servers that break the rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mediamill.tasks.calls.client import Client
from mediamill.tasks.domain import Payload
from mediamill.tasks.errors import BadInput
from mediamill.tasks.websocket_session import SOCKET_HEADER, MessageFlags, UnreadableMessage
from mediamill.tasks.wire import Reply, Request
from tests.calls.client_calls import KEY, assert_fails, send

ServerBehaviour = Callable[[web.WebSocketResponse], Awaitable[None]]


class ScriptedSession:
    """Sends ``hello``, its audio and ``bye``; knows the messages ``ready``, ``keep`` and ``over``."""

    def __init__(
        self, audio: Payload | None = None, *, waits_for_ready: bool = True, max_silence: float | None = None
    ) -> None:
        self.audio, self.waits_for_ready, self.chunk_bytes = audio, waits_for_ready, 1000
        self._max_silence = max_silence
        self.is_crowded = False

    def opening_messages(self) -> Sequence[str]:
        return ["hello"]

    def encode_chunk(self, audio: bytes) -> str | bytes:
        return audio

    def closing_messages(self) -> Sequence[str]:
        return ["bye"]

    def receive(self, message: str) -> MessageFlags:
        if message == "garbage":
            raise UnreadableMessage("a message that is not JSON")
        return {"ready": MessageFlags.READY, "over": MessageFlags.OVER | MessageFlags.KEEP}.get(
            message, MessageFlags.KEEP
        )

    def read_binary(self, message: bytes) -> str | None:
        return "over" if message == b"over" else None

    def can_send(self) -> bool:
        return not self.is_crowded

    def max_silence_seconds(self) -> float | None:
        return self._max_silence

    def is_complete(self) -> bool:
        return False


def session_request(session: ScriptedSession | None = None) -> Request:
    return Request(
        "GET",
        "/v1/socket?model=m",
        {"X-Extra": "y", "Authorization": "Bearer other"},
        session=session or ScriptedSession(),
    )


@asynccontextmanager
async def running_websocket_server(
    behave: ServerBehaviour, requests: list[web.Request] | None = None
) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.WebSocketResponse:
        if requests is not None:
            requests.append(request)
        socket = web.WebSocketResponse(max_msg_size=1 << 20)
        socket.headers["x-request-id"] = "r1"
        await socket.prepare(request)
        await behave(socket)
        return socket

    app = web.Application()
    app.router.add_get("/v1/socket", handle)
    server = TestServer(app)
    await server.start_server()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.close()


async def test_a_session_is_sent_in_order_and_its_messages_are_the_reply(client: Client, tmp_path: Path) -> None:
    received: list[str | bytes] = []
    requests: list[web.Request] = []

    async def behave(socket: web.WebSocketResponse) -> None:
        await asyncio.sleep(0.05)
        assert not received
        await socket.send_str("ready")
        while (message := await socket.receive()).data != "bye":
            received.append(message.data)
        await socket.send_str("a\nb")
        await socket.send_str("over")

    path = tmp_path / "sound.pcm"
    path.write_bytes(bytes(range(250)) * 10)
    async with running_websocket_server(behave, requests) as origin:
        reply = await send(client, origin, session_request(ScriptedSession(Payload("s", "audio/pcm", 2500, path=path))))
    assert (reply.status, reply.body) == (101, b"a b\nover\n")
    assert (reply.headers[SOCKET_HEADER], reply.headers["x-request-id"]) == ("over", "r1")
    assert received[0] == "hello"
    assert b"".join(m for m in received[1:] if isinstance(m, bytes)) == path.read_bytes()
    assert [len(m) for m in received[1:]] == [1000, 1000, 500]
    headers = requests[0].headers
    assert headers.getall("Authorization") == [f"Bearer {KEY}"]
    assert headers["X-Extra"] == "y"
    assert headers["User-Agent"].startswith("mediamill/")
    assert KEY not in str(requests[0].url)
    assert "Sec-WebSocket-Extensions" not in headers


async def test_a_redirected_handshake_is_not_followed(client: Client) -> None:
    reached: list[web.Request] = []

    async def behave(socket: web.WebSocketResponse) -> None:
        await socket.close()

    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"{other_origin}/v1/socket"})

    app = web.Application()
    app.router.add_get("/v1/socket", redirect)
    async with running_websocket_server(behave, reached) as other_origin, TestServer(app) as server:
        reply = await send(client, f"http://127.0.0.1:{server.port}", session_request())
    assert (reply.status, reply.headers[SOCKET_HEADER]) == (302, "refused")
    assert not reached


@pytest.mark.parametrize("status", [200, 401, 404, 429, 503])
async def test_a_refused_handshake_is_a_reply_with_its_body(client: Client, status: int) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "no"}}, status=status, headers={"Retry-After": "7"})

    app = web.Application()
    app.router.add_get("/v1/socket", refuse)
    async with TestServer(app) as server:
        reply = await send(client, f"http://127.0.0.1:{server.port}", session_request())
    assert (reply.status, reply.headers[SOCKET_HEADER], reply.headers["retry-after"]) == (status, "refused", "7")
    assert json.loads(reply.body)["error"]["message"] == "no"


def after_last_message(*messages: str | bytes, end: str = "") -> ServerBehaviour:
    """Send ``ready``, wait for the client's last message, send those messages, then end."""

    async def behave(socket: web.WebSocketResponse) -> None:
        await socket.send_str("ready")
        while (await socket.receive()).data != "bye":
            pass
        for message in messages:
            await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
        if end == "drop":
            assert socket._req is not None
            assert socket._req.transport is not None
            socket._req.transport.close()
        elif end:
            await socket.close(code=int(end), message=b"no worker\x07 here")
        else:
            await asyncio.sleep(30)

    return behave


@pytest.mark.parametrize(
    ("behave", "failure"),
    [
        (after_last_message("keep", end="drop"), "ReplyLost reset"),
        (after_last_message("garbage"), "ReplyLost protocol"),
        (after_last_message(b"\0\1"), "ReplyLost protocol"),
        (after_last_message("x" * (8 * 2**20 + 1)), "ReplyLost too_large"),
        (after_last_message("keep"), "ReplyLost deadline"),
    ],
)
async def test_errors_after_the_first_message_may_be_billed(
    client: Client, behave: ServerBehaviour, failure: str
) -> None:
    async with running_websocket_server(behave) as origin:
        assert await assert_fails(client, origin, timeout_seconds=1.0, request=session_request()) == failure


async def test_all_messages_together_are_bounded(client: Client) -> None:
    async with running_websocket_server(after_last_message(*["x" * 1000] * 50)) as origin:
        assert await assert_fails(client, origin, request=session_request(), max_bytes=20_000) == "ReplyLost too_large"


async def test_errors_before_the_first_message_are_not_sent(client: Client) -> None:
    async def dropped(socket: web.WebSocketResponse) -> None:
        assert socket._req is not None
        assert socket._req.transport is not None
        socket._req.transport.abort()

    async def silent(socket: web.WebSocketResponse) -> None:
        await asyncio.sleep(30)

    async with running_websocket_server(dropped) as origin:
        assert await assert_fails(client, origin, request=session_request()) == "NotSent handshake"
    async with running_websocket_server(silent) as origin:
        assert (
            await assert_fails(client, origin, timeout_seconds=0.5, request=session_request())
            == "NotSent connect_timeout"
        )
    assert await assert_fails(client, "http://127.0.0.1:1", request=session_request()) == "NotSent refused"
    assert await assert_fails(client, "http://nowhere.invalid", request=session_request()) == "NotSent dns"


async def test_a_server_without_http_is_sent_nothing(client: Client) -> None:
    async def nonsense(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    async with server:
        origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert (await assert_fails(client, origin, request=session_request())).startswith("NotSent")


@pytest.mark.parametrize("code", ["1000", "1011", "4503"])
async def test_an_early_close_is_a_reply_with_its_code(client: Client, code: str) -> None:
    async with running_websocket_server(after_last_message("keep", end=code)) as origin:
        reply = await send(client, origin, session_request())
    assert reply.headers[SOCKET_HEADER].startswith(f"closed {code} no worker")
    assert reply.body == b"keep\n"
    assert "\n" not in reply.headers[SOCKET_HEADER]


async def test_a_close_before_the_first_message_is_marked_unsent(client: Client) -> None:
    async def closed(socket: web.WebSocketResponse) -> None:
        await socket.close(code=1013)

    async with running_websocket_server(closed) as origin:
        assert (await send(client, origin, session_request())).headers[SOCKET_HEADER] == "unsent 1013"


async def test_a_session_without_a_ready_message_times_out(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediamill.tasks.calls.websocket.READY_SECONDS", 0.2)

    async def silent(socket: web.WebSocketResponse) -> None:
        await asyncio.sleep(30)

    async with running_websocket_server(silent) as origin:
        assert await assert_fails(client, origin, request=session_request()) == "NotSent handshake"


async def test_silence_ends_a_session_that_says_so(client: Client) -> None:
    async with running_websocket_server(after_last_message("keep")) as origin:
        reply = await send(client, origin, session_request(ScriptedSession(max_silence=0.2)))
    assert (reply.body, reply.headers[SOCKET_HEADER]) == (b"keep\n", "over")


async def test_a_missing_audio_file_is_bad_input(client: Client, tmp_path: Path) -> None:
    audio = Payload("gone.pcm", "audio/pcm", 10, path=tmp_path / "gone.pcm")
    async with running_websocket_server(after_last_message("over")) as origin:
        with pytest.raises(BadInput, match="cannot be read any more"):
            await send(client, origin, session_request(ScriptedSession(audio)))


async def test_a_silent_server_still_gets_all_audio(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediamill.tasks.calls.websocket._MAX_SILENCE_SECONDS", 0.01)
    session = ScriptedSession(Payload("s", "audio/pcm", 3000, data=bytes(3000)))
    session.is_crowded = True
    async with running_websocket_server(after_last_message("over")) as origin:
        reply: Reply = await send(client, origin, session_request(session))
    assert reply.headers[SOCKET_HEADER] == "over"


@pytest.mark.long
async def test_a_server_that_is_too_busy_for_pings_is_waited_for_where_its_process_is_watched(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediamill.tasks.calls.websocket.PING_SECONDS", 0.2)

    async def busy(socket: web.WebSocketResponse) -> None:
        await socket.send_str("ready")
        await asyncio.sleep(2.0)  # it reads nothing, so no ping is answered
        await socket.send_str("over")
        await socket.close()

    async with running_websocket_server(busy) as origin:
        assert await assert_fails(client, origin, request=session_request()) == "ReplyLost reset"
        watched = await client.send(origin, session_request(), key=KEY, timeout_seconds=30.0, sends_pings=False)
    assert watched.headers[SOCKET_HEADER] == "over"


async def test_the_websocket_is_closed_after_the_session(client: Client) -> None:
    closed = asyncio.Event()

    async def behave(socket: web.WebSocketResponse) -> None:
        await socket.send_str("over")
        message = await socket.receive()
        while message.type is aiohttp.WSMsgType.TEXT:
            message = await socket.receive()
        closed.set()

    async with running_websocket_server(behave) as origin:
        await send(client, origin, session_request(ScriptedSession(waits_for_ready=False)))
        assert await asyncio.wait_for(closed.wait(), 5)


async def test_a_key_in_a_message_or_in_the_reason_of_a_close_is_masked(client: Client) -> None:
    async def behave(socket: web.WebSocketResponse) -> None:
        await socket.send_str("ready")
        assert (await socket.receive()).data == "hello"
        await socket.send_str(json.dumps({"text": f"you are {KEY}"}))
        await socket.close(code=4001, message=f"bad key {KEY}".encode())

    async with running_websocket_server(behave) as origin:
        reply = await send(client, origin, session_request())
    assert json.loads(reply.body.splitlines()[-1]) == {"text": "you are ***"}
    assert reply.headers[SOCKET_HEADER] == "closed 4001 bad key ***"


async def test_a_key_in_an_unreadable_message_is_masked(client: Client) -> None:
    class Session(ScriptedSession):
        def receive(self, message: str) -> MessageFlags:
            raise UnreadableMessage(message)

    async def behave(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_str(f"no protocol has {KEY}")

    async with running_websocket_server(behave) as origin:
        assert await assert_fails(client, origin, request=session_request(Session(waits_for_ready=False))) == (
            "ReplyLost protocol"
        )
