"""Templates, expressions and schemas that would run for ever, on the command line: one item fails, the run goes on."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.helpers.cli_runs import bare_environment, mediamill, read_rows
from tests.helpers.local_server import RunningServer

MODEL = "Qwen/Qwen3.5-9B"
NESTED_LOOPS = (
    "{% for a in range(size|int) %}{% for b in range(100000) %}{% for c in range(100000) %}{% endfor %}{% endfor %}"
    "{% endfor %}{{ text }}"
)

TOO_LONG = "it takes (more than 5 s of processor time|longer than 25 s)"
"""The second on a machine with too much else to do."""


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"dialect": "together", "price": [f"{MODEL}=0.17/0.25"]}


def write_rows(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{n}", **row}) + "\n" for n, row in enumerate(rows)))
    return path


def complete(source: Path, server: RunningServer, *options: str) -> list[str]:
    provider = ("--provider", "together", "--base-url", server.origin, "--model", MODEL)
    return ["complete", str(source), *provider, "--out", str(source.parent / "out"), "--yes", *options]


def run(command: list[str], tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return mediamill(*command, home=tmp_path / "home", env=env)


@pytest.mark.long
@pytest.mark.parametrize(
    ("template", "message"),
    [
        (NESTED_LOOPS, TOO_LONG),
        ("{{ 'x' * (size|int * 1000000) }}{{ text }}", "needs more than 256 MB of memory"),
        pytest.param(
            "{{ ('%' ~ size ~ '00000d') % 1 }}{{ text }}", "needs more than 256 MB of memory", marks=pytest.mark.proof
        ),
        pytest.param(
            "{% for a in range(size|int) %}{{ 'x' * 10000 }}{% endfor %}{{ text }}",
            "more than 16 million characters",
            marks=pytest.mark.proof,
        ),
        (
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(size|int) }}{{ text }}",
            "nested too deep",
        ),
    ],
)
def test_a_template_over_a_limit_fails_its_item_alone_and_nothing_is_sent_for_it(
    template: str, message: str, local_server: RunningServer, tmp_path: Path
) -> None:
    local_server.reset()
    source = write_rows(tmp_path, *({"text": f"{n}", "size": size} for n, size in enumerate((0, 10_000, 0))))
    done = run(complete(source, local_server, "--prompt", template), tmp_path)
    assert done.returncode == 3, done.stderr
    (failure,) = read_rows(tmp_path / "out", "failures")
    assert (failure["item_id"], failure["error_kind"]) == ("r1", "over_limit")
    assert re.search(message, failure["error_message"])
    assert failure["error_message"].startswith("rows.jsonl row 2")
    assert "Traceback" not in done.stderr
    assert local_server.bill()["requests"] == len(read_rows(tmp_path / "out")) == 2


@pytest.mark.long
def test_a_template_that_takes_for_ever_to_compile_is_refused(local_server: RunningServer, tmp_path: Path) -> None:
    source = write_rows(tmp_path, {"text": "a"})
    for template in ("{{ 9 ** (9 ** 9) }}", "{{ " + "(" * 3000 + ")" * 3000 + " }}"):
        done = run(complete(source, local_server, "--prompt", template), tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert "the template cannot be compiled: it" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "code", "option"),
    [
        (signal.SIGTERM, 143, "--debug"),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, "--quiet", marks=pytest.mark.proof),
    ],
)
def test_a_run_whose_templates_take_for_ever_ends_at_a_signal_and_so_do_its_workers(
    number: int, code: int, option: str, local_server: RunningServer, tmp_path: Path
) -> None:
    """Also while its quote fills them: a run that is quiet has none."""
    source = write_rows(tmp_path, *({"text": "a", "size": 10_000} for _ in range(40)))
    command = [sys.executable, "-m", "mediamill.flows.cli", *complete(source, local_server, "--prompt", NESTED_LOOPS)]
    command += [option]
    process = subprocess.Popen(command, env=bare_environment(tmp_path / "home"), stderr=subprocess.PIPE, text=True)
    workers = wait_for_busy_workers(process.pid)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in errors) == (code, False)
    assert ("stopped by SIGTERM before the run began; nothing was sent" in errors) == (option != "--quiet")
    assert not psutil.wait_procs(workers, timeout=60 if number == signal.SIGKILL else 1)[1]


def wait_for_busy_workers(pid: int) -> list[psutil.Process]:
    """Wait until workers evaluate templates: both of at least two have used some time."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        workers = [child for child in psutil.Process(pid).children() if "bounded.worker" in " ".join(child.cmdline())]
        if len(workers) > 1 and all(worker.cpu_times().user > 1 for worker in workers):
            return workers
        time.sleep(0.1)
    raise AssertionError("no worker became busy")


