"""The plan: the source streamed into the journal, each item with its shard, once and for all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from mediamill.tasks import fault_injection
from mediamill.tasks.errors import UsageError

if TYPE_CHECKING:
    from mediamill.tasks.domain import Item
    from mediamill.tasks.journal.items import ShardWork
    from mediamill.tasks.run_context import Context
    from mediamill.tasks.sources import Source

_BATCH = 1000


async def make_plan(context: Context, source: Source) -> list[ShardWork]:
    """Read the source and give every new item its shard.

    Returns:
        The shards that have something to do.

    Raises:
        UsageError: when the source is empty or names the same item twice.
    """
    batches = _batches(source.items(), context.job.limit)
    counts = context.counts
    while batch := await context.engine.thread(next, batches, None):
        if context.stop.why is not None:
            break
        planned = await context.journal.items.plan(batch, context.job.shard_size, refresh=context.job.refresh)
        if planned.duplicates:
            item_id, first, second = planned.duplicates[0]
            raise UsageError(
                f"{context.job.source}: id {item_id!r} stands at item {first + 1} and again at item {second + 1}",
                hint="give every row its own id",
            )
        counts.planned += len(batch)
        counts.skipped += planned.kept
        counts.total += len(batch) - planned.kept
        fault_injection.point("plan.batch.after")
    if not counts.planned and context.stop.why is None:
        raise UsageError(f"{context.job.source}: nothing in it to do")
    return await context.journal.items.shards()


def _batches(items: Iterator[Item], limit: int | None) -> Iterator[list[Item]]:
    return _chunks(islice(items, limit), _BATCH)


def _chunks(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while chunk := list(islice(items, size)):
        yield chunk
