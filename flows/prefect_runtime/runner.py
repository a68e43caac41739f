"""A run of the command line as a flow run, in the same process and on the same engine.

Prefect is imported when the address of its API is known: it reads the address from the environment at import.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, NoReturn

from mediamill.flows.prefect_runtime.server import is_api_up

if TYPE_CHECKING:
    from mediamill.flows.cli.progress import ShowProgress
    from mediamill.flows.prefect_runtime.api_endpoint import PrefectApi
    from mediamill.flows.prefect_runtime.flow_call import FlowOutcome
    from mediamill.tasks.run.plan import Retry
    from mediamill.tasks.run.resolved_job import ResolvedJob


def run_as_flow(
    prefect: PrefectApi, resolved: ResolvedJob, retry: Retry | None, on_progress: ShowProgress | None, *, debug: bool
) -> FlowOutcome | None:
    """Run a job as a flow run of this process.

    Returns:
        The outcome; None when Prefect went away before the run started.

    Raises:
        MediamillError: what the run itself raised.
    """
    prefect.configure_client()
    if not debug:  # the terminal shows our own lines; Prefect's go to its server
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
        logging.raiseExceptions = False  # no tracebacks of its logging either when its server is away
    if not is_api_up(prefect.api):
        return None
    from mediamill.flows.prefect_runtime.flow_call import FlowCall, JobRequest
    from mediamill.flows.prefect_runtime.flow_factory import make_capability_flow, to_flow_parameters

    call = FlowCall(request=JobRequest(resolved, retry), on_progress=on_progress)
    return make_capability_flow(resolved.job.capability).call(to_flow_parameters(resolved.job, retry), call)


def exit_unreported(code: int) -> NoReturn:
    """Exit now: Prefect's client would retry for minutes what it still has to send to a server that is away."""
    from mediamill.flows.prefect_runtime.offline_exit import end_process

    end_process(code)
