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
    """Store the state of the run's limiter and its provider's response times.

    Raises:
        StorageError: when the journal fails.
    """
    learned, name = context.journal.learned_limits, context.limiter_name
    await learned.store(name, context.limiter.export_state())
    await learned.store(to_journal_name(name), context.call_context.hang_detector.times.export_state())


async def store_learned_limits_regularly(context: RunContext) -> None:
    """Store them now and then, until cancelled.

    Raises:
        StorageError: when the journal fails; the run's other writes then fail as well.
    """
    while True:
        await asyncio.sleep(_SECONDS_BETWEEN_STORES)
        await store_learned_limits(context)
