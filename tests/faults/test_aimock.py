"""Another project's server with its faults on: every prompt ends, soon, whatever it does."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_runs import mediamill, read_rows
from tests.helpers.node_packages import find_node, install, make_node_environment

pytestmark = pytest.mark.proof

AIMOCK = "@copilotkit/aimock@1.43.0"
FAULTS = ("--chaos-drop", "--chaos-malformed", "--chaos-disconnect", "--chaos-ratelimit")
PROMPTS = 60
MAX_SECONDS = 120
ANSWER = "This is the answer, and it has many words, so that a stream of it has more than one chunk."
CUT = {"match": {"userMessage": "cut off"}, "response": {"content": ANSWER}, "truncateAfterChunks": 2}
WHOLE = {"match": {"userMessage": "question"}, "response": {"content": ANSWER}}


@contextmanager
def running_aimock(folder: Path, fixtures: list[dict[str, Any]], *options: str) -> Iterator[str]:
    """aimock as a child process; its address."""
    path = folder / "fixtures.json"
    path.write_text(json.dumps({"fixtures": fixtures}), encoding="utf-8")
    script = install(AIMOCK) / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    command = [str(find_node()), str(script), "--port", "0", "--fixtures", str(path), *options]
    with subprocess.Popen(
        command, env=make_node_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as aimock:
        assert aimock.stdout is not None
        try:
            line = ""
            while " listening on " not in line:
                line = aimock.stdout.readline()
                assert line, "aimock did not start"
            threading.Thread(target=aimock.stdout.read, daemon=True).start()  # it prints each request
            yield line.split(" listening on ")[1].strip()
        finally:
            aimock.kill()


def complete(prompts: list[str], origin: str, folder: Path, *options: str) -> tuple[int, float]:
    """Answer the prompts; the exit code, and the seconds from the first request to the last reply."""
    source = folder / "prompts.jsonl"
    source.write_text("".join(json.dumps({"id": f"{n:02d}", "prompt": text}) + "\n" for n, text in enumerate(prompts)))
    where = ("--provider", "compatible", "--base-url", origin, "--model", "m", "--out", folder / "out", "--yes")
    began_at = time.monotonic()
    done = mediamill("complete", source, *where, "--no-prefect", *options, home=folder / "home", timeout=400)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    return done.returncode, time.monotonic() - began_at


@pytest.mark.parametrize("share", [0.05, 0.08])
@pytest.mark.parametrize("stream", ["--no-stream", "--stream"])
def test_all_prompts_end_within_two_minutes(stream: str, share: float, tmp_path: Path) -> None:
    """Drops, malformed bodies, disconnects and 429s, each at that share; a 429 states a limit of 60 a minute.

    That limit is kept, so the number of requests decides how long it takes.
    """
    options = [word for fault in FAULTS for word in (fault, str(share))]
    with running_aimock(tmp_path, [WHOLE], *options) as origin:
        _, seconds = complete([f"question {n}" for n in range(PROMPTS)], origin, tmp_path, stream)
    results, failures = read_rows(tmp_path / "out"), read_rows(tmp_path / "out", "failures")
    assert len(results) + len(failures) == PROMPTS
    assert len(failures) <= 1
    assert len(read_rows(tmp_path / "out", "calls")) > PROMPTS
    assert seconds <= MAX_SECONDS


def test_prompts_whose_answers_are_always_cut_off_fail_alone_and_soon(tmp_path: Path) -> None:
    prompts = [f"question {n}" + " cut off" * (n % 5 == 0) for n in range(PROMPTS)]
    with running_aimock(tmp_path, [CUT, WHOLE], "--latency", "20") as origin:
        code, seconds = complete(prompts, origin, tmp_path, "--stream")
    assert code == 3
    assert {row["error_kind"] for row in read_rows(tmp_path / "out", "failures")} == {"short_body"}
    assert len(read_rows(tmp_path / "out")) == PROMPTS - PROMPTS // 5
    assert seconds <= MAX_SECONDS
