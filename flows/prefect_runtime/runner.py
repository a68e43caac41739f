"""A run from the command line as a flow run: the same engine in the same process, told to Prefect as it goes.

Prefect is imported once it is known where its server is: it reads the address from the environment, at import.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, NoReturn

from mediamill.flows.prefect_runtime.server import answers

if TYPE_CHECKING:
    from mediamill.flows.cli.progress import Show
    from mediamill.flows.prefect_runtime.api_endpoint import Prefect
    from mediamill.flows.prefect_runtime.job_flow import FlowOutcome
    from mediamill.tasks.plan import Retry
    from mediamill.tasks.resolved_job import ResolvedJob


def run_as_flow(
    prefect: Prefect, resolved: ResolvedJob, retry: Retry | None, on_progress: Show | None, *, debug: bool
) -> FlowOutcome | None:
    """Run a job as a flow run of this process.

    Returns:
        What came of it; None when Prefect went away before anything was begun.

    Raises:
        MediamillError: what the run itself raised.
    """
    os.environ["PREFECT_API_URL"] = prefect.api
    if not debug:  # the terminal has its own lines; Prefect's go to its server
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
        logging.raiseExceptions = False  # nor what it thinks of its own logging when its server is away
    if not answers(prefect.api):
        return None
    from mediamill.flows.prefect_runtime.flow_factory import capability_flow, parameters_of
    from mediamill.flows.prefect_runtime.job_flow import FlowCall, JobRequest

    call = FlowCall(request=JobRequest(resolved, retry), on_progress=on_progress)
    return capability_flow(resolved.job.capability).call(parameters_of(resolved.job, retry), call)


def end_untold(code: int) -> NoReturn:
    """End the process now: what Prefect's client still wants to say to a server that is away would take minutes."""
    from mediamill.flows.prefect_runtime.leaving import end_process

    end_process(code)
