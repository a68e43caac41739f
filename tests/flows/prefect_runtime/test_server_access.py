"""Who gets an answer from the server of ``mediamill up``: its user's programs and its own pages, and nobody else."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from tests.flows.prefect_runtime.prefect_server import PrefectServer, ServerAddress, get_csrf_headers

pytestmark = pytest.mark.long

JSON = {"Content-Type": "application/json"}
WRONG = {"Authorization": "Basic bWVkaWFtaWxsOndyb25n"}
FOREIGN_ORIGINS = (
    "http://evil.example",
    "https://127.0.0.1:{port}",
    "http://localhost:{port}",
    "http://127.0.0.1",
    "null",
)
FOREIGN_HOSTS = (
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1",
    "127.0.0.1:{port}.evil.example",
    "[::1]:{port}",
    "",
)
SOCKETS = (
    "events/in",
    "events/out",
    "logs/out",
    "task_runs/subscriptions/scheduled",
    "work_pools/mediamill/workers/connect",
)


class Client:
    """Sends what a browser or another program would, header by header."""

    def __init__(self, address: ServerAddress) -> None:
        self.address = address
        self.netloc = urlsplit(address.api).netloc
        self.port = self.netloc.partition(":")[2]
        self.origin = f"http://{self.netloc}"
        self.right = address.authorization

    def send(self, method: str, path: str, headers: dict[str, str], body: str | None = None) -> tuple[int, str]:
        """Send a request, with this server's Host unless ``headers`` has another; return status and text."""
        connection = http.client.HTTPConnection(self.netloc, timeout=30)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": self.netloc, **headers}.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body.encode() if body is not None else None)
        reply = connection.getresponse()
        text = reply.read().decode()
        allowed = reply.headers.get("Access-Control-Allow-Origin")
        assert allowed in (None, self.origin), "another origin may read this"
        connection.close()
        return reply.status, text

    def fill(self, values: Iterable[str]) -> list[str]:
        """The values with this server's port."""
        return [value.format(port=self.port) for value in values]


@pytest.fixture
def client(prefect_server: PrefectServer) -> Client:
    return Client(prefect_server.address)


def test_without_the_password_there_is_no_answer(client: Client) -> None:
    csrf = get_csrf_headers(client.address)
    for headers in ({}, WRONG, {"Authorization": "Bearer x"}, {"Authorization": "Basic"}, {"Cookie": "a=b"}):
        for path in ("admin/version", "admin/settings", "csrf-token?client=x", "deployments/x", "docs", "openapi.json"):
            assert client.send("GET", f"/api/{path}", headers)[0] == 401
        assert client.send("POST", "/api/flows/", {**JSON, **csrf, **headers}, '{"name": "x"}')[0] == 401
        assert client.send("POST", "/api/flows/", {**csrf, **headers}, '{"name": "x"}')[0] == 401
    assert client.send("GET", "/api/admin/version", client.right)[0] == 200
    assert client.send("GET", "/api/health", {}) == (200, "true")


def test_another_origin_is_refused_even_with_the_password(client: Client) -> None:
    everything = {**JSON, **client.right, **get_csrf_headers(client.address)}
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin in client.fill(FOREIGN_ORIGINS):
        assert client.send("GET", "/api/admin/version", {**everything, "Origin": origin})[0] == 403
        assert client.send("POST", "/api/flows/", {**everything, "Origin": origin}, '{"name": "x"}')[0] == 403
        assert client.send("OPTIONS", "/api/flows/", {**preflight, "Origin": origin})[0] == 403
    for site in ("cross-site", "same-site"):
        assert client.send("GET", "/api/admin/version", {**everything, "Sec-Fetch-Site": site})[0] == 403
    own = {"Origin": client.origin, "Sec-Fetch-Site": "same-origin"}
    assert client.send("POST", "/api/flows/filter", {**everything, **own}, "{}")[0] == 200


