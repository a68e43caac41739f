"""The flow of chains: steps run one after another, each as the flow of its capability."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.runtime import flow_run

from mediamill.flows.prefect_runtime.flow_call import FlowCall, JobRequest, ResultFlow, is_deployed
from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow, to_flow_parameters
from mediamill.flows.prefect_runtime.flow_run_ends import EndRecords
from mediamill.flows.prefect_runtime.job_flow import MAX_API_WAIT_SECONDS
from mediamill.flows.prefect_runtime.monitor import limit_api_retries, wait_for_api
from mediamill.flows.prefect_runtime.notification_blocks import send_to_block
from mediamill.flows.prefect_runtime.offline_exit import finish_unreported
from mediamill.flows.prefect_runtime.states import to_chain_end_state, to_nothing_yet_state, to_refused_state
from mediamill.tasks.errors import MediamillError
from mediamill.tasks.job import Job
from mediamill.tasks.pipeline.chain_out import check_steps, choose_chain_out
from mediamill.tasks.pipeline.quote import format_chain_quote, quote_chain
from mediamill.tasks.pipeline.run import ChainRun, describe_chain
from mediamill.tasks.pipeline.spec import Chain, make_chain
from mediamill.tasks.run.nothing_yet import describe_nothing_yet
from mediamill.tasks.run.notify import RunEnd, notify
from mediamill.tasks.run.run import Run
from mediamill.tasks.summary import Summary
from mediamill.tasks.untrusted_text import escape_controls


def _name_dataset_run() -> str:
    chain = flow_run.parameters.get("chain")
    return f"dataset {chain.get('source', '') if isinstance(chain, dict) else ''}".strip()


def _parse_chain(chain: dict[str, Any]) -> Chain:
    """Run steps over one source; each step's results are the next step's manifest.

    Args:
        chain: source, out, budget and steps, as in a chain's YAML file.
    """
    return make_chain(chain)


def _run_chain_in_flow(request: Callable[[], Chain], call: FlowCall) -> State[Any]:
    """Run a chain inside the current flow run; return the state it ends in."""
    chain: Chain | None = None
    try:
        chain = request()
        if call.request is None:
            _log_quote(chain)
        end = ChainRun(chain, _run_as_subflow).execute()
    except MediamillError as error:
        call.error = error
        message = describe_nothing_yet(error, chain.out_path) if chain is not None and is_deployed() else None
        if message:
            return to_nothing_yet_state(message)
        if chain is not None:
            _tell_end(chain, RunEnd.of_error(error))
        get_run_logger().error("%s", error)
        return to_refused_state(error)
    _tell_end(chain, end.to_run_end())
    call.result = end.as_dict()
    state = to_chain_end_state(end)
    if wait_for_api(time.monotonic() + MAX_API_WAIT_SECONDS):
        call.cleanup.enter_context(limit_api_retries(2))
    else:
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        EndRecords.unreported().write(context.flow_run.id, None, state)
        finish_unreported(context.flow_run, call.cleanup, completed=state.is_completed())
    return state


def _log_quote(chain: Chain) -> None:
    """Log the quote of a paid chain, as nobody has seen one."""
    chain = choose_chain_out(chain).chain
    if any(resolved.is_paid for resolved in check_steps(chain)):
        for line in format_chain_quote(quote_chain(chain), chain.budget):
            get_run_logger().info("%s", escape_controls(line))


def _tell_end(chain: Chain, end: RunEnd) -> None:
    notify(chain.notify, describe_chain(chain), end, send_to_block=send_to_block, warn=get_run_logger().warning)


def _run_as_subflow(name: str, job: Job) -> Summary:
    """Run one step as a subflow run; inline when Prefect does not answer any more."""
    if not wait_for_api(time.monotonic()):
        return Run(job).execute()
    call = FlowCall(request=JobRequest(job), name=f"{name}: {job.capability}", is_scheduled=is_deployed())
    outcome = make_capability_flow(job.capability).call(to_flow_parameters(job), call)
    return outcome.summary if outcome is not None else Run(job).execute()


_parse_chain.__name__ = _parse_chain.__qualname__ = "dataset"  # the name by which a worker imports it
dataset = ResultFlow(_parse_chain, _run_chain_in_flow, name="dataset", flow_run_name=_name_dataset_run)
