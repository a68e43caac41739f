"""Pictures and videos for the SDKs, and a web server on loopback that has them."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.helpers.paths import SAMPLES

HOUSE = SAMPLES / "pictures" / "house.jpg"
PAGE = SAMPLES / "pictures" / "page.png"
DAY = SAMPLES / "videos" / "day.mp4"


def data_url(path: Path) -> str:
    mime = {".jpg": "image/jpeg", ".png": "image/png", ".mp4": "video/mp4", ".webp": "image/webp"}[path.suffix]
    return f"data:{mime};base64,{base64.b64encode(path.read_bytes()).decode()}"


@contextmanager
def serve_folder(folder: Path) -> Iterator[str]:
    """The address of a server that has the folder's files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
