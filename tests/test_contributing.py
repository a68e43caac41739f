"""CONTRIBUTING.md names tests, modules, steps and files that exist."""

from __future__ import annotations

import importlib.util
import re

from tests.helpers.paths import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_every_file_and_test_that_it_names_exists() -> None:
    named = re.findall(r"(?<![\w/])((?:tasks|flows|tests|configs|data|docs)/[\w./-]*\w)(?:::(\w+))?", TEXT)
    assert len(named) > 15
    missing = [path for path, _ in named if "NAME" not in path and not (ROOT / path).exists()]
    assert missing == []
    tests = [(path, name) for path, name in named if name]
    assert tests
    for path, name in tests:
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def test_every_module_and_step_that_it_runs_exists() -> None:
    modules = re.findall(r"python -m ([\w.]+)", TEXT)
    assert modules
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []
    steps = re.findall(r"^    ([\w-]+)\)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    named = [step for line in re.findall(r"\.ci/run((?: [a-z-]+)+)", TEXT) for step in line.split()]
    assert named
    assert set(named) <= set(steps)
