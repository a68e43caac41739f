"""A run from the command line as a flow run: the same engine in the same process, told to Prefect as it goes."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from mediamill.flows.batch import Listener
    from mediamill.flows.cli.progress import Show
    from mediamill.flows.prefect_runtime.api_endpoint import Prefect
    from mediamill.tasks.job import Job
    from mediamill.tasks.run import Retry

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
        os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
        logging.raiseExceptions = False  # nor what it thinks of its own logging when its server is away
    from mediamill.flows.batch import LISTENER, Listener
    from mediamill.flows.prefect_runtime.flow_factory import parameters_of

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


def end_untold(code: int) -> NoReturn:
    """End the process now: what Prefect's client still wants to say to a server that is away would take minutes."""
    from mediamill.tasks.engine import Engine

    Engine.stop_shared()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def flow_of(capability: str) -> Any:
    """The flow of a capability, which stands in the file of its name."""
    name = capability.replace("-", "_")
    return getattr(importlib.import_module(f"mediamill.flows.{name}"), name)
