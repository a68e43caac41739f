"""Foreign web pages, foreign names and strangers without the token are refused; each test sends what they would."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from mediamill.tasks.local.server.options import command
from mediamill.tasks.local.spawn import Server, spawn
from tests.helpers import loopback
from tests.helpers.local_server import RunningServer

CHAT = "/v1/chat/completions"
HELLO = {"model": "any", "messages": [{"role": "user", "content": "hello"}]}
TOKEN = "a-token-of-this-test-0123456789"
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.fixture(scope="module")
def closed_server() -> Iterator[Server]:
    """A server that requires a token on every route, as the one that a run starts."""
    with spawn("echo", token=TOKEN) as server:
        yield server


def send(origin: str, path: str, **headers: str) -> httpx.Response:
    """A request with these headers, underscores for dashes; POST for paths that take one."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if path in (CHAT, "/mediamill/reset", "/mediamill/faults"):
        return loopback.post(origin + path, json=[] if "faults" in path else HELLO, headers=names)
    return loopback.get(origin + path, headers=names)


@pytest.mark.parametrize("path", ["/health", "/mediamill/bill", "/mediamill/reset", "/mediamill/faults", CHAT, "/none"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://127.0.0.1"},
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": "192.0.2.1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
    ids=str,
)
def test_pages_and_names_of_other_sites_get_403(
    path: str, headers: dict[str, str], local_server: RunningServer
) -> None:
    reply = send(local_server.origin, path, **headers)
    assert (reply.status_code, reply.headers["content-type"]) == (403, "text/plain; charset=utf-8")
    assert not [name for name in reply.headers if name.startswith("access-control")]
    assert local_server.bill()["requests"] == 0


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "LOCALHOST"])
def test_loopback_names_and_the_servers_own_pages_are_served(host: str, local_server: RunningServer) -> None:
    name = f"{host}:{local_server.origin.rpartition(':')[2]}"
    own_page = {"Host": name, "Origin": f"http://{name}", "Sec_Fetch_Site": "same-origin"}
    for headers in ({"Host": name}, own_page, {"Host": name, "Sec_Fetch_Site": "none"}):
        assert send(local_server.origin, CHAT, **headers).status_code == 200


@pytest.mark.parametrize("path", ["/v1/realtime", "/v1/audio/speech/websocket", "/xai/v1/stt"])
def test_a_socket_opens_for_programs_and_not_for_foreign_pages(path: str, local_server: RunningServer) -> None:
    assert send(local_server.origin, path, Origin="https://evil.example", **HANDSHAKE).status_code == 403
    host = local_server.origin.removeprefix("http://")
    with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2]))) as connection:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", f"Origin: http://{host}"]
        lines += [f"{name}: {value}" for name, value in HANDSHAKE.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        assert connection.recv(12) == b"HTTP/1.1 101"


def test_a_preflight_gets_no_permission(local_server: RunningServer) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for headers, status in ((asked, 403), ({}, 405)):
        reply = loopback.options(local_server.origin + CHAT, headers=headers)
        assert reply.status_code == status
        assert not [name for name in reply.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None, "json"]
)
@pytest.mark.parametrize(
    "path", [CHAT, "/v1/embeddings", "/v1/tci/execute", "/v1/images/generations", "/mediamill/reset"]
)
def test_a_body_that_a_form_could_send_is_refused(path: str, kind: str | None, local_server: RunningServer) -> None:
    body = httpx.Request("POST", "http://x", json=HELLO).content
    headers = {"Content-Type": kind} if kind else {}
    reply = loopback.post(local_server.origin + path, content=body, headers=headers)
    assert (reply.status_code, "application/json" in reply.text) == (415, True)
    assert local_server.bill()["billed"] == 0


def test_json_with_a_charset_is_read_and_compressed_bodies_are_refused(local_server: RunningServer) -> None:
    with_charset = send(local_server.origin, CHAT, Content_Type="application/json; charset=utf-8")
    assert with_charset.status_code == 200
    assert send(local_server.origin, CHAT, Content_Encoding="gzip").status_code == 415


