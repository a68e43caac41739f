"""The checks of a commit, of the workflows and of ``.ci/run`` are the same commands."""

from __future__ import annotations

import re
import subprocess
import tomllib
from typing import Any

import yaml

from tests.helpers.integration import REQUIRED
from tests.helpers.paths import ROOT

CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read_jobs() -> list[dict[str, Any]]:
    """Every job of every workflow."""
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in WORKFLOWS]
    return [job for document in documents for job in document["jobs"].values()]


def test_pre_commit_runs_the_lint_and_types_of_ci() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    hooks = {hook["entry"] for hook in local["hooks"]}
    assert hooks == {f"uv run {command}" for command in re.findall(r"\brun ((?:ruff|mypy)[^;\n]*?) *(?:;;|\n)", CI)}
    assert len(hooks) == 3


def test_workflows_run_nothing_but_ci_and_its_steps() -> None:
    commands = [step["run"] for job in read_jobs() for step in job["steps"] if "run" in step]
    assert ".ci/run" in commands
    for command in commands:
        program, *steps = command.split()
        assert program == ".ci/run"
        assert all(f"\n    {step})" in CI for step in steps)


def test_no_workflow_leaves_a_step_out_or_lets_it_fail() -> None:
    jobs = read_jobs()
    for part in (*jobs, *(step for job in jobs for step in job["steps"])):
        assert not {"if", "continue-on-error", "shell"} & set(part), part


def test_workflows_use_actions_of_github_alone_at_a_commit() -> None:
    used = {step["uses"] for job in read_jobs() for step in job["steps"] if "uses" in step}
    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action)] == []


def test_ci_installs_the_group_of_long_tests_and_lets_none_skip_for_want_of_it() -> None:
    assert re.search(rf"^export {REQUIRED}=1$", CI, re.MULTILINE)
    assert re.search(r" sync --locked .*--group integration$", CI, re.MULTILINE)


def test_workflows_may_only_read_and_know_no_secret() -> None:
    assert all(job["permissions"] == {"contents": "read"} for job in read_jobs())
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        assert yaml.safe_load(text)["permissions"] == {}
        assert "secrets." not in text


def test_workflows_run_on_every_python_that_the_classifiers_name() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [found[1] for text in project["classifiers"] if (found := re.search(r"Python :: (3\.\d+)", text))]
    assert all(job["strategy"]["matrix"]["python"] == named for job in read_jobs())


def test_a_step_that_is_unknown_is_refused() -> None:
    done = subprocess.run(
        [str(ROOT / ".ci" / "run"), "lint", "nonsense"], capture_output=True, text=True, timeout=60, check=False
    )
    expected = "no step nonsense: choose from lint types audit main-job wheel quick long\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
