"""mediamill run: a job from a YAML file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from flows.options import job_options, run_options
from flows.running import run_job
from tasks.errors import UsageError
from tasks.job import Job, load_job


@click.command("run")
@click.argument("job", required=False, type=click.Path(path_type=Path))
@click.option("--schema", "schema_only", is_flag=True, help="print the JSON Schema of job files, for editors")
@job_options
@run_options
def command(job: Path | None, *, schema_only: bool, **options: Any) -> int:
    """Run the job described in a YAML file; options given here win over the file's."""
    if schema_only:
        from flows.schema import job_schema

        click.echo(json.dumps(job_schema(), indent=2))
        return 0
    if job is None:
        raise UsageError("a job file is missing", hint="mediamill run configs/jobs/transcribe.yaml")
    if options.get("config"):
        raise UsageError("--config and a job file are the same thing", hint="give one of them")
    return run_job(job_over(job, options), options)


def job_over(path: Path, options: dict[str, Any]) -> Job:
    """The job in a file, overridden by the options given."""
    from flows.options import given_fields

    return load_job(path, **given_fields(options))
