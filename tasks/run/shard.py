"""Do a shard: run the capability on its pending items, side by side, then write its Parquet parts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

from mediamill.tasks import fault_injection
from mediamill.tasks.domain import Failure, Item, Outcome, Result
from mediamill.tasks.errors import MediamillError, RunStopped
from mediamill.tasks.journal.parts import Part
from mediamill.tasks.run.failures_in_a_row import COUNTED_KINDS
from mediamill.tasks.run.item_record import ItemRecord
from mediamill.tasks.run.run_context import RunContext
from mediamill.tasks.run.run_item import run_item, to_unexpected_failure
from mediamill.tasks.run_log import RUN_LOGGER, clean_text, write_record
from mediamill.tasks.sinks.failures import FailedItem, build_failures_schema, to_failure_row
from mediamill.tasks.sinks.parts import write_part
from mediamill.tasks.sinks.subtitles.write import add_file_names

_EXTRA_OPEN_SHARDS = 2
"""Shards open beyond those that fill the pipeline, so that a slow last item never empties it."""
_FIRST_PART_WAIT_SECONDS, _MAX_PART_WAIT_SECONDS = 30.0, 600.0
"""How long a shard's last items may hold up its parts: then parts without them are written, first and at most."""


@dataclass(slots=True)
class ShardResult:
    """What the pending items of shards came to in this run; a stop leaves ``left`` of them undone."""

    done: int = 0
    failed: int = 0
    left: int = 0

    def __add__(self, other: ShardResult) -> ShardResult:
        return ShardResult(self.done + other.done, self.failed + other.failed, self.left + other.left)


class ShardRunner(Protocol):
    """Does the shards of one run: in this process, or in several."""

    max_open: int

    async def run(self, shards: Sequence[int]) -> ShardResult:
        """Do the pending items of these shards; after a stop no further shard begins."""
        ...

    async def cancel_all(self) -> None:
        """Cancel every open shard. The replies to requests in flight are kept."""
        ...

    async def return_items(self) -> None:
        """Make the items pending again that no failure in a row is to fail."""
        ...


class OpenShards:
    """The open shards of one run: several at once, begun in the order of the calls.

    Everything happens on the engine's loop. The first error that is not an item's ends every open shard. ``on_room`` is
    called when there is room for one more than the ``max_open`` that may be open at first.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self.max_open = _EXTRA_OPEN_SHARDS + -(-context.max_open_items // context.job.shard_size)
        self.on_room: Callable[[], None] = lambda: None
        self._slots = asyncio.Semaphore(self.max_open)
        self._open: dict[int, asyncio.Task[ShardResult]] = {}
        self._error: BaseException | None = None

    async def run(self, shards: Sequence[int]) -> ShardResult:
        """Do the pending items of these shards. A shard that is open already is waited for, not begun twice.

        After a stop no further shard begins.

        Raises:
            StorageError: when the disk or the journal fails.
        """
        total, running = ShardResult(), set[asyncio.Task[ShardResult]]()

        def add_result(task: asyncio.Task[ShardResult]) -> None:
            nonlocal total
            running.discard(task)
            if not task.cancelled() and task.exception() is None:
                total += task.result()

        for shard in shards:
            if (task := await self._start(shard)) is None:
                break
            running.add(task)
            task.add_done_callback(add_result)
        while running:
            await asyncio.wait(running)
            await asyncio.sleep(0)  # let the callbacks run of a task that had ended before
        if self._error is not None:
            raise self._error
        return total

    async def cancel_all(self) -> None:
        """Cancel every open shard. Requests in flight go on, and their replies are kept."""
        for task in (tasks := list(self._open.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def return_items(self) -> None:
        """Make the items pending again that failed in a row which stopped the run, and write their parts without them.

        Where only a new reply helps, the next run asks for one, unless it can read the reply that there is.
        """
        context, row = self._context, self._context.failures_in_a_row
        if not row.is_over_limit:
            return
        for shard, ids in row.items.items():
            context.counts.failed -= await context.journal.items.retry_ids(ids, kinds=COUNTED_KINDS)
            await context.journal.parts.commit(await _write_parts(context, shard), context.lock.token)

    async def _start(self, shard: int) -> asyncio.Task[ShardResult] | None:
        if shard in self._open:
            return self._open[shard]
        await self._slots.acquire()
        if shard in self._open or self._error is not None or self._context.stop_switch.reason is not None:
            self._slots.release()
            return self._open.get(shard)
        release_slot = _once(self._make_room)
        task = self._open[shard] = asyncio.create_task(run_shard(self._context, shard, release_slot))
        task.add_done_callback(lambda _: release_slot())
        task.add_done_callback(lambda ended: self._on_shard_end(shard, ended))
        return task

    def _make_room(self) -> None:
        self._slots.release()
        self.on_room()

    def _on_shard_end(self, shard: int, task: asyncio.Task[ShardResult]) -> None:
        del self._open[shard]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            error = _choose_cause(error)
            if self._error is None or (
                isinstance(error, MediamillError) and not isinstance(self._error, MediamillError)
            ):
                self._error = error  # an error of ours wins over the others that followed from it
            for other in self._open.values():
                other.cancel()


def _once(call: Callable[[], None]) -> Callable[[], None]:
    """The function, which does nothing from its second call on."""
    calls = [call]
    return lambda: calls.pop()() if calls else None


def _choose_cause(error: BaseException) -> BaseException:
    """The error to report of a group: the first of ours, else the first."""
    errors: list[BaseException] = []
    pending = [error]
    while pending:
        current = pending.pop(0)
        if isinstance(current, BaseExceptionGroup):
            pending.extend(current.exceptions)
        else:
            errors.append(current)
    return next((each for each in errors if isinstance(each, MediamillError)), errors[0])


async def run_shard(context: RunContext, shard: int, on_all_begun: Callable[[], None]) -> ShardResult:
    """Do the pending items of one shard and publish its parts.

    Args:
        context: the run.
        shard: its number.
        on_all_begun: called once no item is left to begin: from then on it fills the pipeline no more, and the next
            shard may begin, however long its last items wait for their retries.

    Raises:
        StorageError: when the disk or the journal fails.
    """
    items = await context.journal.items.load_pending(shard)
    result, tasks = ShardResult(left=len(items)), set[asyncio.Task[None]]()
    async with asyncio.TaskGroup() as group:
        for item in items:
            await context.item_slots.acquire()
            if context.stop_switch.reason is not None:
                context.item_slots.release()
                break
            task = group.create_task(_do_item(context, shard, item, result))
            task.add_done_callback(lambda _: context.item_slots.release())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        del items
        on_all_begun()
        await _publish_without_last(context, shard, tasks, result)
    await context.journal.parts.commit(await _write_parts(context, shard), context.lock.token, shard=shard)
    fault_injection.failpoint("part.commit.after")
    left = f", {result.left} left" if result.left else ""
    message = f"shard {shard}: {result.done} done, {result.failed} failed{left}"
    fields = {"shard": shard, "done": result.done, "failed": result.failed, "left": result.left}
    write_record(RUN_LOGGER, logging.INFO, "shard_ended", message, run_id=context.run_id, **fields)
    return result


async def _publish_without_last(
    context: RunContext, shard: int, tasks: set[asyncio.Task[None]], result: ShardResult
) -> None:
    """Publish what a shard has while its last items, of ``tasks``, take long; it stays dirty, as more will come."""
    wait, published = _FIRST_PART_WAIT_SECONDS, 0
    while tasks:
        await asyncio.wait(tasks, timeout=wait)
        ended = result.done + result.failed
        if tasks and ended > published:
            await context.journal.parts.commit(await _write_parts(context, shard), context.lock.token)
            published, wait = ended, min(2 * wait, _MAX_PART_WAIT_SECONDS)


async def _write_parts(context: RunContext, shard: int) -> list[Part]:
    """Write the shard's parts from the journal, results before failures."""
    rows, name, out = context.journal.outcomes, f"{shard:06d}", context.out
    thread = context.engine.run_in_thread
    results = add_file_names(rows.stream_results(shard), context.subtitles, context.schema)
    return [
        await thread(write_part, out, "results", name, results, context.schema),
        await thread(
            write_part, out, "failures", name, rows.stream_failures(shard), build_failures_schema(context.row_schema)
        ),
    ]


