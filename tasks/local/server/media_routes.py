"""Where pictures and videos are made, polled and fetched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from aiohttp import web

from mediamill.tasks.local.endpoints.downloads import send_content, send_file, send_link
from mediamill.tasks.local.endpoints.images import make_images
from mediamill.tasks.local.endpoints.polling import poll
from mediamill.tasks.local.endpoints.videos import make_video
from mediamill.tasks.local.server.dialects import dialect
from mediamill.tasks.local.server.server_state import Desk

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_SHOWN = frozenset({"GET", "HEAD"})


class Making:
    """Routes of one server.

    Attributes:
        creating: exact paths, with the method and what answers them.
    """

    def __init__(self, desk: Desk, prefixes: Mapping[str, str]) -> None:
        self._desk = desk
        self.creating: dict[str, tuple[str, Answer]] = {}
        self._polled: dict[str, Answer] = {}
        self._held: dict[str, Answer] = {}
        for prefix, name in prefixes.items():
            if name != "groq":
                self._add(prefix, name)

    def reading(self, request: web.BaseRequest) -> tuple[str, Answer] | None:
        """What answers a poll, a link or a file; None for any other path."""
        above, _, last = request.path.rpartition("/")
        shown = request.method if request.method in _SHOWN else "GET"
        if above == "/shrt":
            return shown, partial(send_link, self._desk, token=last)
        if above == "/media":
            return shown, partial(send_file, self._desk, token=last.rpartition(".")[0])
        if above in self._polled:
            return "GET", self._polled[above]
        held = self._held.get(above.rpartition("/")[0]) if last == "content" else None
        return (shown, held) if held is not None else None

    def _add(self, prefix: str, name: str) -> None:
        desk, spoken = self._desk, dialect(name)
        self.creating[f"{prefix}/images/generations"] = ("POST", partial(make_images, desk, dialect=spoken))
        video = partial(make_video, desk, dialect=spoken)
        folders = [f"{prefix}/videos"]
        if name in ("together", "local"):
            folders.append(f"{v2(prefix)}/videos")
        for folder in folders:
            self.creating[f"{folder}/generations" if name == "xai" else folder] = ("POST", video)
            self._polled[folder] = partial(poll, desk, dialect=spoken)
            if name not in ("together", "xai"):
                self._held[folder] = partial(send_content, desk, dialect=spoken)


def v2(prefix: str) -> str:
    """The second version's prefix beside the first's."""
    return prefix.removesuffix("/v1") + "/v2"
