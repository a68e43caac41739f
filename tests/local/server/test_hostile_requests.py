"""No single request holds the server: under any of them it answers others within a second."""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest

from mediamill.tasks.local.server.bounded_workers import MAX_CPU_SECONDS
from tests.helpers import loopback
from tests.helpers.local_server import RunningServer, running_server

CHAT = "/v1/chat/completions"
PROMPT = [{"role": "user", "content": "a" * 40 + "!"}]
MAX_HEALTH_SECONDS = 1.0
END_SECONDS = 60


@pytest.fixture(scope="module")
def extracting_server() -> Iterator[RunningServer]:
    """A server whose chat answers are sentences of the prompt, and whose other engines simulate."""
    with running_server(engine="extract") as server:
        yield server


def request_bytes(path: str, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """A whole POST request."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Type: {kind}", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def chat(**fields: Any) -> bytes:
    """A chat request."""
    return request_bytes(CHAT, orjson.dumps({"model": "m", "messages": PROMPT, **fields}))


def answer_with(schema: dict[str, Any]) -> bytes:
    """A chat request whose answer must conform to a schema."""
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    return chat(response_format=form)


def call_tool(schema: dict[str, Any]) -> bytes:
    """A chat request that must call a function with such arguments."""
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    return chat(tools=[tool], tool_choice="required")


def send(origin: str, data: bytes) -> tuple[int, bytes]:
    """Send a request as it stands; the status and the body of the reply."""
    host, port = origin.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=END_SECONDS) as connection:
        connection.sendall(data)
        reply = b""
        while block := connection.recv(1 << 16):
            reply += block
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def send_beside_health(origin: str, data: bytes) -> tuple[int, bytes, float]:
    """Send a request, and ask for the server's health until it is answered; also the longest wait for the latter."""
    found: list[tuple[int, bytes]] = []
    hostile = threading.Thread(target=lambda: found.append(send(origin, data)), daemon=True)
    hostile.start()
    longest = 0.0
    while hostile.is_alive():
        began = time.monotonic()
        assert loopback.get(f"{origin}/health", timeout=END_SECONDS).status_code == 200
        longest = max(longest, time.monotonic() - began)
        hostile.join(0.02)
    return *found[0], longest


def double(n: int, leaf: dict[str, Any]) -> dict[str, Any]:
    """A schema whose references double ``n`` times."""
    levels = {f"l{n}": {"type": "array", "minItems": 2, "items": {"$ref": f"#/$defs/l{n + 1}"}} for n in range(n)}
    return {"$ref": "#/$defs/l0", "$defs": {**levels, f"l{n}": leaf}}


def wav_of(seconds: int) -> bytes:
    """A small WAV file whose header makes it as long as this, at one sample a second."""
    header = (
        b"RIFF" + struct.pack("<I", 36 + 2 * seconds) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 1, 2, 2, 16)
    )
    return header + b"data" + struct.pack("<I", 2 * seconds) + bytes(2 * seconds)


def upload(wav: bytes) -> bytes:
    """A transcription request."""
    form = httpx.Request("POST", "http://x", data={"model": "any"}, files={"file": ("a.wav", io.BytesIO(wav))})
    return request_bytes("/v1/audio/transcriptions", form.read(), kind=form.headers["content-type"])


