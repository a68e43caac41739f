"""The flow of chains: steps one after another, each the flow of its capability."""

from __future__ import annotations

import time
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from mediamill.flows.prefect_runtime.flow_factory import capability_flow, parameters_of
from mediamill.flows.prefect_runtime.job_flow import PATIENCE, FlowCall, JobRequest
from mediamill.flows.prefect_runtime.leaving import end_process, is_flow_run_process
from mediamill.flows.prefect_runtime.monitor import wait_for_api
from mediamill.tasks.errors import MediamillError
from mediamill.tasks.job import Job
from mediamill.tasks.pipeline.run import ChainRun
from mediamill.tasks.pipeline.spec import make_chain
from mediamill.tasks.run import Run
from mediamill.tasks.summary import Summary


def _name() -> str:
    chain = flow_run.parameters.get("chain")
    return f"dataset {chain.get('source', '') if isinstance(chain, dict) else ''}".strip()


@flow(name="dataset", flow_run_name=_name, persist_result=False, retries=0)
def dataset(chain: dict[str, Any]) -> State[Any]:
    """Steps over one source, each one's results the next one's manifest.

    Args:
        chain: source, out, budget and steps, as in a chain's YAML file.
    """
    try:
        end = ChainRun(make_chain(chain), _as_subflow).execute()
    except MediamillError as error:
        return Failed(message=str(error), name=type(error).__name__)
    if is_flow_run_process() and not wait_for_api(time.monotonic() + PATIENCE):
        end_process(0 if end.exit_code in (0, 3) else 1)
    counts = f"{end.rows} rows; ${end.spent_usd} in all"
    if end.exit_code == 0:
        return Completed(message=counts)
    if end.exit_code == 3:  # noqa: PLR2004 (the exit code of failures)
        return Completed(message=counts, name="CompletedWithFailures")
    return Failed(message=end.message or counts, name="Stopped")


def _as_subflow(name: str, job: Job) -> Summary:
    """One step as a flow run inside this one; without one when Prefect has gone away."""
    if not wait_for_api(time.monotonic()):
        return Run(job).execute()
    call = FlowCall(request=JobRequest(job), name=f"{name}: {job.capability}")
    outcome = capability_flow(job.capability).call(parameters_of(job), call)
    return outcome.summary if outcome is not None else Run(job).execute()
