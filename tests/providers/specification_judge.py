"""A relay to the built-in server that shows each request to Prism, which judges it by a provider's specification.

Prism answers with the violations that it finds in a request; the answer itself comes from the built-in server.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.http_servers import running_http_server
from tests.helpers.node_packages import find_node, install, make_node_environment

PRISM = "@stoplight/prism-cli@5.16.0"
_LISTENING = "is listening"
_NOT_RELAYED = frozenset({"host", "content-length", "connection", "transfer-encoding", "accept-encoding"})
_API_PATHS = ("/v1/", "/v2/", "/tci/")
_UNKNOWN_ROUTE = "NO_PATH_MATCHED"


@dataclass
class Verdicts:
    """What Prism found in the requests that it was shown.

    Attributes:
        judged: how many requests of each route it knows.
        violations: each kind of violation once, as ``METHOD /path: location: message``.
        unknown: the routes that the specification does not have.
    """

    judged: dict[str, int] = field(default_factory=dict)
    violations: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def add(self, route: str, status: int, headers: Any, body: bytes) -> None:
        """Take in Prism's answer to one request."""
        if status == 404 and _UNKNOWN_ROUTE.encode() in body:
            self.unknown.add(route)
            return
        self.judged[route] = self.judged.get(route, 0) + 1
        self.violations |= {f"{route}: {each}" for each in read_violations(headers, body)}


def read_violations(headers: Any, body: bytes) -> list[str]:
    """What Prism says of the request: in a header, or in the body where the specification has no such error."""
    stated = json.loads(headers.get("sl-violations") or "[]")
    if b"prism/errors#" in body:
        stated += json.loads(body).get("validation", [])
    found = []
    for violation in stated:
        location = [str(part) for part in violation["location"] if part != "request"]
        if location[:1] != ["response"]:  # Prism's own examples may not fit the specification
            found.append(f"{'.'.join(location)}: {violation['message']}")
    return found


def prepare_specification(source: Path, target: Path) -> Path:
    """A copy that Prism can use.

    It passes over each schema that has ``nullable`` without ``type``, and extensions may name files of another machine.
    """
    specification = yaml.load(source.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    _drop_what_stops_prism(specification)
    target.write_text(json.dumps(specification, default=str), encoding="utf-8")
    return target


def _drop_what_stops_prism(part: Any) -> None:
    if isinstance(part, dict):
        for extension in [name for name in part if str(name).startswith("x-")]:
            del part[extension]
        if "type" not in part and part.get("nullable") in (True, False):
            del part["nullable"]
        for value in part.values():
            _drop_what_stops_prism(value)
    elif isinstance(part, list):
        for value in part:
            _drop_what_stops_prism(value)


@contextmanager
def running_prism(specification: Path) -> Iterator[str]:
    """Prism's mock server for a specification, for as long as the block lasts; its address."""
    script = install(PRISM) / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(find_node()), str(script), "mock", "--errors", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(
        [*command, str(specification)],
        env=make_node_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as prism:
        assert prism.stdout is not None
        try:
            printed = ""
            while _LISTENING not in printed:
                line = prism.stdout.readline()
                printed += line
                assert line, f"Prism does not take {specification.name}: {printed[-500:]}"
            threading.Thread(target=prism.stdout.read, daemon=True).start()  # it prints each request
            yield f"http://127.0.0.1:{port}"
        finally:
            prism.kill()


@contextmanager
def running_relay(
    prism: str, origin: str, prefix: str, verdicts: Verdicts, *, has_versions: bool = False
) -> Iterator[str]:
    """A server that passes each request on to the built-in server and shows it to Prism.

    Args:
        prism: address of Prism.
        origin: address of the built-in server.
        prefix: of the provider there.
        verdicts: what is added to.
        has_versions: whether the specification's paths begin with a version.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    class Relay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_RELAYED}
            is_file = not self.path.startswith(_API_PATHS)
            if not is_file:
                path = self.path if has_versions else self.path.removeprefix("/v1").removeprefix("/v2")
                status, shown, text = _send(opener, self.command, prism + path, headers, body)
                verdicts.add(f"{self.command} {_shorten(path)}", status, shown, text)
            url = f"{origin}{'' if is_file else prefix}{self.path}"
            status, answered, reply = _send(opener, self.command, url, headers, body)
            own = f"http://{self.headers['Host']}"
            if answered.get_content_type() == "application/json":  # links to results lead through here, too
                reply = reply.replace(origin.encode(), own.encode())
            self.send_response(status)
            for name, value in answered.items():
                if name.lower() not in _NOT_RELAYED:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_POST = do_DELETE = do_PUT = _pass_on  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with running_http_server(Relay) as address:
        yield address


def _send(
    opener: urllib.request.OpenerDirector, method: str, url: str, headers: dict[str, str], body: bytes | None
) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with opener.open(request, timeout=60) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def _shorten(path: str) -> str:
    """A path without what differs between requests of one kind: its query, and ids."""
    parts = path.partition("?")[0].split("/")
    return "/".join("{id}" if any(c.isdigit() for c in part) and part not in ("v1", "v2") else part for part in parts)
