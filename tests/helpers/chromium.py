"""A real Chromium without a window, which is led over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect
from websockets.sync.connection import Connection

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_START_SECONDS = 30.0


class Browser:
    """One tab of a browser."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._last_id = 0

    def open(self, url: str) -> None:
        """Go to an address; it does not wait until the page is complete."""
        self._send("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Run JavaScript in the page, wait for its promise, and return the value."""
        reply = self._send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def save_picture(self, path: Path) -> None:
        """Save a picture of the page."""
        path.write_bytes(base64.b64decode(self._send("Page.captureScreenshot")["data"]))

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last_id += 1
        self._connection.send(json.dumps({"id": self._last_id, "method": method, "params": parameters}))
        while True:
            message: dict[str, Any] = json.loads(self._connection.recv(timeout=60))
            if message.get("id") == self._last_id:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result


@contextmanager
def running_browser(profile: Path, *options: str) -> Iterator[Browser]:
    """Run a browser with a profile of its own."""
    assert PROGRAM is not None
    command = [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "--window-size=1300,800", *options]
    process = subprocess.Popen([*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with connect(_find_tab(profile / "DevToolsActivePort"), max_size=None) as connection:
            yield Browser(connection)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _find_tab(port_file: Path) -> str:
    """The address of the first tab's protocol, once the browser has written its port."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        if port_file.exists() and (port := port_file.read_text().partition("\n")[0]):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as reply:
                tabs = [tab for tab in json.load(reply) if tab["type"] == "page"]
            if tabs:
                return str(tabs[0]["webSocketDebuggerUrl"])
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.1)
