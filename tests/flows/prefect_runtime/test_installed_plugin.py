"""A package with a provider, an operation and a capability of its own, installed beside the wheel: command and flow."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from tests.flows.prefect_runtime.prefect_server import PrefectServer
from tests.helpers.paths import ROOT
from tests.packaging.environments import build_wheel, make_environment, make_foreign_folder

pytestmark = pytest.mark.long

FLOW = """
from mediamill.flows.capability_flows import judge_mood
print("RESULT", judge_mood("texts.csv", provider="acme", out="flow", budget=1)["done"])
"""


class AcmeServer(ThreadingHTTPServer):
    """A provider that returns the mood of texts and keeps the requests; a text that begins with ``?`` is refused."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _AcmeHandler)
        self.bodies: list[dict[str, str]] = []
        self.keys: set[str | None] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _AcmeHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AcmeServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append({"path": self.path, **body})
        self.server.keys.add(self.headers["Authorization"])
        refused = body["text"].startswith("?")
        content = {"error": {"message": "no text"}} if refused else {"mood": "glad", "score": 0.5}
        reply = json.dumps(content).encode()
        self.send_response(400 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base class)
        pass


@pytest.fixture
def acme_server() -> Iterator[AcmeServer]:
    server = AcmeServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def installed_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    ours = build_wheel(folder / "ours")
    theirs = build_wheel(folder / "theirs", ROOT / "tests" / "packaging" / "plugin")
    return make_environment(folder / "environment", ours, theirs)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = make_foreign_folder(tmp_path / "project")
    (folder / "texts.csv").write_text("id,text\na,What a day\nb,? \nc,What a night\n", encoding="utf-8")
    return folder


def run_installed(
    installed_programs: Path, project: Path, env: Mapping[str, str], *command: str
) -> subprocess.CompletedProcess[str]:
    program, *arguments = command
    return subprocess.run(
        [str(installed_programs / program), *arguments],
        cwd=project,
        env={**env, "PYTHONPATH": str(project), "ACME_API_KEY": "a-key"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_packages_capability_is_a_command(
    installed_programs: Path, project: Path, acme_server: AcmeServer, tmp_path: Path
) -> None:
    env = {**os.environ, "HOME": str(tmp_path / "home")}
    assert "judge-mood" in run_installed(installed_programs, project, env, "mediamill", "--help").stdout
    help_text = run_installed(installed_programs, project, env, "mediamill", "judge-mood", "--help").stdout
    assert "Judge the mood of every text" in help_text
    assert "--only TEXT" in help_text
    listed = run_installed(installed_programs, project, env, "mediamill", "models", "--provider", "acme").stdout
    assert "acme-mood-1" in listed
    assert "$0.002/request" in listed

    job = ("judge-mood", "texts.csv", "--provider", "acme", "--base-url", acme_server.base_url, "--out", "out")
    quoted = run_installed(installed_programs, project, env, "mediamill", *job, "--quote", "--json")
    assert Decimal(json.loads(quoted.stdout)["high_usd"]) == Decimal("0.006")
    assert acme_server.bodies == []

    done = run_installed(installed_programs, project, env, "mediamill", *job, "--budget", "1", "--json")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["done"], summary["failed"]) == (3, 2, 1), done.stderr
    assert Decimal(summary["cost_usd"]) == Decimal("0.004")
    rows = pd.read_parquet(project / "out" / "results")
    assert rows[["item_id", "mood", "score"]].to_numpy().tolist() == [["a", "glad", 0.5], ["c", "glad", 0.5]]
    assert set(rows["price_source"]) == {"$0.002/request, https://acme.example/pricing, 2026-11-01"}
    assert acme_server.keys == {"Bearer a-key"}
    assert {body["path"] for body in acme_server.bodies} == {"/v1/moods"}

    calls = len(acme_server.bodies)
    again = run_installed(installed_programs, project, env, "mediamill", *job, "--budget", "1", "--json")
    assert json.loads(again.stdout)["calls"] == 0
    assert len(acme_server.bodies) == calls

    wrong = run_installed(
        installed_programs, project, env, "mediamill", *job, "--only", "bored", "--out", "other", "--budget", "1"
    )
    assert "choose one of glad, sad, angry" in wrong.stdout + wrong.stderr
    assert len(acme_server.bodies) == calls


def test_a_packages_capability_is_a_flow(
    installed_programs: Path, project: Path, acme_server: AcmeServer, prefect_server: PrefectServer
) -> None:
    env = prefect_server.env()
    job = ("judge-mood", "texts.csv", "--provider", "acme", "--base-url", acme_server.base_url, "--budget", "1")
    done = run_installed(installed_programs, project, env, "mediamill", *job, "--out", "command")
    assert done.returncode == 3, done.stderr
    assert "flow run at" in done.stderr
    (project / "texts.csv").write_text("id,text\na,What a day\n", encoding="utf-8")
    flow = FLOW.replace("budget=1", f'budget=1, options={{"base_url": "{acme_server.base_url}"}}')
    called = run_installed(installed_programs, project, env, "python", "-c", flow)
    assert "RESULT 1" in called.stdout, called.stderr
    names = [run["name"] for run in prefect_server.flow_runs() if "judge-mood" in run["name"]]
    assert len(names) == 2
