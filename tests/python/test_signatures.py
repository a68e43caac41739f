"""The functions of capabilities have the parameters of the command line, by name, and refuse no value they promise."""

from __future__ import annotations

import inspect
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel

import mediamill
from mediamill.tasks import capabilities
from mediamill.tasks.job import Job
from mediamill.tasks.python.job_arguments import COLUMN_OPTIONS, to_job
from mediamill.tasks.python.signatures import list_arguments

OF_EVERY_CALL = {"wait", "raise_on_failure", "on_progress", *COLUMN_OPTIONS}
NOT_OF_A_CALL = {"capability", "source", "params", "confirmed", "schedule"}


@pytest.mark.parametrize("name", capabilities.BUILT_IN)
def test_a_function_has_every_parameter_with_its_meaning(name: str) -> None:
    expected = {*capabilities.get(name).params.model_fields, *Job.model_fields, *OF_EVERY_CALL} - NOT_OF_A_CALL
    arguments = list_arguments(name)
    assert {argument.name for argument in arguments} == expected
    assert not [argument.name for argument in arguments if not argument.meaning or argument.type == "Any"]
    for module in (mediamill, mediamill.aio):
        function = getattr(module, name.replace("-", "_"))
        assert set(inspect.signature(function).parameters) == {"source", *expected}
        assert "\n    budget: maximum cost" in (inspect.getdoc(function) or "")
    assert inspect.iscoroutinefunction(function)


class Answer(BaseModel):
    """What a notebook defines and a prompt is to be answered with."""

    topic: str


def test_arguments_become_the_job_that_the_command_line_makes(tmp_path: Path) -> None:
    options = {"schema": Answer, "group_by": "page", "budget": 0.1, "timeout": "90s", "out": tmp_path, "model": None}
    job = to_job("describe_video", tmp_path / "in", options)
    assert isinstance(job, Job)
    assert (job.capability, job.source, job.out) == ("describe-video", str(tmp_path / "in"), str(tmp_path))
    assert (str(job.budget), job.timeout, job.columns.group, job.model) == ("0.1", 90, "page", None)
    assert job.params == {"json_schema": Answer.model_json_schema()}
    same = to_job(job, None, {"budget": 2})
    assert isinstance(same, Job)
    assert same.params == job.params
    assert same.budget == Decimal(2)


@pytest.mark.long
def test_a_type_checker_knows_the_parameters(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    lines = (
        "import mediamill",
        "run = mediamill.transcribe('in', languag='de')",
        "run = mediamill.transcribe('in', budget=5, language='de', diarize=True, subtitles='srt')",
        "rows: list[str] = run.summary.done",
        "frame = run.results",
        "async def main() -> None:",
        "    caption = await mediamill.aio.caption('in', detail='ful')",
    )
    program.write_text("\n".join(lines), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", "", "--follow-imports", "silent", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    found = [line.split(":")[1] for line in done.stdout.splitlines() if " error: " in line]
    assert found == ["2", "4", "7"], done.stdout + done.stderr
