"""The built wheel and the checkout do the main job in a folder that holds a foreign tasks.py and flows/."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.paths import RECORDINGS, ROOT
from tests.packaging.environments import build_wheel, make_environment, make_foreign_folder

RECORDING = RECORDINGS / "window.flac"
FLOW = "from mediamill.flows.transcribe import transcribe; print(transcribe.name)"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def check_main_job(programs: Path, folder: Path) -> None:
    """Run the command line and import a flow in ``folder``, which is on the import path."""
    home = folder / "home"
    env = {**os.environ, "HOME": str(home), "PYTHONPATH": str(folder), "PREFECT_HOME": str(home)}
    command = [str(programs / "mediamill"), "transcribe", str(RECORDING), "--provider", "local", "--out", "out"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(folder / "out" / "results")
    assert rows["text"].str.len().min() > 0
    flow_name = subprocess.run(
        [programs / "python", "-c", FLOW], cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert flow_name.stdout.strip() == "transcribe", flow_name.stderr


def test_the_wheel_has_one_import_name_and_every_module(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"mediamill"}
    assert "mediamill/py.typed" in names
    assert len(names) == len(set(names))
    for source in (*ROOT.glob("flows/**/*.py"), *ROOT.glob("tasks/**/*.py"), *ROOT.glob("configs/**/*.yaml")):
        assert f"mediamill/{source.relative_to(ROOT)}" in names
    assert {f"mediamill/{source.name}" for source in (ROOT / "mediamill").glob("*.py")} <= set(names)


@pytest.mark.long
def test_the_wheel_does_the_main_job_in_a_foreign_folder(wheel: Path, tmp_path: Path) -> None:
    programs = make_environment(tmp_path / "environment", wheel)
    check_main_job(programs, make_foreign_folder(tmp_path / "foreign"))


@pytest.mark.long
def test_the_checkout_does_the_main_job_in_a_foreign_folder(tmp_path: Path) -> None:
    check_main_job(Path(sys.executable).parent, make_foreign_folder(tmp_path / "foreign"))
