"""The flow of chains: steps one after another, each the flow of its capability."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from mediamill.flows.batch import LISTENER, Listener
from mediamill.flows.prefect_runtime.flow_factory import parameters_of
from mediamill.flows.prefect_runtime.runner import flow_of
from mediamill.tasks.errors import MediamillError
from mediamill.tasks.job import Job
from mediamill.tasks.pipeline.run import ChainRun
from mediamill.tasks.pipeline.spec import make_chain
from mediamill.tasks.summary import Summary


def _name() -> str:
    told = flow_run.parameters.get("chain")
    return f"dataset {told.get('source', '') if isinstance(told, dict) else ''}".strip()


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
    told = f"{end.rows} rows; ${end.spent_usd} in all"
    if end.exit_code == 0:
        return Completed(message=told)
    if end.exit_code == 3:  # noqa: PLR2004 (the exit code of failures)
        return Completed(message=told, name="CompletedWithFailures")
    return Failed(message=end.message or told, name="Stopped")


def _as_subflow(name: str, job: Job) -> Summary:
    """One step as a flow run inside this one."""
    listener = Listener()
    token = LISTENER.set(listener)
    try:
        step = flow_of(job.capability).with_options(flow_run_name=f"{name}: {job.capability}")
        step(**parameters_of(job), return_state=True)
    finally:
        LISTENER.reset(token)
    if listener.error is not None:
        raise listener.error
    assert listener.summary is not None
    return listener.summary
