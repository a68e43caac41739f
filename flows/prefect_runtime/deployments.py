"""Deployments: a job file, or all of ``prefect.yaml``, is deployed for Prefect to schedule and a worker to run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.flows.prefect_runtime import worker_entrypoint
from mediamill.tasks.bounded_files import load_yaml_file
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Schedule

if TYPE_CHECKING:
    from mediamill.tasks.job import Job
    from mediamill.tasks.pipeline.spec import Chain


@dataclass(frozen=True, slots=True)
class CreatedDeployment:
    """A deployment that was created or updated: its name in Prefect and its schedule."""

    name: str
    schedule: Schedule | None


def deploy_job(job: Job, name: str, pool: str, *, paused: bool) -> CreatedDeployment:
    """Create or update the deployment of a job.

    Raises:
        UsageError: when the job cannot run on a worker, or Prefect refuses the schedule.
    """
    from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow, to_flow_parameters

    if job.source == "-":
        raise UsageError("a scheduled job cannot read stdin", hint="name a folder, a glob or a manifest as source")
    changes: dict[str, Any] = {"out": _to_absolute(job.out_path), "schedule": None, "source": _to_absolute(job.source)}
    parameters = to_flow_parameters(job.model_copy(update=changes))
    flow = make_capability_flow(job.capability)
    return _deploy(flow, name, parameters, job.schedule, [job.capability], pool, paused=paused)


def deploy_chain(chain: Chain, name: str, pool: str, *, paused: bool) -> CreatedDeployment:
    """Create or update the deployment of a chain.

    Raises:
        UsageError: when Prefect refuses the schedule.
    """
    from mediamill.flows.dataset import dataset

    changes = {"out": str(chain.out_path), "schedule": None, "source": _to_absolute(chain.source)}
    fields = chain.model_copy(update=changes).model_dump(mode="json", exclude_defaults=True)
    return _deploy(dataset, name, {"chain": fields}, chain.schedule, ["dataset"], pool, paused=paused)


def _deploy(
    flow: Any,
    name: str,
    parameters: dict[str, Any],
    schedule_spec: Schedule | None,
    tags: list[str],
    pool: str,
    *,
    paused: bool,
) -> CreatedDeployment:
    """Deploy a flow whose runs are processes that drain when their worker is stopped.

    It gets no Prefect concurrency limit: OUT's lock keeps runs apart, and unlike Prefect's slots it is free as soon as
    a killed process is gone. Paths are made absolute: a worker starts each run in a folder of its own.

    Raises:
        UsageError: when Prefect refuses the schedule.
    """
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    try:
        schedule = Cron(schedule_spec.cron, timezone=schedule_spec.timezone) if schedule_spec else None
        deployment = flow.to_deployment(
            name,
            schedule=schedule,
            parameters=parameters,
            tags=["mediamill", *tags],
            entrypoint_type=EntrypointType.MODULE_PATH,
            work_pool_name=pool,
            job_variables={"command": shlex.join([sys.executable, "-m", worker_entrypoint.__name__])},
            paused=paused,
        )
    except ValueError as error:
        raise UsageError(f"{name}: {str(error).splitlines()[0]}") from None
    _create_missing_pools({pool})
    deployment.apply()
    return CreatedDeployment(f"{flow.name}/{name}", schedule_spec)


def deploy_file(path: Path) -> int:
    """Run ``prefect deploy --all`` on a prefect.yaml; return its exit code."""
    if not path.exists():
        hint = "name job files: mediamill deploy configs/jobs/nightly.yaml"
        raise UsageError(f"no {path.name} here", hint=hint)
    try:
        contents = load_yaml_file(path)
        pools = {
            deployment["work_pool"]["name"] for deployment in contents["deployments"] if deployment.get("work_pool")
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(
            f"{path.name} is not a prefect.yaml", hint="it must list deployments, each with its work_pool"
        ) from None
    _create_missing_pools(pools)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(path)]
    env = {**os.environ, "PWD": str(Path.cwd())}
    return subprocess.run(command, env=env, check=False).returncode  # noqa: S603 (our own interpreter)


def _create_missing_pools(names: set[str]) -> None:
    """Create process work pools of these names where they do not exist yet."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        for name in names:
            try:
                client.read_work_pool(name)
            except ObjectNotFound:
                client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def _to_absolute(path: str) -> str:
    """A path as an absolute one, which a worker finds from any folder; a URL as it is."""
    return path if "://" in path else str(Path(path).expanduser().absolute())
