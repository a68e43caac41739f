"""The Prefect states in which runs end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from mediamill.flows.cli.formatting import pluralize
from mediamill.flows.cli.output import format_counts, format_total_spent
from mediamill.tasks.errors import OutputBusy
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
