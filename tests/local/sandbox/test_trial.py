"""Code is refused where a trial gets out of the sandbox, and where there is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from mediamill.tasks.local.sandbox import system_calls, trial
from mediamill.tasks.local.sandbox.sandbox_process import SandboxRefused
from mediamill.tasks.local.sandbox.sandbox_sessions import SandboxSessions
from mediamill.tasks.local.server.api_error import ApiError
from tests.helpers.cli_runs import bare_environment
from tests.helpers.sandbox import needs_sandbox

PROGRAM = Path(sys.executable).with_name("mediamill")
LEAKS = {
    "reaches the sockets of this machine": "arguments.insert(1, '--share-net')",
    "makes system calls that are refused": "n = arguments.index('--seccomp'); del arguments[n:n + 2]",
    "reads the files of this machine": "arguments[end:end] = [*{parents}, '--ro-bind', {folder!r}, {folder!r}]",
    "has writable mounts": "arguments.remove('--remount-ro'); arguments.remove('/')",
    "has folders without a size": "n = arguments.index('--size'); del arguments[n:n + 2]",
    "writable": "arguments = ['--bind-try' if one == '--ro-bind-try' else one for one in arguments]",
}
"""What the trial finds, and how bubblewrap is called so that it is so."""


@needs_sandbox
@pytest.mark.long
@pytest.mark.parametrize("found", LEAKS)
async def test_a_sandbox_with_a_leak_is_refused(
    found: str, sandbox_that_holds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaky = tmp_path / "bwrap"
    parents = [option for folder in reversed(tmp_path.parents) for option in ("--perms", "0755", "--dir", str(folder))]
    tmp_path.chmod(0o755)
    change = LEAKS[found].format(folder=str(tmp_path), parents=parents)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    leaky.write_text(
        f"#!{sys.executable}\nimport os, sys\narguments = sys.argv[1:]\nend = arguments.index('--remount-ro')\n"
        f"{change}\nos.execv({str(sandbox_that_holds)!r}, ['bwrap', *arguments])\n"
    )
    leaky.chmod(0o755)
    monkeypatch.setattr(trial, "find_bubblewrap_programs", lambda: [leaky])
    with pytest.raises(SandboxRefused, match=found):
        await trial.find_working_bubblewrap()
    monkeypatch.setattr(trial, "find_bubblewrap_programs", lambda: [leaky, sandbox_that_holds])
    assert await trial.find_working_bubblewrap() == sandbox_that_holds


async def test_code_is_refused_without_bubblewrap_or_on_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = SandboxSessions(allowed=True, session_seconds=1, cell_seconds=1)
    monkeypatch.setattr(trial, "find_bubblewrap_programs", list)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(ApiError, match=r"not run on this machine: it needs bubblewrap .install the system's package"):
        await sessions.find_or_start(None, simulated=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ApiError, match=r"darwin cannot lock it up .run it on Linux, or choose another --provider"):
        await sessions.find_or_start(None, simulated=False)
    assert not sessions.list_sessions()


@needs_sandbox
async def test_code_is_refused_without_libseccomp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_calls, "_LIBRARY", "libnowhere.so.2")
    system_calls.make_filter.cache_clear()  # here a trial has made it before
    with pytest.raises(SandboxRefused, match=r"it needs libnowhere\.so\.2 .*libseccomp2"):
        await trial.find_working_bubblewrap()


@needs_sandbox
@pytest.mark.long
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare of util-linux")
def test_a_machine_without_user_namespaces_refuses_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(json.dumps({"code": "open('ran', 'w')"}))

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        deny = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"'
        command = ("unshare", "--user", "--map-root-user", "sh", "-c", deny, "sh", PROGRAM, *arguments)
        environment = bare_environment(tmp_path / "home", TOKEN="a-long-random-text-of-this-test")
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
        )

    options = ("c.jsonl", "--provider", "local", "--allow-local-code", "--out", "out", "--yes", "--no-prefect")
    for arguments in (("execute", *options), ("serve", "--allow-local-code", "--key-env", "TOKEN")):
        done = run(*arguments)
        assert done.returncode == 2, done.stderr
        assert "code is not run on this machine: Creating new namespace failed" in done.stderr
        assert "allow user namespaces" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()
    findings = json.loads(run("doctor", "--out", tmp_path, "--json").stdout)
    (finding,) = [one for one in findings if one["what"] == "local code"]
    assert "code is not run on this machine" in finding["told"]


@needs_sandbox
@pytest.mark.long
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare of util-linux")
def test_an_administrator_of_one_user_is_locked_up_as_that_user_or_refused() -> None:
    code = "import asyncio; from mediamill.tasks.local.sandbox.trial import find_working_bubblewrap as find\n"
    code += "asyncio.run(find())"
    command = ("unshare", "--user", "--map-root-user", sys.executable, "-c", code)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if os.geteuid() == 0:
        assert "runs as nobody, who cannot be mapped here (Operation not permitted)" in done.stderr
        assert done.returncode == 1
    else:
        assert done.returncode == 0, done.stderr
    orphans = [each for each in psutil.process_iter(["name", "ppid"]) if each.info == {"name": "bwrap", "ppid": 1}]
    assert not psutil.wait_procs(orphans, timeout=20)[1]
