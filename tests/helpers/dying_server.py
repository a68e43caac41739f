"""A built-in server whose process kills itself: what a system short of memory does to it, at a known request."""

from __future__ import annotations

import os
from pathlib import Path

_PATCH = """
import os, signal, sys

if "mediamill.tasks.local" in sys.orig_argv:
    import aiohttp.streams

    def may_die():
        return os.path.getsize({deaths!r}) < {times}

    def die():
        with open({deaths!r}, "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.{sends})

    if {at_start} and may_die():
        die()
    readany = aiohttp.streams.StreamReader.readany
    number = 0

    async def read_and_die(stream):
        global number
        data = await readany(stream)
        number += bool(data)
        if (number == {nth} or {poison!r} in data) and may_die():
            die()
        return data

    aiohttp.streams.StreamReader.readany = read_and_die

    import aiohttp.web_urldispatcher

    resolve = aiohttp.web_urldispatcher.UrlDispatcher.resolve

    async def resolve_and_die(dispatcher, request):
        if request.path.startswith({path!r}) and may_die():
            die()
        return await resolve(dispatcher, request)

    aiohttp.web_urldispatcher.UrlDispatcher.resolve = resolve_and_die
"""


def make_dying_server(
    folder: Path,
    *,
    nth: int = 0,
    poison: str = "no such text",
    path: str = "no such path",
    times: int = 1_000,
    at_start: bool = False,
    sends: str = "SIGKILL",
) -> dict[str, str]:
    """The environment of a run in which every built-in server kills itself.

    Args:
        folder: for the file that Python imports when it starts.
        nth: with its request of this number, from 1; 0 for none.
        poison: with each request that has this text.
        path: with each request whose path begins so.
        times: how many of them do so.
        at_start: before they are ready.
        sends: the signal that they send themselves; with ``SIGSTOP`` they stand still.
    """
    folder.mkdir(parents=True)
    deaths = folder / "deaths"
    deaths.touch()
    patch = _PATCH.format(
        nth=nth,
        poison=poison.encode(),
        path=path,
        times=times,
        deaths=str(deaths),
        at_start=at_start,
        sends=sends,
    )
    (folder / "sitecustomize.py").write_text(patch)
    inherited = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{inherited}" if inherited else str(folder)}
