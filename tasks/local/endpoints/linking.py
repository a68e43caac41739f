"""Addresses of files."""

from __future__ import annotations

from aiohttp import web

from mediamill.tasks.local.media_generation.job_store import Made


def link_url(request: web.BaseRequest, made: Made) -> str:
    """A new link, on the host that the client asked."""
    token = made.link()
    path = f"/shrt/{token}" if made.hops else file_path(made, token)
    return f"{request.scheme}://{request.host}{path}"


def file_path(made: Made, token: str) -> str:
    """Where the file itself is."""
    return f"/media/{token}.{made.what.form}"
