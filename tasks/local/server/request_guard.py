"""Who may send requests: programs that name this server, and hold its token where it has one; never a foreign web page.

A browser sends the page's origin with what the page's scripts send, and the name in the page's address as Host. So a
page of another site is refused, and so is one whose name was made to lead to this machine.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Callable
from functools import cache
from urllib.parse import urlsplit

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from mediamill.tasks.local.media_generation.job_store import JobStore
from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.file_store import FileStore
from mediamill.tasks.local.server.settings import Settings

_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - recognised, not listened on
_LINK_FOLDERS = ("/shrt/", "/media/")
_UPLOAD_PATH = re.compile(r"/(?:[^/]+/)*files/([^/]+)/put")
_OWN_SITES = ("same-origin", "none")
"""What a browser says of requests by the server's own pages, and by the person who types the address."""


def make_guard_middleware(
    settings: Settings, find_dialect: Callable[[str], Dialect], get_jobs: Callable[[], JobStore], files: FileStore
) -> Middleware:
    """A middleware that refuses foreign pages and requests without the token, before anything else is done for them.

    Args:
        settings: of the server.
        find_dialect: returns the dialect of a path, which formats the refusal of a wrong token.
        get_jobs: returns the store that knows the links to generated files.
        files: the store that knows the addresses to which files are uploaded.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        reason = find_foreign_sender(request, settings)
        if reason is not None:
            return _refuse(request, web.Response(status=403, text=f"refused: {reason}\n"))
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return _refuse(request, web.Response(status=415, text="refused: compressed bodies are not read\n"))
        if settings.access_token is not None and not _may_enter(request, settings.access_token, get_jobs(), files):
            error = ApiError("bad_key", "This server requires its token as the API key.")
            status, body = find_dialect(request.path).format_error(error, "")
            status = status if status in (401, 403) else 401  # xAI's error for a wrong key has 400
            reply = web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
            return _refuse(request, reply)
        return await handler(request)

    return middleware


def find_foreign_sender(request: web.BaseRequest, settings: Settings) -> str | None:
    """Why a request comes from a foreign page or a foreign name; None for all others."""
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or not is_own_name(_parse_host(hosts[0]), settings):
        return "the header Host does not name this server; see --allow-host"
    origins = request.headers.getall("Origin", [])
    if any(origin.lower() not in (f"http://{hosts[0].lower()}", f"https://{hosts[0].lower()}") for origin in origins):
        return "web pages of another origin may not use this server"
    if request.headers.get("Sec-Fetch-Site", "none") not in _OWN_SITES:
        return "web pages of another site may not use this server"
    return None


def is_own_name(name: str, settings: Settings) -> bool:
    """True for loopback names, the address that is listened on and ``--allow-host``.

    A server that listens on every address has any address as its name, but no other host name than this machine's.
    """
    if name in ("localhost", settings.host.lower(), *(host.lower() for host in settings.allow_host)):
        return bool(name)
    address = _parse_address(name)
    if address is not None:
        return address.is_loopback or settings.host in _WILDCARDS
    return settings.host in _WILDCARDS and name in _find_machine_names()


def is_exposed(host: str) -> bool:
    """True when others than this machine's users can reach a server that listens on ``host``."""
    address = _parse_address(host)
    return host.lower() != "localhost" and (address is None or not address.is_loopback)


def check_media_type(request: web.BaseRequest, *allowed: str) -> None:
    """Check the type of a body; those that a page may send to a foreign server unasked are never allowed.

    Raises:
        ApiError: for another type, or none.
    """
    if "Content-Type" not in request.headers or request.content_type not in allowed:
        given = request.headers.get("Content-Type", "none")[:80]
        raise ApiError("media_type", f"the Content-Type must be {' or '.join(allowed)}, not {given}")


def _may_enter(request: web.BaseRequest, token: str, jobs: JobStore, files: FileStore) -> bool:
    kind, _, sent = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode()):
        return True
    # A link to a generated file is a secret of its own: it has a random id, and programs fetch it without a key.
    # So is the address that takes an uploaded file's bytes.
    uploaded = _UPLOAD_PATH.fullmatch(request.path) if request.method == "PUT" else None
    if uploaded is not None:
        return files.find_token(uploaded[1]) is not None
    folder = next((folder for folder in _LINK_FOLDERS if request.path.startswith(folder)), None)
    if folder is None:
        return False
    link = request.path.removeprefix(folder)
    return jobs.find_linked(link.rpartition(".")[0] if folder == "/media/" else link) is not None


def _refuse(request: web.BaseRequest, reply: web.Response) -> web.Response:
    """A refusal that also ends the connection when a body is left unread on it."""
    if request.body_exists:
        reply.force_close()
    return reply


def _parse_host(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def _parse_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


@cache
def _find_machine_names() -> frozenset[str]:
    return frozenset({socket.gethostname().lower(), socket.getfqdn().lower()})