HOSTILE: dict[str, Callable[[], bytes]] = {
    "pattern": lambda: chat(response_format={"type": "regex", "pattern": "(.+)+x"}),
    "pattern in a schema": lambda: answer_with({"type": "string", "pattern": "(a+)+$"}),
    "pattern of a tool": lambda: call_tool({"type": "object", "properties": {"t": {"pattern": "(a+)+$"}}}),
    "pattern that repeats": lambda: answer_with({"type": "string", "pattern": "(((x{2000}){2000}){2000})"}),
    "pattern of property names": lambda: answer_with(
        {"type": "object", "required": ["a" * 40 + "!"], "patternProperties": {"(a+)+$": {}}}
    ),
    "references that double": lambda: answer_with(double(30, {"type": "string"})),
    "references in a circle": lambda: answer_with({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}),
    "a billion items": lambda: answer_with({"type": "array", "minItems": 10**9, "items": {"type": "string"}}),
    "a million long texts": lambda: answer_with(
        {"type": "array", "minItems": 10**6, "items": {"type": "string", "minLength": 10**9}}
    ),
    "unique items": lambda: answer_with({"type": "array", "minItems": 9999, "uniqueItems": True, "items": {}}),
    "a huge enum": lambda: answer_with({"enum": [f"value {n}" for n in range(150_000)], "type": "integer"}),
    "a deep schema": lambda: answer_with(orjson.loads('{"items":' * 240 + "{}" + "}" * 240)),
    "many tools": lambda: chat(
        tools=[{"type": "function", "function": {"name": f"f{n}", "parameters": double(50, {})}} for n in range(128)]
    ),
    "stream options without an end": lambda: chat(extra=',"stream":{' * 100_000),
    "stream options": lambda: request_bytes(CHAT, b'{"a":"' + b',"stream":{' * 300_000 + b'"}'),
    "a long prompt": lambda: chat(messages=[{"role": "user", "content": "Words and words. " * 400_000}]),
    "a long answer": lambda: chat(
        messages=[{"role": "user", "content": "Words and words. " * 20_000}], max_tokens=10_000_000, stream=True
    ),
    "lists in lists": lambda: request_bytes(CHAT, b"[" * 5_000_000),
    "many lists": lambda: request_bytes("/v1/embeddings", b"[" + b"[]," * 10_000_000 + b"[]]"),
    "a large text to embed": lambda: request_bytes(
        "/v1/embeddings", orjson.dumps({"model": "m", "input": "ab " * 8_000_000})
    ),
    "many texts to embed": lambda: request_bytes(
        "/v1/embeddings", orjson.dumps({"model": "m", "input": ["x"] * 200_000})
    ),
    "large vectors": lambda: request_bytes(
        "/v1/embeddings", orjson.dumps({"model": "m", "input": ["x"] * 2048, "dimensions": 65_536})
    ),
    "the most numbers": lambda: request_bytes(
        "/v1/embeddings", orjson.dumps({"model": "m", "input": ["a word"] * 2048, "dimensions": 4096})
    ),
    "a schema that only a reader takes": lambda: request_bytes(
        CHAT, b'{"model":"m","response_format":' + b'{"items":' * 400 + b"{}" + b"}" * 401
    ),
    "documents that only a reader takes": lambda: request_bytes(
        "/v1/rerank", b'{"model":"m","query":"x","documents":[' + b"[" * 400 + b"]" * 400 + b"]}"
    ),
    "numbers without an end": lambda: answer_with({"type": "number", "multipleOf": 1e-300, "minimum": 1e300}),
    "many images": lambda: request_bytes(
        "/v1/images/generations", orjson.dumps({"prompt": "x", "n": 10, "size": "4096x4096"})
    ),
    "a long video": lambda: request_bytes(
        "/v1/videos", orjson.dumps({"prompt": "x", "seconds": 60, "fps": 60, "width": 4096, "height": 4096})
    ),
    "a long speech": lambda: request_bytes(
        "/v1/audio/speech", orjson.dumps({"model": "m", "input": "word " * 6_000, "speed": 0.25})
    ),
    "a speech of minutes": lambda: request_bytes(
        "/v1/audio/speech", orjson.dumps({"model": "m", "input": "word " * 300, "response_format": "mp3"})
    ),
    "a recording of years": lambda: upload(wav_of(10_000_000)),
}