@pytest.mark.long
def test_a_pattern_that_backtracks_for_ever_fails_its_row_of_a_chain(tmp_path: Path) -> None:
    write_rows(tmp_path, {"prompt": "x", "code": "a" * 40 + "b"}, {"prompt": "y", "code": "bbb"})
    step = {"name": "answer", "task": {"capability": "complete", "provider": "local"}}
    chosen = {"name": "chosen", "keep": "not matches(code, '^(a+)+$')"}
    chain = {"source": str(tmp_path / "rows.jsonl"), "out": str(tmp_path / "out"), "steps": [step, chosen]}
    (tmp_path / "chain.yaml").write_text(yaml.safe_dump(chain))
    done = run(["run", str(tmp_path / "chain.yaml"), "--yes", "--json"], tmp_path)
    result = json.loads(done.stdout)
    assert result["rows"] == 1
    (problem,) = result["steps"][1]["problems"]
    assert problem.startswith("r0: ")
    assert re.search(TOO_LONG, problem)


@pytest.mark.long
def test_a_schemas_pattern_that_backtracks_for_ever_fails_the_answer_alone(
    local_server: RunningServer, tmp_path: Path
) -> None:
    schema = {"type": "object", "properties": {"code": {"type": "string", "pattern": "^(a+)+$"}}}
    rules: list[dict[str, Any]] = []
    local_server.reset()
    for number, code in enumerate(("a" * 40 + "b", "aaa"), 1):
        body = {"content": json.dumps({"code": code})}
        rules.append({"match": {"nth": number}, "fault": {"kind": "say", "body": body}})
    local_server.faults(*rules)
    source = write_rows(tmp_path, {"prompt": "first"}, {"prompt": "second"})
    done = run(complete(source, local_server, "--concurrency", "1", "--schema", json.dumps(schema)), tmp_path)
    assert done.returncode == 3, done.stderr
    (failure,), (row,) = read_rows(tmp_path / "out", "failures"), read_rows(tmp_path / "out")
    assert (failure["item_id"], failure["error_kind"], row["code"]) == ("r0", "over_limit", "aaa")
    assert "cannot be compared with the schema" in failure["error_message"]


@pytest.mark.long
@pytest.mark.parametrize("point", ["call.parse:2:memory", "shard.outcome.before:2:memory"])
def test_an_item_without_memory_fails_alone_and_is_done_by_the_next_run_for_free(
    point: str, local_server: RunningServer, tmp_path: Path
) -> None:
    local_server.reset()
    source = write_rows(tmp_path, *({"prompt": text} for text in "abcd"))
    done = run(complete(source, local_server), tmp_path, MEDIAMILL_FAULTS=point)
    assert done.returncode == 3, done.stderr
    (failure,) = read_rows(tmp_path / "out", "failures")
    assert failure["error_kind"] == "memory"
    assert "there was not enough memory" in failure["error_message"]
    assert len(read_rows(tmp_path / "out")) == 3
    assert run(complete(source, local_server), tmp_path).returncode == 0
    assert len(read_rows(tmp_path / "out")) == local_server.bill()["requests"] == 4
