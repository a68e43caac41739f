"""Deployments: a job file, or all of ``prefect.yaml``, becomes something that Prefect schedules and a worker runs."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tasks.errors import UsageError
from tasks.job import Schedule

if TYPE_CHECKING:
    from tasks.job import Job


@dataclass(frozen=True, slots=True)
class Deployed:
    """What was made, as Prefect names it, and when it runs."""

    name: str
    schedule: Schedule | None


def deploy_job(job: Job, name: str, pool: str, *, paused: bool) -> Deployed:
    """Make or update the deployment of a job.

    It gets no concurrency limit of Prefect's: OUT's own lock keeps runs apart, and unlike Prefect's slots it is free
    the moment a killed process is gone. Paths are made absolute: a worker starts its runs in a folder of their own.

    Raises:
        UsageError: when the job cannot run on a worker, or Prefect refuses the schedule.
    """
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    from flows.asflow import flow_of
    from flows.forms import parameters_of

    if job.source == "-":
        raise UsageError("a scheduled job has no stdin to read", hint="name a folder, a glob or a manifest as source")
    flow = flow_of(job.capability)
    when = job.schedule
    try:
        schedule = Cron(when.cron, timezone=when.timezone) if when else None
        deployment = flow.to_deployment(
            name,
            schedule=schedule,
            parameters=parameters_of(_absolute(job)),
            tags=["mediamill", job.capability],
            entrypoint_type=EntrypointType.MODULE_PATH,
            work_pool_name=pool,
            job_variables={"command": shlex.join([sys.executable, "-m", "flows.attended"])},
            paused=paused,
        )
    except ValueError as error:
        raise UsageError(f"{name}: {str(error).splitlines()[0]}") from None
    _make_pools({pool})
    deployment.apply()
    return Deployed(f"{flow.name}/{name}", when)


def deploy_file(path: Path, api: str) -> int:
    """``prefect deploy --all`` on a prefect.yaml, with Prefect's own words; its exit code."""
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        pools = {each["work_pool"]["name"] for each in told["deployments"] if each.get("work_pool")}
    except FileNotFoundError:
        hint = "name job files: mediamill deploy configs/jobs/nightly.yaml"
        raise UsageError(f"no {path.name} here", hint=hint) from None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        raise UsageError(
            f"{path.name} does not read like one", hint="it lists deployments, each with its pool"
        ) from None
    _make_pools(pools)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(path)]
    env = {**os.environ, "PREFECT_API_URL": api, "PWD": str(Path.cwd())}
    return subprocess.run(command, env=env, check=False).returncode  # noqa: S603 (our own interpreter)


def _make_pools(names: set[str]) -> None:
    """Work pools for local processes, where there are none of these names yet."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        for name in names:
            try:
                client.read_work_pool(name)
            except ObjectNotFound:
                client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def _absolute(job: Job) -> Job:
    changes: dict[str, Any] = {"out": str(Path(job.out_path).expanduser().absolute()), "schedule": None}
    if "://" not in job.source:
        changes["source"] = str(Path(job.source).expanduser().absolute())
    return job.model_copy(update=changes)