def test_another_host_is_refused_even_with_the_password(client: Client) -> None:
    for host in client.fill(FOREIGN_HOSTS):
        for path in ("/api/admin/version", "/api/health", "/", "/mediamill/login"):
            assert client.send("GET", path, {**client.right, "Host": host})[0] in (400, 403), host
    for name in ("X-Forwarded-Host", "Forwarded"):
        rebound = {**client.right, "Host": "evil.example", name: client.netloc}
        assert client.send("GET", "/api/admin/version", rebound)[0] == 403
    assert (
        client.send("GET", "http://evil.example/api/admin/version", {**client.right, "Host": "evil.example"})[0] >= 400
    )
    assert client.send("GET", "/api/admin/version", {**client.right, "Host": f"localhost:{client.port}"})[0] == 200


def test_a_second_or_missing_host_is_refused(client: Client) -> None:
    for hosts in ([], [client.netloc, "evil.example"]):
        with socket.create_connection(("127.0.0.1", int(client.port)), timeout=30) as connection:
            lines = ["GET /api/health HTTP/1.1", *(f"Host: {host}" for host in hosts), "Connection: close", "", ""]
            connection.sendall("\r\n".join(lines).encode())
            assert connection.recv(12).split()[1] in (b"400", b"403")


def test_a_change_needs_a_token_beside_the_password(client: Client) -> None:
    token = get_csrf_headers(client.address)
    known = {**JSON, **client.right}
    name = f"flow-{client.port}"
    for csrf in ({}, {"Prefect-Csrf-Client": token["Prefect-Csrf-Client"]}, {**token, "Prefect-Csrf-Token": "wrong"}):
        assert client.send("POST", "/api/flows/", {**known, **csrf}, json.dumps({"name": name}))[0] == 403
    status, flows = client.send("POST", "/api/flows/filter", {**known, **token}, "{}")
    assert status == 200
    assert name not in flows


@pytest.mark.parametrize("path", SOCKETS)
def test_a_websocket_needs_the_password_and_no_other_origin(client: Client, path: str) -> None:
    url = f"ws://{client.netloc}/api/{path}"
    prefect = [Subprotocol("prefect")]
    for origin in client.fill(FOREIGN_ORIGINS):
        with pytest.raises(InvalidStatus) as refused, connect(url, origin=Origin(origin), subprotocols=prefect):
            pass
        assert refused.value.response.status_code == 403
    with pytest.raises(InvalidStatus), connect(url):
        pass
    for token in (None, "mediamill:wrong"):
        with connect(url, subprotocols=prefect) as connection:
            connection.send(json.dumps({"type": "auth", "token": token}))
            with pytest.raises(ConnectionClosed):
                connection.recv(timeout=30)
    for own in (None, Origin(client.origin)):
        with connect(url, origin=own, subprotocols=prefect) as connection:
            connection.send(json.dumps({"type": "auth", "token": client.address.password}))
            assert json.loads(connection.recv(timeout=30)) == {"type": "auth_success"}


def test_the_login_gives_the_password_to_nobody_who_lacks_it(client: Client) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "null"}
    for body in ("", "password=", "password=mediamill:wrong", "password=" + "x" * 100_000, "\x00"):
        status, text = client.send("POST", "/mediamill/login", form, body)
        assert status == 401
        assert client.address.password not in text
    assert client.send("GET", f"/mediamill/login?password={client.address.password}", {})[0] == 405
    status, text = client.send("POST", "/mediamill/login", form, f"password={client.address.password}")
    assert status == 200
    assert "localStorage" in text


def test_pages_have_one_origin_and_stay_out_of_frames(client: Client) -> None:
    connection = http.client.HTTPConnection("localhost", int(client.port), timeout=30)
    connection.request("GET", "/runs", headers={"Accept": "text/html", "Sec-Fetch-Site": "cross-site"})
    reply = connection.getresponse()
    assert (reply.status, reply.headers["Location"]) == (307, f"{client.origin}/runs")
    connection = http.client.HTTPConnection(client.netloc, timeout=30)
    connection.request("GET", "/ui-settings")
    reply = connection.getresponse()
    assert (reply.status, reply.headers["X-Frame-Options"]) == (200, "SAMEORIGIN")
    assert client.address.password not in reply.read().decode()