@pytest.mark.parametrize(
    "path",
    [
        *("/health", "/mediamill/bill", "/mediamill/reset", CHAT, "/v1/models", "/v1/tci/sessions", "/none"),
        *("/media/0.0.png", "/shrt/0.0", "/v1/realtime"),
    ],
)
def test_without_its_token_every_route_of_a_runs_server_answers_401(path: str, closed_server: Server) -> None:
    for authorization in (None, "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer"):
        headers = {"Authorization": authorization} if authorization else {}
        assert send(closed_server.origin, path, **headers).status_code == 401
    assert send(closed_server.origin, path, Authorization=f"Bearer {TOKEN}").status_code != 401


def test_a_link_to_a_file_works_without_the_token(closed_server: Server) -> None:
    key = {"Authorization": f"Bearer {TOKEN}"}
    body = {"model": "any", "prompt": "a house", "response_format": "url", "size": "64x64"}
    made = loopback.post(f"{closed_server.origin}/v1/images/generations", json=body, headers=key)
    link = made.json()["data"][0]["url"]
    assert TOKEN not in made.text
    assert loopback.get(link, follow_redirects=True).content[:4] == b"\x89PNG"


def test_the_token_is_in_no_argument_and_no_environment(closed_server: Server) -> None:
    family = [closed_server.process.pid, *(c.pid for c in psutil.Process(closed_server.process.pid).children())]
    for pid in family:
        assert not [argument for argument in psutil.Process(pid).cmdline() if TOKEN in argument]
        assert TOKEN not in psutil.Process(pid).environ().values()
    assert TOKEN not in repr(closed_server)


@pytest.mark.long
def test_the_server_gets_no_key_but_the_one_that_it_requires(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("TOGETHER_API_KEY", "MY_KEY", "SERVER_KEY")
    for name in names:
        monkeypatch.setenv(name, TOKEN)
    with spawn("echo", key_env="SERVER_KEY") as server:
        found = psutil.Process(server.process.pid).environ()
        assert [name for name in names if name in found] == ["SERVER_KEY"]


@pytest.mark.parametrize("options", [["--host", "0.0.0.0"], ["--host", "::"], ["--allow-local-code"]], ids=str)
def test_a_server_that_others_could_misuse_starts_only_with_a_token(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(*more: str) -> str:
        with pytest.raises(SystemExit) as ended:
            command([*options, *more, "--port", "0"])
        assert ended.value.code == 2
        return capsys.readouterr().err

    assert "needs a token" in start()
    assert "--key-env" in start()
    for weak in ("", "short"):
        monkeypatch.setenv("GUARD_TEST_KEY", weak)
        assert f"GUARD_TEST_KEY has {len(weak)} characters" in start("--key-env", "GUARD_TEST_KEY")


@pytest.mark.long
def test_a_server_on_every_address_serves_those_who_hold_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_TEST_KEY", TOKEN)
    with spawn("echo", host="0.0.0.0", key_env="GUARD_TEST_KEY", allow_host="mill.example") as server:
        origin = server.origin.replace("0.0.0.0", "127.0.0.1")
        key = f"Bearer {TOKEN}"
        assert send(origin, "/mediamill/bill").status_code == 401
        for host in ("192.0.2.7", "mill.example", socket.gethostname()):
            assert send(origin, CHAT, Host=host, Authorization=key).status_code == 200
        assert send(origin, CHAT, Host="evil.example", Authorization=key).status_code == 403


@pytest.mark.long
def test_a_run_on_the_built_in_provider_leaves_its_token_nowhere(tmp_path: Path) -> None:
    """Another user who looks for the child while a run lasts finds its port and is refused."""
    source = tmp_path / "prompts.jsonl"
    source.write_text("\n".join(f'{{"id": "{n}", "prompt": "Say {n}."}}' for n in range(400)))
    command = [str(Path(sys.executable).parent / "mediamill"), "complete", str(source), "--provider", "local"]
    command += ["--out", str(tmp_path / "out"), "--yes", "-vv"]
    environment = {**os.environ, "HOME": str(tmp_path / "home")}
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    statuses: set[int] = set()
    while run.poll() is None and not statuses:
        for child in psutil.Process(run.pid).children(recursive=True):
            for port in [c.laddr.port for c in child.net_connections("tcp") if c.status == psutil.CONN_LISTEN]:
                statuses.add(send(f"http://127.0.0.1:{port}", "/mediamill/bill").status_code)
    output, _ = run.communicate(timeout=120)
    assert (run.returncode, statuses) == (0, {401}), output
    kept = output + "".join(
        path.read_bytes().decode("latin-1") for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    assert not re.search(r"bearer [\w-]{20,}", kept, re.IGNORECASE)
