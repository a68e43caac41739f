"""The Prefect states in which runs end."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.objects import State, StateType
from prefect.states import Cancelled, Completed, Failed

from mediamill.flows.cli.formatting import pluralize
from mediamill.flows.cli.output import format_counts, format_total_spent
from mediamill.tasks.errors import OutputBusy
from mediamill.tasks.private_files import make_private_folder, replace_private_file
from mediamill.tasks.untrusted_text import escape_controls

if TYPE_CHECKING:
    from mediamill.tasks.errors import MediamillError
    from mediamill.tasks.pipeline.result import ChainResult
    from mediamill.tasks.summary import Summary

_EXIT_WITH_FAILURES = 3
"""Exit code of a run that finished with failed items."""


def to_end_state(summary: Summary) -> State[Any]:
    """The state in which a run ends.

    Completed when it finished, under a name of its own when items failed; Cancelled when a person or a signal stopped
    it; Failed when an account, a budget, a deadline or a provider did. A Completed state carries the summary as plain
    values, which a call of the flow from Python returns.
    """
    counts = format_counts(summary)
    if summary.state == "cancelled":
        return Cancelled(message=f"{counts}; run again to go on")
    if summary.state == "stopped":
        hint = f" ({summary.hint})" if summary.hint else ""
        return Failed(message=escape_controls(f"{counts}; stopped: {summary.message}{hint}"))
    name = "CompletedWithFailures" if summary.state == "failures" else "Completed"
    return Completed(name=name, message=counts, data=summary.as_dict())


def to_chain_end_state(end: ChainResult) -> State[Any]:
    """The state in which a chain ends, as :func:`to_end_state` describes for a run."""
    counts = f"{pluralize(end.rows, 'row')}; {format_total_spent(end)}"
    if any(summary.state == "cancelled" for step in end.steps for summary in step.runs.values()):
        return Cancelled(message=f"{counts}; run again to go on")
    if end.exit_code not in (0, _EXIT_WITH_FAILURES):
        return Failed(message=escape_controls(f"{counts}; stopped: {end.message}"))
    name = "CompletedWithFailures" if end.exit_code == _EXIT_WITH_FAILURES else "Completed"
    return Completed(name=name, message=counts, data=end.as_dict())


def to_refused_state(error: MediamillError) -> State[Any]:
    """Failed, with the error's message; a call of the flow from Python raises the error itself."""
    name = "OutBusy" if isinstance(error, OutputBusy) else "Failed"
    return Failed(name=name, message=escape_controls(str(error)), data=error)


def to_caught_up_state(superseding: str) -> State[Any]:
    """Cancelled, because another run does the work of this one."""
    return Cancelled(name="CaughtUp", message=f"Caught up by run {superseding}.")


def save_unreported_state(out: Path, flow_run: UUID, state: State[Any]) -> None:
    """Store in OUT the end state that could not be reported to Prefect; the next run there reports it."""
    with contextlib.suppress(OSError):  # the results are on disk; only the UI lacks it
        file = _get_unreported_state_path(out, flow_run)
        make_private_folder(file.parent)
        replace_private_file(file, json.dumps({"type": state.type, "name": state.name, "message": state.message}))


def load_unreported_state(out: Path, flow_run: UUID) -> State[Any] | None:
    """Load the end state of a flow run that was not reported to Prefect; None when there is none."""
    try:
        stored = json.loads(_get_unreported_state_path(out, flow_run).read_text())
        return State(type=StateType(stored["type"]), name=stored["name"], message=stored["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def delete_unreported_state(out: Path, flow_run: UUID) -> None:
    """Delete the stored end state, which Prefect has now."""
    with contextlib.suppress(OSError):
        _get_unreported_state_path(out, flow_run).unlink(missing_ok=True)


def _get_unreported_state_path(out: Path, flow_run: UUID) -> Path:
    return out / ".journal" / "untold" / f"{flow_run}.json"
