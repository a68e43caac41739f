"""How a run ended, in words for Python: whether anything is amiss, and the next step."""

from __future__ import annotations

from typing import NamedTuple

from mediamill.tasks.formatting import pluralize
from mediamill.tasks.pipeline.result import ChainResult
from mediamill.tasks.summary import State, Summary


class Trouble(NamedTuple):
    """What is amiss at the end of a run."""

    message: str
    hint: str | None


def find_trouble(end: Summary | ChainResult) -> Trouble | None:
    """What failed or stopped a run; None when all is done."""
    if end.exit_code == 0:
        return None
    summaries = _list_summaries(end)
    if end.message:
        hint = end.hint or next((summary.hint for summary in reversed(summaries) if summary.hint), None)
        return Trouble(f"the run was stopped: {end.message}", hint)
    groups = [group for summary in summaries for group in summary.failures]
    number = sum(group.count for group in groups)
    kinds = ", ".join(f"{group.count} {group.kind}" for group in groups)
    example = f", e.g. {groups[0].example}" if groups else ""
    return Trouble(f"{pluralize(number, 'item')} failed ({kinds}){example}", groups[0].hint if groups else None)


def get_state(end: Summary | ChainResult) -> State:
    """How a run ended, in a word."""
    if isinstance(end, Summary):
        return end.state
    stopped = next((s.state for s in _list_summaries(end) if s.state in ("stopped", "cancelled")), None)
    return stopped or ("failures" if end.exit_code else "done")


def _list_summaries(end: Summary | ChainResult) -> list[Summary]:
    return [end] if isinstance(end, Summary) else [summary for step in end.steps for summary in step.runs.values()]
