"""docs/extending.md is followed: its package is installed beside the wheel, and its commands do what the page says."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.paths import ROOT
from tests.packaging.environments import build_wheel, make_environment, make_foreign_folder
from tests.packaging.extending_page import PageReader, read_page, write_files


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The package of the whole page."""
    for section in read_page():
        write_files(section, tmp_path / "acme-mood")
    return tmp_path / "acme-mood"


def test_the_page_has_a_section_for_each_entry_point_and_every_module_they_name(package: Path) -> None:
    headings = [section.heading for section in read_page()]
    assert headings == ["1. A provider", "2. An operation", "3. A capability"]
    assert all(section.commands for section in read_page())
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert list(project["entry-points"]) == ["mediamill.providers", "mediamill.operations", "mediamill.capabilities"]
    for targets in project["entry-points"].values():
        for target in targets.values():
            module, _, name = target.partition(":")
            path = package.joinpath(*module.split("."))
            source = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
            assert name in source


def test_the_code_of_the_page_passes_the_checks_of_the_project(package: Path) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    ignored = "T201,INP001,A002,ARG002"  # what a script and a base class's signature need
    check = [*ruff, "check", "--no-cache", "--config", str(ROOT / "pyproject.toml"), "--ignore", ignored, "."]
    for command in (check, [*ruff, "format", "--no-cache", "--config", str(ROOT / "pyproject.toml"), "--check", "."]):
        done = subprocess.run(command, cwd=package, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.long
def test_the_code_of_the_page_is_typed(package: Path) -> None:
    files = sorted(str(path) for path in package.rglob("*.py"))
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.long
def test_who_follows_the_page_gets_what_it_shows(tmp_path: Path) -> None:
    programs = make_environment(tmp_path / "environment", build_wheel(tmp_path / "ours"))
    folder = make_foreign_folder(tmp_path / "acme-mood")
    home = tmp_path / "home"
    reader = PageReader(programs, folder, {**os.environ, "HOME": str(home), "PREFECT_HOME": str(home)})
    *earlier, capability = read_page()
    for section in earlier:
        with reader.follow(section):
            assert "acme" in reader.run("mediamill doctor")
    with reader.follow(capability):
        acme = reader.servers["http://127.0.0.1:9001"]
        assert "judge-mood" in reader.run("mediamill --help")
        (quote, job) = (commands.lines[0] for commands in capability.commands[-2:])
        sent = acme.requests()
        assert sorted(request["text"] for request in sent) == ["?", "What a day", "What a night"]
        assert {(request["path"], request["authorization"]) for request in sent} == {("/v1/moods", "Bearer any-key")}
        assert "--quote" in quote
        rows = pd.read_parquet(folder / "moods" / "results")
        assert rows[["item_id", "mood", "score"]].to_numpy().tolist() == [["a", "glad", 0.5], ["c", "glad", 0.5]]
        assert set(rows["price_source"]) == {"$0.002/request, https://acme.example/pricing, 2026-11-01"}
        assert rows["cost_usd"].sum() == Decimal("0.004")
        reader.run(job, exit_code=3)
        refused = reader.run(f"{job} --only bored --out other", exit_code=3)
        assert "choose one of glad, sad, angry" in refused
        assert acme.requests() == sent
