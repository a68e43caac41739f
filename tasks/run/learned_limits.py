"""What a run learned of its provider, kept for later runs: the pace it takes, and how long it is silent.

It is stored while the run goes on, because a run that is killed stores nothing at its end, and the next one would have
to find the limit again, and would wait for a provider that hangs as if nothing were known of it.
"""

from __future__ import annotations

import asyncio

from mediamill.tasks.calls.response_times import to_journal_name
from mediamill.tasks.run.run_context import RunContext

_SECONDS_BETWEEN_STORES = 15.0


async def store_learned_limits(context: RunContext) -> None:
    """Store the state of the run's limiters and its providers' response times, where this process is to keep them.

    Raises:
        StorageError: when the journal fails.
    """
    if not context.keeps_learned:
        return
    learned = context.journal.learned_limits
    for each in {each.limiter_name: each for each in context.list_tries()}.values():
        await learned.store(each.limiter_name, each.limiter.export_state())
        times = each.call_context.hang_detector.times
        await learned.store(to_journal_name(each.limiter_name), times.export_state())


async def store_learned_limits_regularly(context: RunContext) -> None:
    """Store them now and then, until cancelled.

    Raises:
        StorageError: when the journal fails; the run's other writes then fail as well.
    """
    while True:
        await asyncio.sleep(_SECONDS_BETWEEN_STORES)
        await store_learned_limits(context)
