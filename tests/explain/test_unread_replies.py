"""What was paid for and could not be read can be looked at; what can be read in another form is bought once."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.helpers.cli_runs import make_wavs, mediamill, read_rows
from tests.helpers.http_servers import running_http_server

pytestmark = pytest.mark.long
KEY = "sk-abcdefghij0123456789"
CUT_OFF = f'{{"text": "The first half of it", "token": "{KEY}", "segm'


def make_handler(content_type: str, body: bytes, requests: list[str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            requests.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


def test_a_reply_that_no_one_can_read_is_kept_and_shown_without_its_keys(tmp_path: Path) -> None:
    requests: list[str] = []
    make_wavs(tmp_path / "in", 1)
    out, home = tmp_path / "out", tmp_path / "home"
    with running_http_server(make_handler("application/json", CUT_OFF.encode(), requests)) as origin:
        options = ("--provider", "compatible", "--base-url", f"{origin}/v1", "--model", "m", "--retries", "0", "--yes")
        done = mediamill("transcribe", tmp_path / "in", *options, "--no-prefect", "--out", out, home=home)
    assert (done.returncode, len(requests)) == (3, 1), done.stderr
    story = json.loads(mediamill("explain", out, "0000.wav", "--json", home=home).stdout)
    (attempt,) = story["requests"][0]["attempts"]
    assert (attempt["outcome"], attempt["error_kind"]) == ("unknown", "bad_body")
    assert attempt["reply"] == CUT_OFF.replace(KEY, "***")
    shown = " ".join(mediamill("explain", out, "0000.wav", home=home).stdout.split())
    assert "its reply: " in shown
    assert "The first half of it" in shown
    assert KEY not in shown


def test_a_reply_of_more_than_64_kib_is_shown_in_part_and_its_file_is_named(tmp_path: Path) -> None:
    body = CUT_OFF.encode() + b"x" * 100_000
    make_wavs(tmp_path / "in", 1)
    out, home = tmp_path / "out", tmp_path / "home"
    with running_http_server(make_handler("application/json", body, [])) as origin:
        options = ("--provider", "compatible", "--base-url", f"{origin}/v1", "--model", "m", "--retries", "0", "--yes")
        done = mediamill("transcribe", tmp_path / "in", *options, "--no-prefect", "--out", out, home=home)
    assert done.returncode == 3, done.stderr
    story = json.loads(mediamill("explain", out, "0000.wav", "--json", home=home).stdout)
    (attempt,) = story["requests"][0]["attempts"]
    assert attempt["reply"].startswith(CUT_OFF.replace(KEY, "***"))
    assert attempt["reply_bytes"] == len(body)
    assert Path(attempt["reply_file"]).read_bytes() == body
    shown = " ".join(mediamill("explain", out, "0000.wav", home=home).stdout.split())
    assert "its reply: " in shown
    assert f"its reply of {len(body):,} bytes is whole" in shown


def test_a_transcript_as_subtitles_is_bought_once_and_has_its_times(tmp_path: Path) -> None:
    requests: list[str] = []
    make_wavs(tmp_path / "in", 1)
    out, home = tmp_path / "out", tmp_path / "home"
    srt = b"1\n00:00:00,000 --> 00:00:00,100\nHello.\n"
    with running_http_server(make_handler("text/plain", srt, requests)) as origin:
        options = ("--provider", "compatible", "--base-url", f"{origin}/v1", "--model", "m", "--yes")
        done = mediamill("transcribe", tmp_path / "in", *options, "--no-prefect", "--out", out, home=home)
    assert (done.returncode, len(requests)) == (0, 1), done.stderr
    (row,) = read_rows(out)
    assert (row["text"], [(s["start"], s["end"]) for s in row["segments"]]) == ("Hello.", [(0.0, 0.1)])
