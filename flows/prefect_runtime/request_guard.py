"""What a Prefect server on loopback answers: requests for its own address, from its own pages or from programs.

Every browser on this machine can send requests to a loopback port, in the name of any web page. Prefect asks for a
password; this guard stands before it and refuses what only a foreign page sends: another ``Origin``, and another
``Host``, which is the name that a page resolves to 127.0.0.1 to be of the same origin (DNS rebinding).
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from mediamill.flows.prefect_runtime.browser_login import LOGIN_PATH, make_logged_in_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MAX_LOGIN_BYTES = 4096


class RequestGuard:
    """An ASGI application that passes on to ``app`` what its own pages and programs send.

    Args:
        app: Prefect's server.
        port: the port on which it listens.
        password: its authentication string; the login page of ``mediamill up --open`` sends it.
    """

    def __init__(self, app: ASGIApp, port: int, password: str) -> None:
        self._app = app
        self._origin = f"http://127.0.0.1:{port}"
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._password = password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or websocket."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if refusal := self._find_refusal(scope, headers):
            await _refuse(scope, receive, send, refusal)
        elif scope["type"] == "http" and scope["path"] == LOGIN_PATH:
            await (await self._log_in(scope, receive))(scope, receive, send)
        elif scope["type"] == "http" and self._is_page_elsewhere(scope, headers):
            query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
            await RedirectResponse(f"{self._origin}/{scope['path'].lstrip('/')}{query}")(scope, receive, send)
        else:
            await self._app(scope, receive, _keep_from_other_pages(send))

    def _find_refusal(self, scope: Scope, headers: Headers) -> str | None:
        """The reason to refuse a request; None for those that are welcome."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return f"this server answers at {self._origin} alone: use this address, and forward the same port"
        if scope["path"] == LOGIN_PATH:
            return None  # it demands the password, and the page that sends it is a file
        if any(origin != self._origin for origin in headers.getlist("origin")):
            return f"this server answers its own pages alone, and they are at {self._origin}"
        from_another_page = headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
        if from_another_page and scope["path"].startswith("/api"):
            return "this server's API answers its own pages alone"
        return None

    def _is_page_elsewhere(self, scope: Scope, headers: Headers) -> bool:
        """Whether a browser opens a page at ``localhost``: its pages have one origin, which is another one."""
        is_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        return is_page and headers["host"].lower() != self._origin.removeprefix("http://")

    async def _log_in(self, scope: Scope, receive: Receive) -> Response:
        """Answer the login page: with the right password the browser's storage gets it."""
        if scope["method"] != "POST":
            return PlainTextResponse("log in with: mediamill up --open", status_code=405)
        body = b""
        more = True
        while more and len(body) <= _MAX_LOGIN_BYTES:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        given = parse_qs(body[:_MAX_LOGIN_BYTES].decode("latin-1")).get("password", [""])[0]
        if not hmac.compare_digest(given.encode(), self._password.encode()):
            return PlainTextResponse("this password is not the server's: mediamill up --open", status_code=401)
        return make_logged_in_response(self._password)


async def _refuse(scope: Scope, receive: Receive, send: Send, reason: str) -> None:
    """Refuse a request with 403; a websocket that is closed before it is accepted is refused so by the server."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
    else:
        await PlainTextResponse(f"{reason}\n", status_code=403)(scope, receive, send)


def _keep_from_other_pages(send: Send) -> Send:
    """Have no other page show an answer in a frame, in which it could lead a person's clicks, or read it."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Frame-Options"] = "SAMEORIGIN"
            headers["Content-Security-Policy"] = "frame-ancestors 'self'"
            if headers.get("Access-Control-Allow-Origin") == "*":  # Prefect's refusals of a wrong token have it
                del headers["Access-Control-Allow-Origin"]
        await send(message)

    return send_with_headers
