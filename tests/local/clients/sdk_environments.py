"""Virtual environments with one version of the providers' SDKs each, made by uv in a folder that is kept."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.integration import REQUIRED
from tests.local.clients.programs import run_programs

_OTHERS = ("cohere==5.5.8", "groq==1.7.0", "openai==3.52.0", "requests==2.34.2", "websockets==17.4")
_KEPT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mediamill-tests"


@dataclass(frozen=True, slots=True)
class Program:
    """A program, the folder in which it runs and what is added to its environment variables."""

    name: str
    text: str
    folder: Path
    env: dict[str, str]


@dataclass(frozen=True, slots=True)
class Ended:
    """What a program printed, and the exception that ended it; '' for none."""

    printed: str
    failure: str


def find_environment(together: str) -> Path:
    """The interpreter of an environment with this version of ``together``, made where there is none.

    Skips the test where it cannot be made; in CI the test fails.
    """
    packages = (f"together=={together}", *_OTHERS)
    name = hashlib.sha256(" ".join((sys.version, *packages)).encode()).hexdigest()[:12]
    folder = _KEPT / f"together-{together}-{name}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if complete.exists() and python.exists():
        return python
    uv = os.environ.get("UV", "uv")
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")}
    for arguments in (
        ("venv", "--allow-existing", "--python", sys.executable, str(folder)),
        ("pip", "install", "--python", str(python), *packages),
    ):
        try:
            done = subprocess.run([uv, *arguments], env=env, capture_output=True, text=True, timeout=300, check=False)
            reason = done.stderr.strip()[-300:] if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = str(error)
        if reason and os.environ.get(REQUIRED):
            pytest.fail(f"no environment with together {together}: {reason}", pytrace=False)
        if reason:
            pytest.skip(f"no environment with together {together}: {reason}")
    complete.touch()
    return python


def run_all(together: str, programs: list[Program], folder: Path) -> dict[str, Ended]:
    """Run programs one after another in the environment; how each ended, by name."""
    given, results = folder / "programs.json", folder / "results.jsonl"
    fields = [{"name": p.name, "text": p.text, "folder": str(p.folder), "env": p.env} for p in programs]
    given.write_text(json.dumps(fields), encoding="utf-8")
    python = find_environment(together)
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = [str(python), str(Path(run_programs.__file__)), str(given), str(results)]
    subprocess.run(command, env={**env, "PYTHONPATH": ""}, check=True, capture_output=True, timeout=240)
    ended = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    return {name: Ended(printed, failure) for name, printed, failure in ended}
