"""mediamill deploy: create or update deployments that Prefect schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mediamill.flows.cli.console import print_line
from mediamill.flows.prefect_runtime.api_endpoint import choose_prefect


@click.command("deploy")
@click.argument("jobs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--cron", metavar="'M H D M W'", help="when it runs; overrides the file's schedule")
@click.option("--timezone", metavar="ZONE", help="time zone of --cron, e.g. Europe/Zurich; default UTC")
@click.option("--name", help="name of the deployment; default: the file's")
@click.option("--pool", default="mediamill", show_default=True, help="work pool whose worker runs it")
@click.option("--paused", is_flag=True, help="create the schedule paused")
@click.option("--debug", is_flag=True, expose_value=False, help="print tracebacks")
def command(
    jobs: tuple[Path, ...],
    *,
    cron: str | None,
    timezone: str | None,
    name: str | None,
    pool: str,
    paused: bool,
) -> int:
    """Deploy JOBS, which are job files, or without any all of ./prefect.yaml.

    Each file becomes a deployment with its schedule, one run at a time. A worker must serve the pool:
    `mediamill up --worker`, or `prefect worker start --pool mediamill`. Keys come from the worker's environment.
    """
    from mediamill.tasks.errors import UsageError
    from mediamill.tasks.job import load_job
    from mediamill.tasks.pipeline.spec import is_chain, load_yaml_or_none, make_chain

    prefect, _ = choose_prefect(requested=True)
    assert prefect is not None
    prefect.configure_client()
    from mediamill.flows.prefect_runtime.deployments import deploy_chain, deploy_file, deploy_job

    if not jobs:
        return deploy_file(Path("prefect.yaml"))
    if name and len(jobs) > 1:
        raise UsageError("--name names one deployment", hint="deploy the files one by one")
    if timezone and not cron:
        raise UsageError("--timezone needs --cron", hint="give both, or set both in the job file under schedule")
    overrides: dict[str, Any] = {}
    if cron:
        overrides["schedule"] = {"cron": cron, **({"timezone": timezone} if timezone else {})}
    for path in jobs:
        if is_chain(contents := load_yaml_or_none(path)):
            deployment = deploy_chain(
                make_chain(contents, str(path), **overrides), name or path.stem, pool, paused=paused
            )
        else:
            deployment = deploy_job(load_job(path, **overrides), name or path.stem, pool, paused=paused)
        schedule = (
            f"runs at {deployment.schedule.cron!r} {deployment.schedule.timezone}"
            if deployment.schedule
            else "has no schedule"
        )
        print_line(
            f"{deployment.name}: {schedule}{', paused' if paused else ''}; pool {pool!r}; {prefect.ui}/deployments"
        )
        print_line(f"  run it now: prefect deployment run '{deployment.name}'")
    return 0
