"""The built wheel, in an empty environment, and the checkout do the main job beside a foreign tasks.py and flows/."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.paths import RECORDINGS, ROOT
from tests.packaging.environments import build_wheel, make_environment, make_foreign_folder

FLOW = "from mediamill.flows.transcribe import transcribe; print(transcribe.name)"
NOTEBOOK = """
import asyncio, sys
import mediamill

async def cell():
    run = mediamill.transcribe("samples/recordings", limit=2)
    rows = [row async for row in await mediamill.aio.transcribe("samples/recordings", limit=3, wait=False)]
    print(len(run.results), len(rows), "prefect" in sys.modules)

asyncio.run(cell())
"""
MODULES = """
import importlib.util, json
names = ("mediamill", "pytest", "hypothesis", "mypy", "openai", "pip")
print(json.dumps({name: getattr(importlib.util.find_spec(name), "origin", None) for name in names}))
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def check_main_job(programs: Path, project: Path) -> None:
    """Do the main job twice in ``project``, which is on the import path, with a home folder that is empty at first."""
    run = partial(run_installed, programs, project)
    assert "transcribe" in run("mediamill", "--help").stdout
    assert "whisper" in run("mediamill", "models").stdout
    findings = run("mediamill", "doctor").stdout
    assert re.search("built-in provider: (whisper|pocketsphinx)", findings)
    assert "ok  local code: " in findings
    shutil.copytree(RECORDINGS, project / "recordings")
    job = ("mediamill", "transcribe", "recordings", "--provider", "local", "--out", "out", "--json")
    assert json.loads(run(*job, "--quote").stdout)["items"] == 8
    assert not (project / "out").exists()
    summary = json.loads(run(*job).stdout)
    assert (summary["done"], summary["failed"], summary["calls"]) == (8, 0, 8)
    rows = pd.read_parquet(project / "out" / "results")
    assert len(rows) == 8
    assert rows["text"].str.len().min() > 0
    again = json.loads(run(*job).stdout)
    assert (again["state"], again["skipped"], again["calls"]) == ("nothing", 8, 0)
    assert run("python", "-c", FLOW).stdout.strip() == "transcribe"


def run_installed(programs: Path, project: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of an environment in ``project`` with no variable of this process, and demand that it succeeds."""
    home = str(project / "home")
    env = {
        "PATH": f"{programs}:{os.defpath}",
        "HOME": home,
        "PYTHONPATH": str(project),
        "LANG": "C.UTF-8",
        "MEDIAMILL_SETTLE": "0",
    }
    command = [str(programs / program), *arguments]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done


def test_the_wheel_has_one_import_name_and_every_module(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"mediamill"}
    assert "mediamill/py.typed" in names
    assert len(names) == len(set(names))
    for source in (*ROOT.glob("flows/**/*.py"), *ROOT.glob("tasks/**/*.py"), *ROOT.glob("configs/**/*.yaml")):
        assert f"mediamill/{source.relative_to(ROOT)}" in names
    assert {f"mediamill/{source.name}" for source in (ROOT / "mediamill").glob("*.py*")} <= set(names)
    assert "mediamill/samples/recordings/window.flac" in names


@pytest.mark.long
def test_the_wheel_does_the_main_job_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    programs = make_environment(tmp_path / "environment", wheel)
    project = make_foreign_folder(tmp_path / "foreign")
    check_main_job(programs, project)
    check_first_steps(programs, project)
    found = json.loads(run_installed(programs, project, "python", "-c", MODULES).stdout)
    assert Path(found["mediamill"]).is_relative_to(tmp_path / "environment")
    assert [name for name in ("pytest", "hypothesis", "mypy", "openai", "pip") if found[name]] == []


def check_first_steps(programs: Path, project: Path) -> None:
    """Try what a new user tries: samples, a recipe, a job of one's own, and Python with a running loop."""
    run = partial(run_installed, programs, project)
    assert "samples/README.md" in run("mediamill", "samples", "samples").stdout
    assert "alt-text" in run("mediamill", "recipes").stdout
    recipe = ("run", "recipe:alt-text", "samples/pictures", "--provider", "local", "--limit", "2", "--json")
    assert json.loads(run("mediamill", *recipe).stdout)["done"] == 2
    run("mediamill", "init", "job.yaml", "--capability", "speak")
    (project / "job.yaml").write_text((project / "job.yaml").read_text().replace("items.csv", "samples/texts.csv"))
    assert json.loads(run("mediamill", "quote", "job.yaml", "--json").stdout)["items"] > 2
    assert run("python", "-c", NOTEBOOK).stdout.split() == ["3", "3", "False"]


@pytest.mark.long
def test_the_checkout_does_the_main_job_in_a_foreign_folder(tmp_path: Path) -> None:
    check_main_job(Path(sys.executable).parent, make_foreign_folder(tmp_path / "foreign"))
