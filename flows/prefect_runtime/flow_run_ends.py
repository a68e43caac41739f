"""How flow runs ended, kept where Prefect's server cannot lose it, and the states there corrected by it.

While a run holds its OUT, a file in OUT says which flow run shows it, and at its end how it ended. A run whose process
ended before that is looked up in the journal. The next run on OUT corrects what Prefect shows by these files, and
``mediamill up`` what its server missed while it was away.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import TaskRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Completed, Crashed

from mediamill.flows.prefect_runtime.server import UNREPORTED_FOLDER
from mediamill.flows.prefect_runtime.states import to_stopped_state
from mediamill.flows.prefect_runtime.up_state import get_state_path
from mediamill.tasks.errors import MediamillError
from mediamill.tasks.out.status import find_run_end
from mediamill.tasks.system.private_files import make_private_folder, replace_private_file

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_MAX_OPEN_TASKS = 200
"""Maximum task runs that one request to Prefect's API returns; a run has about fifty open at once."""
_OPEN_TYPES = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)


@dataclass(frozen=True, slots=True)
class EndRecords:
    """A folder with a file for each flow run: its mediamill run, and once that ended, its end state.

    Attributes:
        folder: where the files are.
        out: the OUT that the runs worked on; None for flow runs of any.
    """

    folder: Path
    out: Path | None = None

    @classmethod
    def of_out(cls, out: Path) -> EndRecords:
        """The records of the flow runs that worked on an OUT."""
        return cls(out / ".journal" / "untold", out)

    @classmethod
    def unreported(cls) -> EndRecords:
        """The ends that could not be reported to Prefect, of every OUT of this user; for ``mediamill up``."""
        return cls(get_state_path().with_name(UNREPORTED_FOLDER))

    def write(self, flow_run: UUID, run_id: str | None, end: State[Any] | None = None) -> None:
        """Write which run a flow run shows, and how it ended once it has."""
        content: dict[str, Any] = {"run_id": run_id}
        if end is not None:
            content |= {"type": end.type, "name": end.name, "message": end.message}
        with contextlib.suppress(OSError, MediamillError):  # the results are on disk; only the UI may lack their end
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            make_private_folder(self.folder)
            replace_private_file(self._path(flow_run), json.dumps(content))

    def find(self, flow_run: UUID) -> State[Any] | None:
        """How a flow run's run ended, by its file or by the journal; None when it did not end, or nobody knows."""
        try:
            stored = json.loads(self._path(flow_run).read_text(encoding="utf-8"))
            if stored.get("type"):
                return State(type=StateType(stored["type"]), name=stored["name"], message=stored["message"])
            run_id = stored["run_id"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return _find_journals_end(self.out, run_id) if self.out is not None and run_id else None

    def list(self) -> list[UUID]:
        """The flow runs that have a file."""
        return sorted(self._iter_ids())

    def delete(self, flow_run: UUID) -> None:
        """Delete the file of a flow run whose end Prefect has."""
        with contextlib.suppress(OSError):
            self._path(flow_run).unlink(missing_ok=True)

    def _iter_ids(self) -> Iterator[UUID]:
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(ValueError):
                yield UUID(path.stem)

    def _path(self, flow_run: UUID) -> Path:
        return self.folder / f"{flow_run}.json"


def _find_journals_end(out: Path, run_id: str) -> State[Any] | None:
    """The state in which the journal says that a run ended; None when it did not."""
    try:
        found = find_run_end(out, run_id)
    except MediamillError:
        return None
    if found is None:
        return None
    state, summary = found
    counts = f"{summary.get('done', 0)} done, {summary.get('failed', 0)} failed, by the journal"
    match state:
        case "done" | "nothing":
            return Completed(message=counts)
        case "failures":
            return Completed(name="CompletedWithFailures", message=counts)
        case "cancelled":
            return Cancelled(message=f"{counts}; run again to go on")
        case "stopped":
            return to_stopped_state(summary.get("stopped_by"), f"{counts}; stopped: {summary.get('message')}")
    return None


class EndCorrector:
    """Corrects what Prefect shows of flow runs that have ended.

    Args:
        client: of Prefect's API.
        records: how they ended.
    """

    def __init__(self, client: SyncPrefectClient, records: EndRecords) -> None:
        self._client = client
        self._records = records

    def correct_recorded(self, *, started_before: datetime | None = None) -> list[str]:
        """Correct every flow run that has a record; return what was corrected, in words.

        Args:
            started_before: only those that started before this; by default all.
        """
        corrected = []
        for flow_run_id in self._records.list():
            try:
                flow_run = self._client.read_flow_run(flow_run_id)
            except ObjectNotFound:
                self._records.delete(flow_run_id)  # its database is another one now
                continue
            if started_before is not None and (flow_run.start_time or started_before) >= started_before:
                continue
            state = flow_run.state
            if state is None or not state.is_final() or state.is_crashed():
                corrected.append(self.correct(flow_run))
            else:
                self._records.delete(flow_run_id)
        return corrected

    def correct(self, flow_run: FlowRun, continued_by: str | None = None) -> str:
        """Set the state in which a flow run ended, Crashed where it ended in none; return what was done, in words.

        Its task runs first: a flow run in a final state is not found again.
        """
        end = self._records.find(flow_run.id)
        is_crashed = flow_run.state is not None and flow_run.state.is_crashed()
        if not (is_crashed and end is None):
            self._end_task_runs(flow_run, end)
            by = f"; run {continued_by} continues it" if continued_by else ""
            crashed: State[Any] = Crashed(message=f"The process of this run is gone{by}.")
            self._client.set_flow_run_state(flow_run.id, end or crashed, force=True)
        self._records.delete(flow_run.id)
        what_happened = f"ended {end.name} while Prefect was away" if end else "had no process any more"
        return f"run {flow_run.name} {what_happened}"

    def _end_task_runs(self, flow_run: FlowRun, end: State[Any] | None) -> None:
        """End the task runs that Prefect shows as open in a run that has ended, in the state of that run."""
        types = [*_OPEN_TYPES, StateType.CRASHED] if end is not None else [*_OPEN_TYPES]
        task_runs = self._client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id])),
            task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=types))),
            sort=TaskRunSort.EXPECTED_START_TIME_DESC,
            limit=_MAX_OPEN_TASKS,
        )
        kind = end.type if end is not None else StateType.CRASHED
        message = "Its run ended while Prefect was away." if end is not None else "The process of its run is gone."
        for task_run in task_runs:
            self._client.set_task_run_state(task_run.id, State(type=kind, message=message), force=True)