async def _do_item(context: RunContext, shard: int, item: Item, result: ShardResult) -> None:
    with context.capability_context.open_record(item) as record, _count_as_open(context, item):
        try:
            item, outcome = await run_item(context, item, record)
        except RunStopped as reason:
            context.stop_switch.trigger(reason)
            if record.preparations or record.requests:
                await context.journal.outcomes.record_preparation(item, record.as_dict(context.run_id, None))
            return
    context.failures_in_a_row.add(item, shard, record.first_failure or outcome, record.find_last_sent())
    try:
        await _record_outcome(context, shard, item, outcome, record)
    except MemoryError as error:
        cost = outcome.cost_usd if isinstance(outcome, Failure) else outcome.columns.get("cost_usd")
        outcome = replace(to_unexpected_failure(item, error, []), cost_usd=cost)
        await _record_outcome(context, shard, item, outcome, record)
    fault_injection.failpoint("shard.outcome.after")
    _log_outcome(context, item, outcome)
    counts = context.counts
    result.left -= 1
    if isinstance(outcome, Failure):
        counts.failed += 1
        counts.add_last_failure(outcome)
        result.failed += 1
        if item.has_result:
            counts.add_replacement_failure(outcome)
    else:
        counts.done += 1
        result.done += 1
        if context.listener is not None:
            context.listener.on_result(item.item_id)
        counts.add_tries(outcome)
        counts.flags.update(outcome.columns.get("flags") or ())
        counts.cached += bool(outcome.columns.get("cached"))
        counts.audio_seconds += Decimal(str(outcome.columns.get("audio_seconds") or 0))


@contextlib.contextmanager
def _count_as_open(context: RunContext, item: Item) -> Iterator[None]:
    context.counts.open_since[item.item_id] = time.monotonic()
    try:
        yield
    finally:
        context.counts.open_since.pop(item.item_id, None)


async def _record_outcome(context: RunContext, shard: int, item: Item, outcome: Outcome, record: ItemRecord) -> None:
    fault_injection.failpoint("shard.outcome.before")
    await context.journal.outcomes.record(
        item, shard, outcome, _to_part_row(context, item, outcome), record.as_dict(context.run_id, outcome)
    )


def _log_outcome(context: RunContext, item: Item, outcome: Outcome) -> None:
    if RUN_LOGGER.isEnabledFor(logging.DEBUG):
        kind = outcome.kind if isinstance(outcome, Failure) else None
        message = f"item {clean_text(item.item_id)}: {f'failed, {kind}' if kind else 'done'}"
        fields = {"run_id": context.run_id, "item": item.item_id, "kind": kind}
        write_record(RUN_LOGGER, logging.DEBUG, "item_ended", message, **fields)


def _to_part_row(context: RunContext, item: Item, outcome: Outcome) -> Mapping[str, Any]:
    """The row that the part will hold for an outcome."""
    if isinstance(outcome, Result):
        return outcome.columns
    return to_failure_row(FailedItem(item, context.run_id, outcome))
