"""mediamill run: run a job from a YAML file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from mediamill.flows.cli.console import print_json
from mediamill.flows.cli.options import PERMITTED, make_job_options, make_run_options, to_job_fields
from mediamill.flows.cli.run_command import run_job_command
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job, load_job
from mediamill.tasks.pipeline.spec import Chain, Task, is_chain, load_yaml_or_none, make_chain


class _CommandWithPermissions(click.Command):
    """A command that also takes permission options; every capability is searched for them only where one is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {flag for param in self.params for flag in (*param.opts, *param.secondary_opts)}
        if any(arg.startswith("--") and arg.partition("=")[0] not in known for arg in args):
            from mediamill.flows.cli.capability_command import make_permission_options

            self.params[1:1] = [option for option in make_permission_options() if not known & {*option.opts}]
        return super().parse_args(ctx, args)


@click.command(
    "run",
    cls=_CommandWithPermissions,
    params=[
        click.Argument(["job"], required=False, type=click.Path(path_type=Path)),
        click.Option(
            ["--schema", "schema_only"], is_flag=True, help="print the JSON Schema of job files, for editors, and stop"
        ),
        *make_job_options(),
        *make_run_options(),
    ],
)
def command(job: Path | None, *, schema_only: bool, **options: Any) -> int:
    """Run the job in a YAML file; options given here override the file's.

    A file with `steps` is a chain: each step's results are the next step's manifest.
    """
    if schema_only:
        from mediamill.flows.cli.job_schema import make_job_schema

        print_json(make_job_schema(), indent=2)
        return 0
    if job is None:
        raise UsageError("a job file is missing", hint="mediamill run configs/jobs/transcribe.yaml")
    if options.get("config"):
        raise UsageError("--config is a job file, too, and JOB is given", hint="give one of them")
    permitted: list[str] = click.get_current_context().meta.get(PERMITTED, [])
    if is_chain(contents := load_yaml_or_none(job)):
        return _run_chain_file(job, _grant_permissions(contents, permitted), options)
    options["settings"] = (*(options.get("settings") or ()), *(f"{name}=true" for name in permitted))
    return run_job_command(load_job_with_options(job, options), options)


def _grant_permissions(contents: dict[str, Any], granted: Collection[str]) -> dict[str, Any]:
    """Add the permissions granted on the command line to the chain's tasks whose capability has them."""
    from mediamill.flows.cli.capability_command import list_permissions
    from mediamill.tasks import capabilities

    steps = contents.get("steps") if granted else None
    for step in steps if isinstance(steps, list) else ():
        branches = step.get("parallel") if isinstance(step, dict) else None
        tasks = [step.get("task"), *(branches.values() if isinstance(branches, dict) else ())]
        for task in tasks:
            if isinstance(task, dict) and capabilities.is_known(str(task.get("capability"))):
                names = [name for name in list_permissions(capabilities.get(task["capability"])) if name in granted]
                if names:
                    task["params"] = {**(task.get("params") or {}), **dict.fromkeys(names, True)}
    return contents


def _run_chain_file(path: Path, contents: dict[str, Any], options: dict[str, Any]) -> int:
    """Run a file with steps; options that cannot hold for all of them are refused."""
    from mediamill.flows.cli.pipeline import run_chain

    fields = {name: value for name, value in to_job_fields(options).items() if value not in (None, {}, [])}
    step_options = [name for name in fields if name not in Chain.model_fields]
    for name in step_options:
        option = "--set" if name == "params" else f"--{name.replace('_', '-')}"
        if name in Task.model_fields:
            raise UsageError(f"{option} belongs to a single step", hint=f"write it into the step in {path}")
        raise UsageError(f"{option} is no option of a chain, nor of its steps", hint="leave it out")
    return run_chain(make_chain(contents, str(path), **fields), options)


def load_job_with_options(path: Path, options: dict[str, Any]) -> Job:
    """Load the job in a file, overridden by the options given."""
    return load_job(path, **to_job_fields(options))