@pytest.mark.long
@pytest.mark.parametrize("name", HOSTILE)
def test_others_are_answered_within_a_second(name: str, extracting_server: RunningServer) -> None:
    status, body, longest = send_beside_health(extracting_server.origin, HOSTILE[name]())
    assert status in (200, 400, 413), body[:500]
    assert longest < MAX_HEALTH_SECONDS
    assert send(extracting_server.origin, chat())[0] == 200


@pytest.mark.long
def test_a_pattern_that_backtracks_is_refused_in_bounded_time(extracting_server: RunningServer) -> None:
    status, body = send(extracting_server.origin, HOSTILE["pattern in a schema"]())
    assert (status, f"{MAX_CPU_SECONDS:g} s of processor time" in body.decode()) == (400, True)


def open_connection(origin: str, data: bytes) -> socket.socket:
    """A connection on which the beginning of a request was sent."""
    host, port = origin.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=END_SECONDS)
    connection.sendall(data)
    return connection


@pytest.mark.long
def test_bodies_that_trickle_are_ended_and_hold_nobody_up(own_local_server: RunningServer) -> None:
    begun = request_bytes(CHAT, b"{" * 100)[:-99]
    connections = [open_connection(own_local_server.origin, begun) for _ in range(300)]
    status, _, longest = send_beside_health(own_local_server.origin, chat())
    assert (status, longest < MAX_HEALTH_SECONDS) == (200, True)
    for connection in connections:
        with connection:
            assert connection.recv(12) == b"HTTP/1.1 408"
    assert own_local_server.bill()["in_flight"] == 0


CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 6"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([LENGTH, CHUNKED], 400),
        ([CHUNKED, LENGTH], 400),
        ([LENGTH, b"Content-Length: 0"], 400),
        ([LENGTH, LENGTH], 400),
        ([b"Content-Length: -1"], 400),
        ([b"Content-Length: +6"], 400),
        ([b"Transfer-Encoding: xchunked"], 400),
        ([b"Transfer-Encoding: chunked, identity"], 400),
        ([b"Content-Length : 6"], 400),
        ([b"X: " + b"x" * 100_000], 400),
        ([b"X%d: y" % n for n in range(1000)], 400),
        ([b"Content-Length: 99999999999"], 413),
        ([b"Host: evil.example", LENGTH], 400),
    ],
    ids=lambda value: str(value)[:60],
)
def test_requests_that_could_be_read_in_two_ways_or_are_too_large_are_refused(
    lines: list[bytes], status: int, local_server: RunningServer
) -> None:
    head = [b"POST /v1/chat/completions HTTP/1.1", b"Host: localhost", b"Content-Type: application/json", *lines]
    smuggled = b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with open_connection(local_server.origin, b"\r\n".join([*head, b"", smuggled])) as connection:
        reply = b""
        with contextlib.suppress(ConnectionResetError):  # it closes with the rest of what was sent unread
            while b"\r\n\r\n" not in reply and (block := connection.recv(1 << 16)):
                reply += block
    assert (reply.count(b"HTTP/1."), int(reply.split()[1])) == (1, status)
    assert local_server.bill()["billed"] == 0


@pytest.mark.long
def test_a_request_that_is_not_http_costs_one_line_of_the_log() -> None:
    command = [sys.executable, "-m", "mediamill.flows.cli", "serve", "--port", "0", "--engine", "echo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        assert server.stdout is not None
        origin = server.stdout.readline().split()[-1]
        for line in (b"Content-Length: 1\r\nContent-Length: 2", b"A\x1b[2J: b", b"A: " + b"\x07" * 100_000):
            with open_connection(origin, b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + line + b"\r\n\r\n") as bad:
                assert bad.recv(12).endswith(b" 400")
        server.terminate()
        printed, _ = server.communicate(timeout=END_SECONDS)
    assert len(printed.splitlines()) == 3
    assert all(line.startswith("refused a request that is not HTTP: ") for line in printed.splitlines())
    assert max(map(len, printed.splitlines())) < 300
    assert printed.replace("\n", "").isprintable()
