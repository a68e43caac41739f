"""mediamill run: a job from a YAML file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mediamill.flows.options import job_options, run_options
from mediamill.flows.running import run_job
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job, load_job
from mediamill.tasks.pipeline.spec import is_chain, read_file

_LEAVE = "allow_local_code"


@click.command("run")
@click.argument("job", required=False, type=click.Path(path_type=Path))
@click.option(
    "--allow-local-code", is_flag=True, help="let the built-in provider run code on this machine, for execute"
)
@click.option("--schema", "schema_only", is_flag=True, help="print the JSON Schema of job files, for editors")
@job_options
@run_options
def command(job: Path | None, *, allow_local_code: bool, schema_only: bool, **options: Any) -> int:
    """Run the job described in a YAML file; options given here win over the file's.

    A file with `steps` is a chain: each step's results are the next one's manifest.
    """
    if schema_only:
        from mediamill.flows.schema import job_schema

        click.echo(json.dumps(job_schema(), indent=2))
        return 0
    if job is None:
        raise UsageError("a job file is missing", hint="mediamill run configs/jobs/transcribe.yaml")
    if options.get("config"):
        raise UsageError("--config and a job file are the same thing", hint="give one of them")
    if is_chain(told := read_file(job)):
        return _run_chain(job, _with_leave(told) if allow_local_code else told, options)
    if allow_local_code:
        options["settings"] = (*(options.get("settings") or ()), f"{_LEAVE}=true")
    return run_job(job_over(job, options), options)


def _with_leave(told: dict[str, Any]) -> dict[str, Any]:
    """A chain whose steps that execute may do so here."""
    steps = told.get("steps")
    for step in steps if isinstance(steps, list) else ():
        branches = step.get("parallel") if isinstance(step, dict) else None
        tasks = [step.get("task"), *(branches.values() if isinstance(branches, dict) else ())]
        for task in tasks:
            if isinstance(task, dict) and task.get("capability") == "execute":
                task["params"] = {**(task.get("params") or {}), _LEAVE: True}
    return told


def _run_chain(path: Path, told: dict[str, Any], options: dict[str, Any]) -> int:
    """A file with steps: options that make no sense for all of them together are refused."""
    from mediamill.flows.chaining import run_chain
    from mediamill.flows.options import given_fields
    from mediamill.tasks.pipeline.spec import Chain, make_chain

    given = {name: value for name, value in given_fields(options).items() if value not in (None, {}, [])}
    wrong = [name for name in given if name not in Chain.model_fields]
    if wrong:
        raise UsageError(
            f"--{'set' if wrong[0] == 'params' else wrong[0].replace('_', '-')} is a step's own",
            hint=f"write it into {path}",
        )
    return run_chain(make_chain(told, str(path), **given), options)


def job_over(path: Path, options: dict[str, Any]) -> Job:
    """The job in a file, overridden by the options given."""
    from mediamill.flows.options import given_fields

    return load_job(path, **given_fields(options))
