"""Deployments: a job file, or all of ``prefect.yaml``, is deployed for Prefect to schedule and a worker to run."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.flows.prefect_runtime import worker_entrypoint
from mediamill.flows.prefect_runtime.deployment_checks import (
    ConfirmReplacement,
    check_workers,
    describe_replaced,
    fill_templates,
    find_needed_variables,
    refuse_missing_blocks,
)
from mediamill.tasks.bounded.files import load_yaml_file
from mediamill.tasks.errors import UsageError
from mediamill.tasks.schedule import Schedule

if TYPE_CHECKING:
    from mediamill.flows.prefect_runtime.api_endpoint import PrefectApi
    from mediamill.tasks.job import Job
    from mediamill.tasks.pipeline.spec import Chain


@dataclass(frozen=True, slots=True)
class CreatedDeployment:
    """A deployment that was created or updated: its name in Prefect, its schedule, and what is to be said of it."""

    name: str
    schedule: Schedule | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeployTarget:
    """Where jobs are deployed.

    Attributes:
        prefect: the API.
        pool: the work pool.
        paused: whether schedules begin paused.
        confirm: has the replacement of another job's deployment confirmed.
    """

    prefect: PrefectApi
    pool: str
    paused: bool
    confirm: ConfirmReplacement


def deploy_job(job: Job, name: str, target: DeployTarget) -> CreatedDeployment:
    """Create or update the deployment of a job.

    Raises:
        UsageError: when the job cannot run on a worker, its deployment would replace another job's and may not, or
            Prefect refuses the schedule.
    """
    from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow, to_flow_parameters
    from mediamill.tasks import capabilities
    from mediamill.tasks.out.out_choice import choose_out
    from mediamill.tasks.run.params import validate_params

    if job.source == "-":
        raise UsageError("a scheduled job cannot read stdin", hint="name a folder, a glob or a manifest as source")
    capability = capabilities.get(job.capability)
    job = choose_out(job, capability, validate_params(capability, job.params)).job
    _refuse_without_consent(name, job, [job])
    changes: dict[str, Any] = {"out": _to_absolute(job.out_path), "schedule": None, "source": _to_absolute(job.source)}
    parameters = to_flow_parameters(job.model_copy(update=changes))
    flow = make_capability_flow(job.capability)
    return _deploy(flow, name, parameters, job, [job], target)


def deploy_chain(chain: Chain, name: str, target: DeployTarget) -> CreatedDeployment:
    """Create or update the deployment of a chain.

    Raises:
        UsageError: as :func:`deploy_job` does.
    """
    from mediamill.flows.dataset import dataset
    from mediamill.tasks.pipeline.chain_out import choose_chain_out

    if chain.source == "-":
        raise UsageError("a scheduled chain cannot read stdin", hint="name a folder, a glob or a manifest as source")
    chain = choose_chain_out(chain).chain
    _check_columns(chain)
    jobs = _list_chain_jobs(chain)
    _refuse_without_consent(name, chain, jobs)
    changes = {"out": str(chain.out_path), "schedule": None, "source": _to_absolute(chain.source)}
    fields = chain.model_copy(update=changes).model_dump(mode="json", exclude_defaults=True)
    return _deploy(dataset, name, {"chain": fields}, chain, jobs, target)


def _check_columns(chain: Chain) -> None:
    """Refuse the names in a chain that are no columns. What only its worker has, a key, and a source are not needed.

    Raises:
        ChainMistakes: with every such name.
    """
    from mediamill.tasks.pipeline.chain_out import check_steps
    from mediamill.tasks.pipeline.mistakes import ChainMistakes

    try:
        check_steps(chain)
    except ChainMistakes:
        raise
    except UsageError:
        return


def _refuse_without_consent(name: str, options: Job | Chain, jobs: Iterable[Job]) -> None:
    """Refuse a deployment that may cost money and has no limit: nobody is there to be asked when it runs.

    A job that names no provider takes the one whose key its worker has.

    Raises:
        UsageError: naming both ways.
    """
    from mediamill.tasks.providers.registry import is_free

    if options.budget is not None or options.confirmed:
        return
    for job in jobs:
        provider = job.provider or ("compatible" if job.base_url else None)
        if provider is None or not is_free(provider):
            what = f"runs at {provider}" if provider else "names no provider and runs at one whose key its worker has"
            raise UsageError(
                f"{name}: it {what}, which may cost money, and it has no budget",
                hint="write into the file budget: USD, or confirmed: true to run without a limit (--yes here says so); "
                "or provider: local, which is free",
            )


def _deploy(
    flow: Any,
    name: str,
    parameters: dict[str, Any],
    options: Job | Chain,
    jobs: Sequence[Job],
    target: DeployTarget,
) -> CreatedDeployment:
    """Deploy a flow whose runs are processes that drain when their worker is stopped.

    It gets no Prefect concurrency limit: OUT's lock keeps runs apart, and unlike Prefect's slots it is free as soon as
    a killed process is gone. Paths are made absolute: a worker starts each run in a folder of its own.

    Raises:
        UsageError: when it replaces another job's and may not, its worker has no key, or Prefect refuses the schedule.
    """
    from prefect.client.orchestration import get_client
    from prefect.schedules import Cron
    from prefect.types.entrypoint import EntrypointType

    schedule_spec = options.schedule
    try:
        schedule = Cron(schedule_spec.cron, timezone=schedule_spec.timezone) if schedule_spec else None
        deployment = flow.to_deployment(
            name,
            schedule=schedule,
            parameters=parameters,
            tags=["mediamill", flow.name],
            entrypoint_type=EntrypointType.MODULE_PATH,
            work_pool_name=target.pool,
            job_variables={"command": shlex.join([sys.executable, "-m", worker_entrypoint.__name__])},
            paused=target.paused,
        )
    except ValueError as error:
        raise UsageError(f"{name}: {str(error).splitlines()[0]}") from None
    full_name, cron = f"{flow.name}/{name}", schedule_spec.cron if schedule_spec else None
    with get_client(sync_client=True) as client:
        changed = describe_replaced(client, full_name, parameters, cron, target.confirm)
        refuse_missing_blocks(client, options.notify)
        needed = find_needed_variables(jobs, options.notify)
        notes = check_workers(client, target.prefect, target.pool, needed, jobs)
    _create_missing_pools({target.pool})
    deployment.apply()
    return CreatedDeployment(full_name, schedule_spec, (*changed, *_describe_missing_source(jobs[0].source), *notes))


def _describe_missing_source(source: str) -> list[str]:
    path = Path(source).expanduser()
    if "://" in source or any(character in source for character in "*?[") or path.exists():
        return []
    return [f"{source} is not there yet: until it is, runs end as 'nothing yet'"]


def _check_file_deployments(deployments: Iterable[dict[str, Any]]) -> None:
    """Refuse the deployments of our own flows in a prefect.yaml that have no consent, or a wrong schedule."""
    from mediamill.tasks.job_loading import make_job
    from mediamill.tasks.pipeline.spec import make_chain

    for deployment in deployments:
        parameters, name = deployment.get("parameters") or {}, str(deployment.get("name"))
        if not str(deployment.get("entrypoint")).startswith("mediamill.flows."):
            continue
        for each in deployment.get("schedules") or ():
            if each.get("cron"):
                schedule = {"cron": each["cron"], "timezone": each.get("timezone") or "UTC"}
                make_job(name, capability="transcribe", source=".", schedule=schedule)
        if "chain" in parameters:
            chain = make_chain(parameters["chain"], name)
            _refuse_without_consent(name, chain, _list_chain_jobs(chain))
            continue
        fields = {**parameters, **(parameters.get("options") or {}), **(parameters.get("job") or {})}
        given = {key: fields[key] for key in ("provider", "base_url", "budget", "confirmed") if key in fields}
        job = make_job(name, capability="transcribe", source=".", **given)
        _refuse_without_consent(name, job, [job])


def _list_chain_jobs(chain: Chain) -> list[Job]:
    from mediamill.tasks.pipeline.task_job import build_task_job

    tasks = [task.with_changes(change) for step, _, task in chain.tasks() for change in ({}, *step.again)]
    return [build_task_job(chain, task, chain.out_path, None) for task in tasks]


def deploy_file(path: Path, confirm: ConfirmReplacement) -> int:
    """Run ``prefect deploy --all`` on a prefect.yaml; return its exit code.

    Raises:
        UsageError: when the file cannot be used, or a deployment would replace another job's and may not.
    """
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
    _check_file_deployments(contents["deployments"])
    os.environ["PWD"] = str(Path.cwd())  # which prefect.yaml names, and a program that changed its folder need not set
    _confirm_file_replacements(contents["deployments"], confirm)
    _create_missing_pools(pools)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(path)]
    return subprocess.run(command, check=False).returncode  # noqa: S603 (our own interpreter)


def _confirm_file_replacements(deployments: Iterable[dict[str, Any]], confirm: ConfirmReplacement) -> None:
    """Have the replacement of other jobs' deployments confirmed; of our own flows, whose names we know."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for deployment in deployments:
            entrypoint = str(deployment.get("entrypoint"))
            if entrypoint.startswith("mediamill.flows."):
                flow_name = entrypoint.rpartition(".")[2].replace("_", "-")
                parameters = fill_templates(deployment.get("parameters") or {})
                cron = next((each.get("cron") for each in deployment.get("schedules") or ()), None)
                describe_replaced(client, f"{flow_name}/{deployment.get('name')}", parameters, cron, confirm)


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
