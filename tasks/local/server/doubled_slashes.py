"""Paths with doubled slashes are answered as those without: clients join a base URL and a path that both have one."""

from __future__ import annotations

import re

from aiohttp import web
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

_SLASHES = re.compile("/{2,}")


def merge_slashes(path: str) -> str:
    """The path with single slashes."""
    return _SLASHES.sub("/", path)


class DoubledSlashes(web.DynamicResource):
    """Takes the requests that no other route takes, and gives them to the route of their path with single slashes.

    Args:
        router: which has all other routes.
    """

    def __init__(self, router: web.UrlDispatcher) -> None:
        super().__init__("/{path:.*}")
        self._router = router

    async def resolve(self, request: web.Request) -> tuple[UrlMappingMatchInfo | None, set[str]]:
        """The route, as the router finds it; None for a path without doubled slashes, or one that leads nowhere."""
        path = merge_slashes(request.path)
        if path == request.path:
            return None, set()
        found = await self._router.resolve(request.clone(rel_url=request.rel_url.with_path(path)))
        return (found, set()) if found.http_exception is None else (None, set())
