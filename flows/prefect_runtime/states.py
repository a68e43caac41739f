"""The Prefect states in which runs end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from mediamill.flows.cli.output import format_counts, format_total_spent
from mediamill.tasks.errors import OutputBusy, UsageError
from mediamill.tasks.formatting import pluralize
from mediamill.tasks.untrusted_text import escape_controls

if TYPE_CHECKING:
    from mediamill.tasks.errors import MediamillError
    from mediamill.tasks.not_taken import NotTaken
    from mediamill.tasks.pipeline.result import ChainResult
    from mediamill.tasks.summary import Summary

_EXIT_WITH_FAILURES = 3
"""Exit code of a run that finished with failed items."""
LIMIT_NAMES = {"budget": "BudgetReached", "run_deadline": "DeadlineReached"}
"""Names of the Cancelled states of runs that a limit of their own job stopped, by what stopped them."""


def to_end_state(summary: Summary) -> State[Any]:
    """The state in which a run ends.

    Completed when it finished, under a name of its own when items failed; Cancelled when a person or a signal stopped
    it, and under names of their own when its budget or its deadline did, as the job says; Failed when an account or a
    provider did. A Completed state carries the summary as plain values, which a call of the flow from Python returns.
    """
    counts = format_counts(summary) + _format_waiting(summary.not_taken)
    if summary.state == "cancelled":
        return Cancelled(message=f"{counts}; run again to go on")
    if summary.state == "stopped":
        hint = f" ({summary.hint})" if summary.hint else ""
        return to_stopped_state(summary.stopped_by, f"{counts}; stopped: {summary.message}{hint}")
    name = "CompletedWithFailures" if summary.state == "failures" else "Completed"
    return Completed(name=name, message=counts, data=summary.as_dict())


def _format_waiting(not_taken: NotTaken | None) -> str:
    """The files of the source that were too new to be taken, in words; empty where there are none."""
    if not_taken is None or not not_taken.unsettled:
        return ""
    verb = "waits" if not_taken.unsettled == 1 else "wait"
    files = pluralize(not_taken.unsettled, "file")
    return f"; {files} changed less than {not_taken.settle_seconds:g} s ago {verb} for the next run"


def to_chain_end_state(end: ChainResult) -> State[Any]:
    """The state in which a chain ends, as :func:`to_end_state` describes for a run."""
    counts = f"{pluralize(end.rows, 'row')}; {format_total_spent(end)}"
    if any(summary.state == "cancelled" for step in end.steps for summary in step.runs.values()):
        return Cancelled(message=f"{counts}; run again to go on")
    if end.exit_code not in (0, _EXIT_WITH_FAILURES):
        hint = f" ({end.hint})" if end.hint else ""
        return to_stopped_state(end.stopped_by, f"{counts}; stopped: {end.message}{hint}")
    name = "CompletedWithFailures" if end.exit_code == _EXIT_WITH_FAILURES else "Completed"
    return Completed(name=name, message=counts, data=end.as_dict())


def to_stopped_state(stopped_by: str | None, message: str) -> State[Any]:
    """The state of a run that something stopped before its end: Cancelled for a limit of its own job, else Failed."""
    message = escape_controls(message)
    if stopped_by in LIMIT_NAMES:
        return Cancelled(name=LIMIT_NAMES[stopped_by], message=message)
    return Failed(name="Stopped", message=message)


def to_nothing_yet_state(message: str) -> State[Any]:
    """Completed, because the source of a scheduled run is empty or not there yet."""
    return Completed(name="NothingYet", message=escape_controls(message))


def to_refused_state(error: MediamillError) -> State[Any]:
    """Failed, with the error's message; a call of the flow from Python raises the error itself."""
    name = "OutBusy" if isinstance(error, OutputBusy) else "Refused" if isinstance(error, UsageError) else "Failed"
    return Failed(name=name, message=escape_controls(str(error)), data=error)


def to_caught_up_state(superseding: str) -> State[Any]:
    """Cancelled, because another run does the work of this one."""
    return Cancelled(name="CaughtUp", message=f"Caught up by run {superseding}.")


def find_exit_code(state: State[Any]) -> int:
    """The exit code with which a command would have ended that did what a flow run in this final state did."""
    if state.is_completed():
        return _EXIT_WITH_FAILURES if state.name == "CompletedWithFailures" else 0
    if state.is_cancelled():
        return 0 if state.name == "CaughtUp" else 4
    return {"OutBusy": 5, "Refused": 2, "Stopped": 4}.get(state.name or "", 1)
