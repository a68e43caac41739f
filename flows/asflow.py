"""A run from the command line as a flow run: the same engine in the same process, told to Prefect as it goes."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.batch import Listener
    from flows.watching import Show
    from flows.which import Prefect
    from tasks.job import Job
    from tasks.run import Retry

_PATIENCE = 30.0
"""Seconds somebody at a terminal waits at the end for a Prefect server that is away."""


def run_as_flow(prefect: Prefect, job: Job, retry: Retry | None, show: Show | None, *, debug: bool) -> Listener | None:
    """Run a job as a flow run of this process.

    Returns:
        What came of it; None when Prefect went away before anything was begun.

    Raises:
        MediamillError: what the run itself raised.
    """
    os.environ["PREFECT_API_URL"] = prefect.api
    if not debug:  # the terminal has its own lines; Prefect's go to its server
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    from flows.batch import LISTENER, Listener
    from flows.forms import parameters_of

    listener = Listener(progress=show, patience=_PATIENCE)
    token = LISTENER.set(listener)
    try:
        flow_of(job.capability)(**parameters_of(job, retry), return_state=True)
        listener.told = True
    except Exception:
        if not listener.began:
            return None
        if listener.summary is None and listener.error is None:
            raise
    finally:
        listener.after.close()
        LISTENER.reset(token)
    if listener.error is not None:
        raise listener.error
    return listener


def flow_of(capability: str) -> Any:
    """The flow of a capability, which stands in the file of its name."""
    name = capability.replace("-", "_")
    return getattr(importlib.import_module(f"flows.{name}"), name)
