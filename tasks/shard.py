"""A shard: its pending items through the capability, side by side, then one Parquet part."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from mediamill.tasks import fault_injection
from mediamill.tasks.domain import Answer, Ask, Failure, Item, Outcome, Result
from mediamill.tasks.errors import BadInput, ItemError, MediamillError, RunStopped
from mediamill.tasks.journal.planning import LOST_FILE
from mediamill.tasks.params import row_params
from mediamill.tasks.run_context import Context
from mediamill.tasks.sinks.failures import FailedItem, build_failures_schema, to_failure_row
from mediamill.tasks.sinks.parts import write_part
from mediamill.tasks.sinks.results import CompletedItem, sum_costs, to_result_row

log = logging.getLogger("mediamill")

_MADE_OTHERWISE = (
    "mediamill retry OUT --promote fetches the full version of a preview; --only lost with the --model, --provider or "
    "--set it was made with, any other; both free"
)


_AHEAD = 2
"""Shards open beside the ones that fill the pipeline, so that a slow tail never empties it."""


@dataclass(slots=True)
class ShardEnd:
    """What the pending items of shards came to in this run; ``left`` are those a stop kept from being done."""

    done: int = 0
    failed: int = 0
    left: int = 0

    def __add__(self, other: ShardEnd) -> ShardEnd:
        return ShardEnd(self.done + other.done, self.failed + other.failed, self.left + other.left)


class OpenShards:
    """The shards of one run that are being done: in the order they are asked for, several at once.

    All of it happens on the engine's loop. The first error that is not an item's ends every open shard.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.at_once = _AHEAD + -(-context.gate_size // context.job.shard_size)
        self._slots = asyncio.Semaphore(self.at_once)
        self._open: dict[int, asyncio.Task[ShardEnd]] = {}
        self._error: BaseException | None = None

    async def do(self, shards: Sequence[int]) -> ShardEnd:
        """Do what is pending in these shards; one that is open already is waited for, not begun twice.

        A stop keeps shards that have not begun from beginning.

        Raises:
            StorageError: when the disk or the journal fails.
        """
        whole, running = ShardEnd(), set[asyncio.Task[ShardEnd]]()

        def on_end(task: asyncio.Task[ShardEnd]) -> None:
            nonlocal whole
            running.discard(task)
            if not task.cancelled() and task.exception() is None:
                whole += task.result()

        for shard in shards:
            if (task := await self._begin(shard)) is None:
                break
            running.add(task)
            task.add_done_callback(on_end)
        while running:
            await asyncio.wait(running)
            await asyncio.sleep(0)  # the callbacks of one that had ended before
        if self._error is not None:
            raise self._error
        return whole

    async def end(self) -> None:
        """Cut off every shard that is open; what is on the wire goes on, its reply is kept."""
        for task in (tasks := list(self._open.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self, shard: int) -> asyncio.Task[ShardEnd] | None:
        if shard in self._open:
            return self._open[shard]
        await self._slots.acquire()
        if shard in self._open or self._error is not None or self._context.stop.why is not None:
            self._slots.release()
            return self._open.get(shard)
        task = self._open[shard] = asyncio.create_task(run_shard(self._context, shard))
        task.add_done_callback(lambda ended: self._ended(shard, ended))
        return task

    def _ended(self, shard: int, task: asyncio.Task[ShardEnd]) -> None:
        self._slots.release()
        del self._open[shard]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            error = _cause(error)
            if self._error is None or (
                isinstance(error, MediamillError) and not isinstance(self._error, MediamillError)
            ):
                self._error = error  # ours before others, whatever else broke in its wake
            for other in self._open.values():
                other.cancel()


def _cause(error: BaseException) -> BaseException:
    """The one error to tell of several: ours before others."""
    flat: list[BaseException] = []
    pending = [error]
    while pending:
        one = pending.pop(0)
        if isinstance(one, BaseExceptionGroup):
            pending.extend(one.exceptions)
        else:
            flat.append(one)
    return next((one for one in flat if isinstance(one, MediamillError)), flat[0])


async def run_shard(context: Context, shard: int) -> ShardEnd:
    """Do what is pending in one shard and publish its parts.

    Raises:
        StorageError: when the disk or the journal fails.
    """
    items = await context.journal.items.load_pending(shard)
    end = ShardEnd(left=len(items))
    async with asyncio.TaskGroup() as group:
        for item in items:
            await context.gate.acquire()
            if context.stop.why is not None:
                context.gate.release()
                break
            task = group.create_task(_do_item(context, shard, item, end))
            task.add_done_callback(lambda _: context.gate.release())
    await _publish(context, shard)
    return end


async def _publish(context: Context, shard: int) -> None:
    """Write the shard's parts from the journal and make them count, results before failures."""
    rows, name, out = context.journal.outcomes, f"{shard:06d}", context.out
    thread = context.engine.run_in_thread
    parts = [
        await thread(write_part, out, "results", name, rows.stream_results(shard), context.schema),
        await thread(
            write_part, out, "failures", name, rows.stream_failures(shard), build_failures_schema(context.row_schema)
        ),
    ]
    await context.journal.parts.commit(parts, context.lock.token, shard=shard)
    fault_injection.point("part.commit.after")


async def _do_item(context: Context, shard: int, item: Item, end: ShardEnd) -> None:
    try:
        outcome = await _outcome(context, item)
    except RunStopped as why:
        context.stop.throw(why)
        return
    fault_injection.point("shard.outcome.before")
    await context.journal.outcomes.record(item, shard, outcome, _row(context, item, outcome))
    fault_injection.point("shard.outcome.after")
    counts = context.counts
    end.left -= 1
    if isinstance(outcome, Failure):
        counts.failed += 1
        end.failed += 1
        if item.has_result:
            counts.note_standing(outcome)
    else:
        counts.done += 1
        end.done += 1
        counts.flags.update(outcome.columns.get("flags") or ())
        counts.cached += bool(outcome.columns.get("cached"))
        counts.audio_seconds += Decimal(str(outcome.columns.get("audio_seconds") or 0))


async def _outcome(context: Context, item: Item) -> Outcome:
    """Exactly one Result or Failure, whatever happens to the item."""
    answers: list[Answer] = []

    async def call(ask: Ask) -> Answer:
        answer = await context.caller(ask, known=item.lost_request_key is not None)
        answers.append(replace(answer, data=None))  # what it cost is told at the end; its data may be large
        return answer

    try:
        if item.problem:
            raise BadInput(item.problem, kind="bad_row")
        params = row_params(context.capability, context.job, item, context.params)
        columns = await context.capability.run(item, params, call, context.kit)
        if item.lost_request_key is not None and item.lost_request_key not in {
            answer.request_key for answer in answers
        }:
            raise BadInput("what is asked for is something else", kind="lost")
        if stray := [name for name in columns if context.schema.get_field_index(name) < 0]:
            raise ItemError(
                f"{item.source}: {context.capability.name} gave columns it does not declare: {stray}",
                kind="internal",
                transient=True,
                hint="what was paid is kept; run again once it is mended",
            )
        return Result(item.item_id, to_result_row(_completed(context, item, answers), columns))
    except ItemError as error:
        if error.kind == LOST_FILE:
            error.message = f"{item.source}: its file is lost, and it was made otherwise: {error.message}"
            error.hint = _MADE_OTHERWISE
        return _failure(item, error, answers)
    except (MediamillError, asyncio.CancelledError):
        raise
    except Exception as error:
        log.debug("item %s", item.item_id, exc_info=True)
        message = f"{item.source}: internal error: {type(error).__name__}: {error}"
        return _failure(item, ItemError(message, kind="internal", transient=True, hint="run again"), answers)


def _row(context: Context, item: Item, outcome: Outcome) -> Mapping[str, Any]:
    """The row the part will hold."""
    if isinstance(outcome, Result):
        return outcome.columns
    return to_failure_row(FailedItem(item, context.run_id, outcome))


def _completed(context: Context, item: Item, answers: list[Answer]) -> CompletedItem:
    return CompletedItem(
        item,
        context.run_id,
        capability=context.capability.name,
        provider=context.line.provider.name,
        model=context.kit.model,
        answers=answers,
    )


def _failure(item: Item, error: ItemError, answers: list[Answer]) -> Failure:
    return Failure(
        item.item_id,
        error.kind,
        error.message,
        error.hint,
        error.transient,
        attempts=error.attempts + sum(a.attempts for a in answers),
        status=error.status,
        cost_usd=sum_costs(answers),
    )
