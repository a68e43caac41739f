"""Notifications of how a run ended: who is told what, and that none fails a run or shows its address."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import mediamill as package
from tests.helpers.cli_runs import make_wavs, mediamill
from tests.helpers.local_server import RunningServer

SECRET = "sEcReT-pAtH"


class Receiver:
    """A service on loopback that keeps what Apprise's ``json://`` sends it."""

    def __init__(self) -> None:
        messages: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                """Keep a message."""
                messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(500 if self.path.endswith("refuse") else 200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Print nothing."""

        self.messages = messages
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}/{SECRET}"

    def take(self) -> list[tuple[str, str]]:
        """The titles and texts since the last call."""
        taken = [(message["title"], message["message"]) for message in self.messages]
        self.messages.clear()
        return taken


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    threading.Thread(target=receiver.server.serve_forever, daemon=True).start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    """A server that bills its transcriptions as Together does."""
    return {"dialect": "together", "price": ["openai/whisper-large-v3=0.0015"]}


def write_job(path: Path, server: RunningServer, notify: object, **more: object) -> Path:
    """Write a job file; YAML takes JSON."""
    fields = {"capability": "transcribe", "source": str(path.parent / "calls"), "out": str(path.parent / path.stem)}
    fields |= {"provider": "together", "base_url": f"{server.origin}/together/v1"}
    path.write_text(json.dumps({**fields, "budget": 5, "notify": notify, **more}))
    return path


def test_people_are_told_how_a_run_ended_and_only_what_they_want_to_hear(
    local_server: RunningServer, receiver: Receiver, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "calls", 2)
    env = {"ENDS": f"{receiver.url}/ends", "TROUBLE": f"{receiver.url}/trouble", "MONEY": f"{receiver.url}/money"}
    when = [{"env": "TROUBLE", "when": ["failures", "stopped"]}, {"env": "MONEY", "when": ["budget"]}]
    notify = ["ENDS", *when]
    job = write_job(tmp_path / "nightly.yaml", local_server, notify)
    done = mediamill("run", job, home=tmp_path / "home", env=env)
    assert done.returncode == 0, done.stderr
    [(title, text)] = receiver.take()
    assert title == "mediamill transcribe calls: done"
    assert "2 done, 0 failed" in text
    assert f"results: {tmp_path / 'nightly'}" in text
    assert mediamill("run", job, home=tmp_path / "home", env=env).returncode == 0
    assert receiver.take() == [], "there was nothing to do"

    (tmp_path / "calls" / "broken.wav").write_bytes(b"no sound")
    assert mediamill("run", job, home=tmp_path / "home", env=env).returncode == 3
    told = receiver.take()
    assert [title for title, _ in told] == ["mediamill transcribe calls: finished with failures"] * 2
    assert "0 done, 1 failed" in told[0][1]

    dear = write_job(tmp_path / "dear.yaml", local_server, notify, budget=0.0000001)
    stopped = mediamill("run", dear, home=tmp_path / "home", env=env)
    assert stopped.returncode == 4, stopped.stderr
    assert [title.partition(": ")[2] for title, _ in receiver.take()] == ["stopped by its budget"] * 3

    no_key = write_job(tmp_path / "refused.yaml", local_server, notify, api_key_env="NO_SUCH_KEY")
    assert mediamill("run", no_key, home=tmp_path / "home", env=env).returncode == 2
    told = receiver.take()
    assert [title for title, _ in told] == ["mediamill transcribe calls: could not run"] * 2
    assert "NO_SUCH_KEY is not set" in told[0][1]


def test_a_notification_that_cannot_be_sent_is_a_warning_without_its_address(
    local_server: RunningServer, receiver: Receiver, tmp_path: Path
) -> None:
    make_wavs(tmp_path / "calls", 1)
    names = ["UNSET", "REFUSED", "AWAY", "UNKNOWN", "NO_URL"]
    env = {
        "REFUSED": f"{receiver.url}/refuse",
        "AWAY": f"json://127.0.0.1:9/{SECRET}",
        "UNKNOWN": f"nosuchservice://{SECRET}",
        "NO_URL": SECRET,
    }
    job = write_job(tmp_path / "nightly.yaml", local_server, [*names, {"block": "slack-webhook/ops"}])
    done = mediamill("run", job, "--log-json", "--debug", home=tmp_path / "home", env=env)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "was not sent" in line]
    assert len(lines) == len(names) + 1
    assert all(name in line for name, line in zip([*names, "slack-webhook/ops"], lines, strict=True))
    assert SECRET not in done.stdout + done.stderr
    written = [file.read_bytes() for file in (tmp_path / "nightly").rglob("*") if file.is_file()]
    assert not any(SECRET.encode() in content for content in written)


@pytest.mark.parametrize(
    "notify", [f"slack://{SECRET}", [{"block": f"https://hooks/{SECRET}"}], [{"env": "A", "when": ["never"]}], [{}]]
)
def test_an_address_in_the_job_is_refused_and_not_repeated(
    notify: object, local_server: RunningServer, tmp_path: Path
) -> None:
    job = write_job(tmp_path / "nightly.yaml", local_server, notify)
    refused = mediamill("run", job, home=tmp_path / "home")
    assert refused.returncode == 2
    assert "notify" in refused.stderr
    assert SECRET not in refused.stderr


@pytest.mark.long
def test_a_chain_and_a_call_from_python_tell_their_end_once(
    local_server: RunningServer, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wavs(tmp_path / "calls", 2)
    chain = tmp_path / "chain.json"
    step = {"name": "heard", "task": {"capability": "transcribe", "provider": "local"}}
    fields = {"source": str(tmp_path / "calls"), "out": str(tmp_path / "chain"), "notify": "ENDS"}
    chain.write_text(json.dumps({**fields, "steps": [step, {"name": "kept", "keep": "True"}]}))
    done = mediamill("run", chain, home=tmp_path / "home", env={"ENDS": receiver.url})
    assert done.returncode == 0, done.stderr
    [(title, text)] = receiver.take()
    assert title == "mediamill chain calls: done"
    assert "heard: 2 in, 2 out" in text
    monkeypatch.setenv("ENDS", receiver.url)
    package.transcribe(
        tmp_path / "calls", provider="local", out=str(tmp_path / "python"), notify=[{"env": "ENDS"}], settle=0
    )
    assert [title for title, _ in receiver.take()] == ["mediamill transcribe calls: done"]


SEND = """
import os, sys
from mediamill.tasks.notification import Notification
from mediamill.tasks.run.notify import RunEnd, notify

os.mkdir(sys.argv[1])
os.chdir(sys.argv[1])
os.rmdir(sys.argv[1])
end = RunEnd(frozenset({"end"}), "warning", "cancelled", ("2 done",))
notify([Notification(env="OPS")], "transcribe calls", end, warn=print)
"""


@pytest.mark.long
def test_a_run_whose_worker_stopped_and_removed_its_folder_tells_its_end(receiver: Receiver, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SEND, str(tmp_path / "lost")]
    done = subprocess.run(command, env={**os.environ, "OPS": receiver.url}, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert receiver.take() == [("mediamill transcribe calls: cancelled", "2 done")]
