"""The link between a run and its flow run: it takes a Cancel from the UI, and shows the run's progress and end there.

Nothing depends on Prefect: while its API is away the work goes on, and one log line says so.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from mediamill.flows.prefect_runtime.artifacts import ProgressArtifact
from mediamill.flows.prefect_runtime.flow_run_ends import EndCorrector, EndRecords
from mediamill.flows.prefect_runtime.states import to_caught_up_state
from mediamill.tasks.formatting import pluralize
from mediamill.tasks.untrusted_text import escape_controls

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from mediamill.tasks.job import Job
    from mediamill.tasks.run.run import Run
    from mediamill.tasks.summary import Progress, Summary

_POLL_SECONDS = 2.0
"""Seconds between two polls, and so the maximum time until a Cancel in the UI is noticed."""
_EARLY_POLL_SECONDS = 0.2
"""Seconds between two polls of a run that does not hold its OUT yet."""
_MAX_BUSY_EXIT_TIME = timedelta(minutes=1)
"""Maximum time that a run takes to end when it finds its OUT held by another."""
_LAST_POLL_SECONDS = 2.0
"""Maximum seconds of the last poll: a server that hangs must not delay the run's end."""
REQUEST_TIMEOUT_SECONDS = 5.0
"""Maximum seconds of one request to Prefect's API."""
_HEALTH_TIMEOUT_SECONDS = 2.0
_MAX_OPEN_TASKS = 200
"""Maximum task runs that one request to Prefect's API returns; a run has about fifty open at once."""
_MAX_ERROR_CHARACTERS = 200
"""Maximum characters of a Prefect error in a log line."""


