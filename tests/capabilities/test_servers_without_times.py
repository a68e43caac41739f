"""A server that has no verbose_json is asked again for the text alone, and other items are then sent once."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest

from tests.helpers.cli_runs import make_wavs, read_rows, transcribe
from tests.helpers.http_servers import running_http_server

pytestmark = pytest.mark.long


class _TextOnly(BaseHTTPRequestHandler):
    """Answers json, and refuses verbose_json as vLLM does."""

    formats: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Answer a transcription."""
        body = self.rfile.read(int(self.headers["content-length"]))
        is_verbose = b"verbose_json" in body
        self.formats.append("verbose_json" if is_verbose else "json")
        refusal = {"object": "error", "message": "Currently only support response_format `text` or `json`", "code": 400}
        reply = json.dumps(refusal if is_verbose else {"text": "hi"}).encode()
        self.send_response(400 if is_verbose else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_the_next_try_is_for_what_the_server_has(tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 3)
    with running_http_server(_TextOnly) as origin:
        options = ("--no-prefect", "--concurrency", "1", "--retries", "0")
        done = transcribe(tmp_path / "in", tmp_path / "out", origin, *options)
        sent = list(_TextOnly.formats)
        again = transcribe(tmp_path / "in", tmp_path / "out", origin, *options)
    assert (done.returncode, again.returncode) == (0, 0), done.stderr
    assert [row["text"] for row in read_rows(tmp_path / "out")] == ["hi"] * 3
    assert sent.count("json") == 3
    assert _TextOnly.formats == sent
