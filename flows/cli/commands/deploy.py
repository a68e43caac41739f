"""mediamill deploy: create or update deployments that Prefect schedules."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mediamill.flows.cli.console import print_line, print_note
from mediamill.flows.cli.file_commands import load_job_file
from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.flows.prefect_runtime.api_endpoint import choose_prefect


@click.command("deploy", cls=HelpfulCommand)
@click.argument("jobs", nargs=-1)
@click.option("--cron", metavar="'M H D M W'", help="when it runs; overrides the file's schedule")
@click.option("--timezone", metavar="ZONE", help="time zone of --cron, e.g. Europe/Zurich; default UTC")
@click.option("--name", help="name of the deployment; default: the file's")
@click.option("--pool", default="mediamill", show_default=True, help="work pool whose worker runs it")
@click.option("--paused", is_flag=True, help="create the schedule paused")
@click.option("--replace", is_flag=True, help="replace a deployment of the same name that is another job's")
@click.option("-y", "--yes", is_flag=True, help="let what may cost money run without a budget")
@click.option("--debug", is_flag=True, expose_value=False, help="print tracebacks")
def command(
    jobs: tuple[str, ...],
    *,
    cron: str | None,
    timezone: str | None,
    name: str | None,
    pool: str,
    paused: bool,
    replace: bool,
    yes: bool,
) -> int:
    """Deploy JOBS, which are job files, or without any all of ./prefect.yaml.

    Each file becomes a deployment with its schedule, one run at a time; `mediamill run --deployed NAME` runs it now.
    Its name is the file's. Where another job has it, what would be replaced is shown, and you are asked (--replace).
    A job that may cost money has a budget in its file, or `confirmed: true`, which --yes says here. A source that is
    empty or not there yet is no error of a deployment: its runs end as "nothing yet".

    A worker must serve the pool: `mediamill up --worker`, or `prefect worker start --pool mediamill`. Keys come from
    the worker's environment; that the one of `up` has the job's key is checked, by its name.
    """
    from mediamill.tasks.errors import UsageError
    from mediamill.tasks.pipeline.mistakes import locating_mistakes
    from mediamill.tasks.pipeline.spec import Chain

    prefect, _ = choose_prefect(requested=True)
    assert prefect is not None
    prefect.configure_client()
    from mediamill.flows.prefect_runtime.deployments import DeployTarget, deploy_chain, deploy_file, deploy_job

    confirm = _allow_replacement if replace else _ask_to_replace
    if not jobs:
        return deploy_file(Path("prefect.yaml"), confirm)
    if name and len(jobs) > 1:
        raise UsageError("--name names one deployment", hint="deploy the files one by one")
    if timezone and not cron:
        raise UsageError("--timezone needs --cron", hint="give both, or set both in the job file under schedule")
    overrides: dict[str, Any] = {"confirmed": True} if yes else {}
    if cron:
        overrides["schedule"] = {"cron": cron, **({"timezone": timezone} if timezone else {})}
    target = DeployTarget(prefect, pool, paused, confirm)
    loaded = [load_job_file(job_name, None, {}, **overrides) for job_name in jobs]  # all, before one is deployed
    for job, file in loaded:
        deployment_name = name or file.path.stem
        if isinstance(job, Chain):
            with locating_mistakes(file):
                deployment = deploy_chain(job, deployment_name, target)
        else:
            deployment = deploy_job(job, deployment_name, target)
        schedule = (
            f"runs at {deployment.schedule.cron!r} {deployment.schedule.timezone}"
            if deployment.schedule
            else "has no schedule"
        )
        print_line(
            f"{deployment.name}: {schedule}{', paused' if paused else ''}; pool {pool!r}; {prefect.ui}/deployments"
        )
        for note in deployment.notes:
            print_line(f"  {note}")
        print_line(f"  run it now: mediamill run --deployed {shlex.quote(deployment.name)}")
    return 0


def _allow_replacement(what: str, changes: Sequence[str]) -> None:
    print_note(f"{what}; it is replaced")
    for line in changes:
        print_note(f"  {line}")


def _ask_to_replace(what: str, changes: Sequence[str]) -> None:
    """Show what a deployment would replace, and ask.

    Raises:
        UsageError: when the answer is no, or nobody can be asked.
    """
    from mediamill.flows.cli.confirm import is_at_terminal
    from mediamill.tasks.errors import UsageError

    hint = "--name NAME deploys this one beside it, --replace replaces it"
    if not is_at_terminal():
        raise UsageError("; ".join((what, *changes)), hint=hint)
    print_note(f"{what}:")
    for line in changes:
        print_note(f"  {line}")
    if not click.confirm("Replace it?", err=True):
        raise UsageError("it was not replaced", hint=hint)
