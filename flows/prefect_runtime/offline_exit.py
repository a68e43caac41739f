"""The end of a run while Prefect's API is away: what was not sent yet is dropped, so that no exit waits for it."""

from __future__ import annotations

import contextlib
import os
import sys
from contextlib import ExitStack
from typing import NoReturn

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.events.clients import NullEventsClient
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings


def finish_unreported(flow_run: FlowRun, cleanup: ExitStack, *, completed: bool) -> None:
    """End a flow whose end cannot be reported; a process that serves this flow run alone exits at once.

    Args:
        flow_run: the flow run that ends.
        cleanup: closed when the call of the flow is over.
        completed: whether the run completed; a worker takes any other exit code for a crash.
    """
    if flow_run.parent_task_run_id is None:
        if is_flow_run_process():
            end_process(0 if completed else 1)
        _close_client()
    cleanup.enter_context(temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_LOGGING_TO_API_ENABLED: False}))
    EventsWorker.set_client_override(NullEventsClient)
    cleanup.callback(EventsWorker.set_client_override, None)
    drop_unsent_events()


def _close_client() -> None:
    """Let the requests that Prefect's engine still sends for this flow run fail at once, not after a timeout each."""
    context = FlowRunContext.get()
    if context is not None and isinstance(context.client, SyncPrefectClient):
        context.client._client.close()  # noqa: SLF001 (there is no public way to close one that was entered)


def drop_unsent_events() -> None:
    """Drop the events and logs that wait for a server that is away.

    Prefect (3.8) has no function for it: its services retry each event for seconds, and the interpreter waits for all
    of them before it exits.
    """
    from prefect._internal.concurrency import services

    for service in list(services._active_services):  # noqa: SLF001 (see above)
        loop, delivery = service._loop, service._task  # noqa: SLF001
        if loop is not None and delivery is not None:
            loop.call_soon_threadsafe(delivery.cancel)


def end_process(code: int) -> NoReturn:
    """Exit now, without waiting for Prefect's client."""
    from mediamill.tasks.engine import Engine

    Engine.stop_shared()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def is_flow_run_process() -> bool:
    """Whether Prefect started this process for one flow run."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec is not None and spec.name == "prefect.engine"
