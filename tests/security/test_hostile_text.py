"""Names, rows, replies and lists of others move no terminal: what is printed is printable, and stays on its line."""

from __future__ import annotations

import csv
import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.flows.cli.console import format_json
from mediamill.flows.prefect_runtime.artifacts import escape_markdown
from mediamill.tasks.untrusted_text import escape_controls, neutralize_formula, to_single_line
from tests.helpers.cli_runs import make_wavs, mediamill, read_rows
from tests.helpers.http_servers import running_http_server
from tests.helpers.hypothesis_profile import make_repeatable

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b1m\u202egnp\u2066\u200b\u2028\U000e0041\x7f"
FORGED = "\nmediamill: all is well\rdone: 99 done"
HOSTILE = f"=cmd|'/c calc'!A1{ESCAPES}{FORGED}"
WORDS = "]0;owned"


class HostileHandler(BaseHTTPRequestHandler):
    """Refuses, answers or lists with hostile words, as the path begins."""

    def do_POST(self) -> None:
        """Answer a completion."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/good"):
            choice = {"index": 0, "message": {"role": "assistant", "content": HOSTILE}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
            self._reply(200, {"id": HOSTILE, "model": HOSTILE, "choices": [choice], "usage": usage})
        else:
            self._reply(400, {"error": {"message": HOSTILE, "code": HOSTILE, "type": HOSTILE}})

    def do_GET(self) -> None:
        """List models and voices."""
        self._reply(200, {"data": [{"id": HOSTILE, "model": HOSTILE, "voices": [{"name": HOSTILE}]}]})

    def _reply(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def assert_inert(text: str) -> None:
    """Every line is printable, and none was begun by what others wrote."""
    for line in text.split("\n"):
        assert line == escape_controls(line), line
        assert not line.startswith(("mediamill: all is well", "done: 99")), line


@pytest.mark.long
@pytest.mark.parametrize("mode", ["good", "refused"])
def test_no_command_prints_what_moves_a_terminal(mode: str, tmp_path: Path) -> None:
    manifest, out, home = tmp_path / "prompts.csv", tmp_path / f"out{ESCAPES[:-1]}", tmp_path / "home"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "prompt", HOSTILE], [HOSTILE, "Say one", HOSTILE]])
    with running_http_server(HostileHandler) as origin:
        chosen = ("--provider", "together", "--base-url", f"{origin}/{mode}")
        again = mediamill("complete", manifest, "--quote", "--out", out, *chosen, home=home)
        done = mediamill("complete", manifest, "--out", out, "--yes", "-vv", *chosen, "--no-prefect", home=home)
        printed = [again, done]
        printed.append(mediamill("status", out, home=home))
        printed.append(mediamill("explain", out, "0", home=home))
        printed.append(mediamill("explain", out, HOSTILE, home=home))
        printed.append(mediamill("report", out, home=home))
        printed.append(mediamill("retry", out, "--yes", "--debug", "--no-prefect", home=home))
        printed.append(mediamill("models", "--live", *chosen, home=home))
        printed.append(mediamill("models", "--voices", *chosen, home=home))
        printed.append(mediamill("explain", tmp_path / HOSTILE.replace("/", "|"), "x", "--debug", home=home))
        printed.append(mediamill("complete", manifest, "--out", out, "--yes", "--log-json", *chosen, home=home))
    assert done.returncode == {"good": 0, "refused": 3}[mode], done.stderr
    assert WORDS in "".join(each.stdout for each in printed), "it is there to be read"
    for each in printed:
        assert_inert(each.stdout)
        assert_inert(each.stderr)
    stored = str(read_rows(out, "results" if mode == "good" else "failures"))
    assert WORDS in stored


@pytest.mark.long
def test_names_of_files_are_printed_as_text(tmp_path: Path) -> None:
    home = tmp_path / "home"
    make_wavs(tmp_path / "in", 1)
    (tmp_path / "in" / "0000.wav").rename(tmp_path / "in" / f"{HOSTILE.replace('/', '|')}.wav")
    (tmp_path / "in" / f"b{ESCAPES}.wav").write_text("no sound")
    done = mediamill(
        "transcribe", tmp_path / "in", "--out", tmp_path / "out", "--yes", "--provider", "local", home=home
    )
    status = mediamill("status", tmp_path / "out", "--json", home=home)
    story = mediamill("explain", tmp_path / "out", "0", "--json", home=home)
    assert done.returncode == 3, done.stderr
    for each in (done, status, story):
        assert_inert(each.stdout + each.stderr)
    assert HOSTILE.replace("/", "|") in json.loads(story.stdout)["item_id"], "JSON is exact"


@make_repeatable()
@given(st.text(max_size=30))
def test_any_text_becomes_one_printable_line(text: str) -> None:
    for line in (escape_controls(text), to_single_line(text), format_json(text), escape_markdown(text)):
        assert len(line.splitlines()) <= 1
        assert line == escape_controls(line)
    assert json.loads(format_json(text)) == text


@pytest.mark.parametrize("text", ["plain", "Zürich 東京", "مرحبا", "नमस्ते", "e\u0301", "👍🏽 ❤️", "a\\x1b"])
def test_plain_text_is_printed_as_it_is(text: str) -> None:
    assert escape_controls(text) == to_single_line(text) == text


@pytest.mark.parametrize("text", ["-5", "+1.25", "-1e-3", "5-3", "a=b", "", "'=1"])
def test_numbers_and_plain_text_are_no_formulas(text: str) -> None:
    assert neutralize_formula(text) == text
