"""What the workers of a run have done, added up in the run's own counts, for its progress and its summary."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal

from mediamill.tasks.run.run_context import PaceNow, RunContext
from mediamill.tasks.summary import FailureGroup
from mediamill.tasks.workers.messages import WorkerState

_MAX_LAST_FAILURES = 3
_SUMMED_COUNTS = ("done", "failed", "cached", "tried_again", "taken_later", "tries_missing", "undecided")
_SUMMED_STATS = (
    "in_flight",
    "sent",
    "retried",
    "rate_limited",
    "cache_hits",
    "claimed_by_others",
    "running_jobs",
    "jobs_ended",
)


class Tally:
    """Keeps the counts of ``context`` equal to the sum of what its workers report."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._states: dict[int, WorkerState] = {}
        self._ended: list[WorkerState] = []

    def report(self, worker: int, state: WorkerState) -> None:
        """Take in a worker's state, in place of its last one."""
        self._states[worker] = state
        self._update()

    def leave(self, worker: int) -> None:
        """Count a worker out: what it has done stays."""
        if (state := self._states.pop(worker, None)) is not None:
            stats = replace(state.stats, in_flight=0, claimed_by_others=0, running_jobs=0)
            self._ended.append(replace(state, stats=stats, counts=replace(state.counts, open_since={})))
            self._update()

    async def count_again(self) -> None:
        """Count by the journal what is done: a worker that died did more than it had told."""
        counts, left = self._context.counts, 0
        for shard in await self._context.journal.items.find_shards_with_work():
            left += shard.pending
        missing = counts.total - counts.failed - left
        counts.done = max(counts.done, missing)

    def _update(self) -> None:
        context, states = self._context, [*self._ended, *self._states.values()]
        counts, stats = context.counts, context.call_context.stats
        parts = [state.counts for state in states]
        for name in _SUMMED_COUNTS:
            setattr(counts, name, sum(getattr(part, name) for part in parts))
        counts.audio_seconds = sum((part.audio_seconds for part in parts), Decimal(0))
        counts.flags = sum((part.flags for part in parts), Counter[str]())
        counts.undecided_example = next((part.undecided_example for part in parts if part.undecided_example), None)
        counts.replacement_failures = _add_groups([part.replacement_failures for part in parts])
        counts.failed_tries = _add_groups([part.failed_tries for part in parts])
        latest = [failure for part in parts[::-1] for failure in part.last_failures]
        counts.last_failures = tuple(latest[:_MAX_LAST_FAILURES])
        open_since = [pair for part in parts for pair in part.open_since.items()]
        counts.open_since = dict(sorted(open_since, key=lambda pair: pair[1]))
        for name in _SUMMED_STATS:
            setattr(stats, name, sum(getattr(state.stats, name) for state in states))
        stats.job_seconds = sum(state.stats.job_seconds for state in states)
        stats.engine = next((state.stats.engine for state in states if state.stats.engine), None)
        stats.simulated = any(state.stats.simulated for state in states)
        context.workers_pace = self._add_paces()

    def _add_paces(self) -> PaceNow:
        """All that may be sent together. An outage or a silence of one is told only where nobody gets through."""
        paces = [state.pace for state in self._states.values()]
        past = [state.pace for state in self._ended]
        rates = [pace.requests_per_second for pace in paces]
        silences = [pace.silent_seconds for pace in paces]
        outages = [pace.outage for pace in paces]
        return PaceNow(
            max_in_flight=sum(pace.max_in_flight for pace in paces),
            requests_per_second=sum(filter(None, rates)) if rates and all(rates) else None,
            silent_seconds=min(filter(None, silences)) if silences and all(silences) else None,
            outage=outages[0] if outages and all(outages) else None,
            outages=max((pace.outages for pace in [*paces, *past]), default=0),
            outage_seconds=max((pace.outage_seconds for pace in [*paces, *past]), default=0.0),
        )


def _add_groups(parts: list[dict[str, FailureGroup]]) -> dict[str, FailureGroup]:
    groups: dict[str, FailureGroup] = {}
    for part in parts:
        for kind, group in part.items():
            known = groups.get(kind)
            groups[kind] = group if known is None else replace(known, count=known.count + group.count)
    return groups
