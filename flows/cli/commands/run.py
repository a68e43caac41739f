"""mediamill run: run a job from a YAML file."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.cli.completion import complete_job, complete_source
from mediamill.flows.cli.console import print_json
from mediamill.flows.cli.file_commands import CommandWithPermissions, load_job_file
from mediamill.flows.cli.options import make_job_options, make_run_options, to_job_fields
from mediamill.flows.cli.run_command import run_job_command
from mediamill.tasks.errors import UsageError
from mediamill.tasks.pipeline.mistakes import locating_mistakes
from mediamill.tasks.pipeline.spec import Chain


@click.command(
    "run",
    cls=CommandWithPermissions,
    params=[
        click.Argument(["job"], required=False, shell_complete=complete_job),
        click.Argument(["source"], required=False, shell_complete=complete_source),
        click.Option(
            ["--schema", "schema_only"], is_flag=True, help="print the JSON Schema of job files, for editors, and stop"
        ),
        click.Option(
            ["--deployed"],
            metavar="NAME",
            help="run the deployment FLOW/NAME, or NAME, on its worker and follow it; Ctrl-C leaves it running",
        ),
        *make_job_options(leave_out=["config"]),
        *make_run_options(),
    ],
)
def command(job: str | None, source: str | None, *, schema_only: bool, deployed: str | None, **options: Any) -> int:
    """Run JOB: a YAML file, or a ready job as recipe:NAME. SOURCE and options given here override the file's.

    A file with `steps` is a chain: each step's results are the next step's manifest. What only the user may allow is
    an option here, too: `--allow-local-code` for a step of `execute`. `mediamill recipes` lists the ready jobs, and
    `mediamill init` writes a file to fill in. Where a file has a `schedule`, a source that is empty or not there yet is
    no error. `--deployed NAME` starts what `mediamill deploy` has deployed.
    """
    if schema_only:
        from mediamill.flows.cli.job_schema import make_job_schema

        print_json(make_job_schema(), indent=2)
        return 0
    if deployed is not None:
        return _run_deployed(deployed, job, options)
    if job is None:
        raise UsageError("a job file is missing", hint="mediamill init writes one; mediamill recipes lists ready ones")
    loaded, file = load_job_file(job, source, options)
    if isinstance(loaded, Chain):
        from mediamill.flows.cli.pipeline import run_chain

        with locating_mistakes(file):
            return run_chain(loaded, options)
    return run_job_command(loaded, options)


def _run_deployed(name: str, job: str | None, options: dict[str, Any]) -> int:
    from mediamill.flows.cli.deployed_run import run_deployed

    given = [name for name, value in to_job_fields(options).items() if value not in (None, {}, [])]
    if job is not None or given or options.get("quote_only"):
        raise UsageError(
            "--deployed runs a deployment as it was deployed",
            hint="leave the job and its options out, or deploy it anew: mediamill deploy",
        )
    return run_deployed(name, as_json=bool(options.get("as_json")), quiet=bool(options.get("quiet")))
