"""A provider that repeats the key in its replies puts it nowhere: not in OUT, not in the log, not on the page."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import SENTINEL, mediamill, read_rows
from tests.helpers.http_servers import running_http_server
from tests.helpers.run_checks import assert_no_key_in
from tests.helpers.tiers import mark_tiers

ENCODED = base64.b64encode(SENTINEL.encode()).decode()
MODES = {"good": 200, "refused": 400, "stopped": 401, "busy": 429, "gateway": 502}


class RepeatingHandler(BaseHTTPRequestHandler):
    """Answers every request with the key it came with, under the status that the path begins with."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a request."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        bearer = self.headers["Authorization"]
        key = bearer.split()[-1]
        spelled = f"{bearer} {base64.b64encode(key.encode()).decode()} {key.replace('-', '%2D')} {key[:-4]}..."
        status = MODES[self.path.split("/")[1]]
        body = json.dumps(_make_completion(spelled) if status == 200 else {"error": {"message": spelled, "code": key}})
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-request-id", key)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def _make_completion(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return {"id": text, "object": "chat.completion", "model": text, "choices": [choice], "usage": usage}


@pytest.mark.parametrize("mode", mark_tiers(MODES, ["good"], ["refused", "stopped", "gateway"]))
def test_a_repeated_key_is_found_nowhere(mode: str, tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text("id,prompt\na,Say one\n")
    with running_http_server(RepeatingHandler) as origin:
        done = mediamill(
            *("complete", tmp_path / "prompts.csv", "--out", tmp_path / "out", "--yes", "--no-prefect", "-vv"),
            *("--provider", "together", "--base-url", f"{origin}/{mode}", "--retries", "1", "--wait-for-provider", "0"),
            home=tmp_path / "home",
        )
    assert done.returncode == {"good": 0, "stopped": 4, "busy": 4}.get(mode, 3), done.stderr
    rows = [row for kind in ("results", "failures", "calls") for row in read_rows(tmp_path / "out", kind)]
    assert "***" in str(rows)
    assert "debug mediamill.calls: item a, attempt 1: sending" in done.stderr
    assert_no_key_in(tmp_path / "out", done.stdout, done.stderr, str(rows))
    for spelled in (SENTINEL[:-4], ENCODED[:30], "SENTINEL"):
        assert spelled not in f"{done.stdout}{done.stderr}{rows}"
        assert not [f for f in (tmp_path / "out").rglob("*") if f.is_file() and spelled.encode() in f.read_bytes()]