class Monitor:
    """Keeps a flow run and its run in step, from a thread of its own.

    Args:
        job: the job of the run.
        provider: name of the provider.
    """

    def __init__(self, job: Job, provider: str) -> None:
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        self.flow_run: FlowRun = context.flow_run
        self.progress_artifact = ProgressArtifact(job.out_path)
        self._log = get_run_logger()
        self._title = escape_controls(f"{job.capability} {Path(job.source).name or job.source}")
        self._out_folder = Path(job.out_path).expanduser().absolute()
        self._out_tag = f"out:{sha256(str(self._out_folder).encode()).hexdigest()[:12]}"
        self._holder_tag = f"{self._out_tag}:held"
        self._tags = {"mediamill", job.capability, f"provider:{provider}", self._out_tag}
        self._client: SyncPrefectClient = get_client(
            sync_client=True, httpx_settings={"timeout": REQUEST_TIMEOUT_SECONDS}
        )
        self._progress: Progress | None = None
        self._run_over = threading.Event()
        self._is_named = False
        self._has_corrected_others = False
        self._away_since: float | None = None

    def record_progress(self, progress: Progress) -> None:
        """Store the run's progress; the next poll shows it."""
        self._progress = progress

    @contextlib.contextmanager
    def follow(self, run: Run) -> Iterator[None]:
        """Poll the flow run of ``run`` while the block runs."""
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(self._poll_until_over, run), name="prefect-link", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            self._run_over.set()
            thread.join(_LAST_POLL_SECONDS)

    def choose_wait_end(self, work_ended: float, max_seconds: float) -> float:
        """Until when the end of the work waits for Prefect's API: one that has been away for long gets one more try.

        Args:
            work_ended: when the work ended, in the time of :func:`time.monotonic`.
            max_seconds: that an API may be away.
        """
        return (work_ended if self._away_since is None else self._away_since) + max_seconds

    def find_superseding_run(
        self, *, by: Sequence[StateType] = (StateType.COMPLETED,), earlier: bool = False
    ) -> str | None:
        """The name of a run of the same deployment and parameters that started after this one was due; else None.

        After missed nights several runs are due at once; one of them is enough.

        Args:
            by: the states that such a run may be in.
            earlier: it must have started before this one, so that no two runs give way to each other.
        """
        due_time = self.flow_run.expected_start_time
        if self.flow_run.deployment_id is None or due_time is None:
            return None
        try:
            with limit_api_retries(0):
                until = self.flow_run.start_time if earlier else None
                found = self._find_same_runs(
                    state=_make_state_filter(*by), start_time=FlowRunFilterStartTime(after_=due_time, before_=until)
                )
        except Exception:  # noqa: BLE001 (one run too many costs nothing)
            return None
        return found[0].name if found else None

    def show_end(self, summary: Summary) -> None:
        """Show the run's end in the flow run's name and progress."""
        self._correct_other_runs()
        item_count = pluralize(summary.total, "item") if summary.total else "nothing new"
        self._client.set_flow_run_name(self.flow_run.id, f"{self._title}: {item_count}")
        self.progress_artifact.finish(summary)

    def _poll_until_over(self, run: Run) -> None:
        while True:
            try:
                with limit_api_retries(0):
                    self._poll(run)
            except Exception as error:  # noqa: BLE001 (an outage of Prefect is not one of the run)
                if self._away_since is None:
                    self._away_since = time.monotonic()
                    reason = str(error).splitlines()[0][:_MAX_ERROR_CHARACTERS] if str(error) else type(error).__name__
                    self._log.warning("Prefect's API fails (%s); the work goes on", reason)
            else:
                if self._away_since is not None:
                    self._away_since = None
                    self._log.info("Prefect's API answers again")
            if self._run_over.wait(_EARLY_POLL_SECONDS if self._progress is None else _POLL_SECONDS):
                return

    def _poll(self, run: Run) -> None:
        state = self._client.read_flow_run(self.flow_run.id).state
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            run.stop("cancelled in Prefect")
        progress = self._progress
        if progress is None:
            return
        # Progress comes only from a run that holds its OUT.
        self._tag_as_holder()
        self._correct_other_runs()
        if progress.phase != "plan" and not self._is_named:
            self._client.set_flow_run_name(self.flow_run.id, f"{self._title}: {pluralize(progress.total, 'item')}")
            self._is_named = True
        self.progress_artifact.update(progress)

    def tag_run(self) -> None:
        """Tag the flow run with its OUT, by which a later run finds it if it is killed."""
        with limit_api_retries(0), contextlib.suppress(Exception):
            self._add_tags()

    def _tag_as_holder(self) -> None:
        """Tag the flow run, once, as one that held its OUT: when another run holds it, this one has ended."""
        if self._holder_tag not in self._tags:
            self._add_tags(self._holder_tag)
            self._tags.add(self._holder_tag)

    def _add_tags(self, *more: str) -> None:
        self._client.update_flow_run(self.flow_run.id, tags=sorted({*self._tags, *more, *(self.flow_run.tags or ())}))

    def _correct_other_runs(self) -> None:
        """Correct, once, the states in Prefect of other runs on this OUT."""
        if not self._has_corrected_others:
            self._mark_crashed_runs()
            self._cancel_missed_runs()
            self._has_corrected_others = True

    def _mark_crashed_runs(self) -> None:
        """Mark earlier runs on this OUT that Prefect shows as running: one run at a time holds it, so they have ended.

        A run that never held it may be about to give way. One that ended while Prefect was away has its end on record
        in OUT, or in the journal; so has one that Prefect shows as crashed although it ended.
        """
        corrector = EndCorrector(self._client, EndRecords.of_out(self._out_folder))
        began = self.flow_run.start_time or datetime.now(UTC)
        grace_start = datetime.now(UTC) - _MAX_BUSY_EXIT_TIME
        for other in self._find_other_runs(
            tags=FlowRunFilterTags(all_=[self._out_tag]),
            state=_make_state_filter(StateType.RUNNING, StateType.CANCELLING),
            start_time=FlowRunFilterStartTime(before_=began),
        ):
            if self._holder_tag not in other.tags and (other.start_time or grace_start) > grace_start:
                continue
            self._log.info("%s; this run continues it", corrector.correct(other, self.flow_run.name))
        for what_happened in corrector.correct_recorded(started_before=began):
            self._log.info("%s", what_happened)

    def _cancel_missed_runs(self) -> None:
        """Cancel runs with the same parameters that were due before this one started: this one does all that is new."""
        if self.flow_run.deployment_id is None:
            return
        began = self.flow_run.start_time or datetime.now(UTC)
        for other in self._find_same_runs(
            state=_make_state_filter(StateType.SCHEDULED, StateType.PENDING),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=began),
        ):
            self._client.set_flow_run_state(other.id, to_caught_up_state(self.flow_run.name), force=True)
            self._log.info("missed run %s is caught up by this run", other.name)

    def _find_same_runs(self, **filters: Any) -> list[FlowRun]:
        """Find other runs of this deployment with the same parameters."""
        assert self.flow_run.deployment_id is not None
        same_deployment = FlowRunFilterDeploymentId(any_=[self.flow_run.deployment_id])
        return [
            run
            for run in self._find_other_runs(deployment_id=same_deployment, **filters)
            if run.parameters == self.flow_run.parameters
        ]

    def _find_other_runs(self, **filters: Any) -> list[FlowRun]:
        flow_runs = self._client.read_flow_runs(
            flow_run_filter=FlowRunFilter(**filters), sort=FlowRunSort.START_TIME_DESC
        )
        return [run for run in flow_runs if run.id != self.flow_run.id]


def wait_for_api(deadline: float) -> bool:
    """Wait until Prefect's API answers, so that a run's end can be reported; False when it does not.

    Args:
        deadline: when to give up, in the time of :func:`time.monotonic`; it is tried once in any case.
    """
    settings = {
        "timeout": _HEALTH_TIMEOUT_SECONDS,
        "transport": httpx.HTTPTransport(),
    }  # does not reconnect
    client = get_client(sync_client=True, httpx_settings=settings)
    with limit_api_retries(0), client:
        while client.api_healthcheck() is not None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_EARLY_POLL_SECONDS)
    return True


def limit_api_retries(retries: int) -> contextlib.AbstractContextManager[Any]:
    """Limit the retries of a request by Prefect's client; its default goes on for a minute when nobody answers."""
    return temporary_settings({PREFECT_CLIENT_MAX_RETRIES: retries})


def _make_state_filter(*types: StateType) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))
