"""Do a shard: run the capability on its pending items, side by side, then write its Parquet parts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from mediamill.tasks import fault_injection
from mediamill.tasks.domain import Answer, Ask, Failure, Item, Outcome, Result
from mediamill.tasks.errors import BadInput, ItemError, MediamillError, RunStopped, build_memory_error
from mediamill.tasks.item_record import ItemRecord
from mediamill.tasks.journal.planning import LOST_FILE, OUTDATED
from mediamill.tasks.os_errors import build_os_item_error
from mediamill.tasks.params import resolve_item_params
from mediamill.tasks.run_context import RunContext
from mediamill.tasks.run_log import RUN_LOGGER, clean_text, write_record
from mediamill.tasks.sinks.failures import FailedItem, build_failures_schema, to_failure_row
from mediamill.tasks.sinks.parts import write_part
from mediamill.tasks.sinks.results import CompletedItem, sum_costs, to_result_row

_LOST_FILE_HINT = (
    "mediamill retry OUT --promote fetches the full version of a preview; for any other file give --only lost the "
    "--model, --provider or --set that it came from; both are free"
)


_EXTRA_OPEN_SHARDS = 2
"""Shards open beyond those that fill the pipeline, so that a slow last item never empties it."""


@dataclass(slots=True)
class ShardResult:
    """What the pending items of shards came to in this run; a stop leaves ``left`` of them undone."""

    done: int = 0
    failed: int = 0
    left: int = 0

    def __add__(self, other: ShardResult) -> ShardResult:
        return ShardResult(self.done + other.done, self.failed + other.failed, self.left + other.left)


class OpenShards:
    """The open shards of one run: several at once, begun in the order of the calls.

    Everything happens on the engine's loop. The first error that is not an item's ends every open shard.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self.max_open = _EXTRA_OPEN_SHARDS + -(-context.max_open_items // context.job.shard_size)
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

    async def _start(self, shard: int) -> asyncio.Task[ShardResult] | None:
        if shard in self._open:
            return self._open[shard]
        await self._slots.acquire()
        if shard in self._open or self._error is not None or self._context.stop_switch.reason is not None:
            self._slots.release()
            return self._open.get(shard)
        release_slot = _once(self._slots.release)
        task = self._open[shard] = asyncio.create_task(run_shard(self._context, shard, release_slot))
        task.add_done_callback(lambda _: release_slot())
        task.add_done_callback(lambda ended: self._on_shard_end(shard, ended))
        return task

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
    result = ShardResult(left=len(items))
    async with asyncio.TaskGroup() as group:
        for item in items:
            await context.item_slots.acquire()
            if context.stop_switch.reason is not None:
                context.item_slots.release()
                break
            task = group.create_task(_run_item(context, shard, item, result))
            task.add_done_callback(lambda _: context.item_slots.release())
        del items
        on_all_begun()
    await _publish_parts(context, shard)
    left = f", {result.left} left" if result.left else ""
    message = f"shard {shard}: {result.done} done, {result.failed} failed{left}"
    fields = {"shard": shard, "done": result.done, "failed": result.failed, "left": result.left}
    write_record(RUN_LOGGER, logging.INFO, "shard_ended", message, run_id=context.run_id, **fields)
    return result


async def _publish_parts(context: RunContext, shard: int) -> None:
    """Write the shard's parts from the journal and commit them, results before failures."""
    rows, name, out = context.journal.outcomes, f"{shard:06d}", context.out
    thread = context.engine.run_in_thread
    parts = [
        await thread(write_part, out, "results", name, rows.stream_results(shard), context.schema),
        await thread(
            write_part, out, "failures", name, rows.stream_failures(shard), build_failures_schema(context.row_schema)
        ),
    ]
    await context.journal.parts.commit(parts, context.lock.token, shard=shard)
    fault_injection.failpoint("part.commit.after")


async def _run_item(context: RunContext, shard: int, item: Item, result: ShardResult) -> None:
    with context.capability_context.open_record(item) as record:
        try:
            item, outcome = await _run_or_read_again(context, item, record)
        except RunStopped as reason:
            context.stop_switch.trigger(reason)
            if record.preparations or record.requests:
                await context.journal.outcomes.record_preparation(item, record.as_dict(context.run_id, None))
            return
    try:
        await _record_outcome(context, shard, item, outcome, record)
    except MemoryError as error:
        cost = outcome.cost_usd if isinstance(outcome, Failure) else outcome.columns.get("cost_usd")
        outcome = replace(_to_failure(item, _to_item_error(item, error), []), cost_usd=cost)
        await _record_outcome(context, shard, item, outcome, record)
    fault_injection.failpoint("shard.outcome.after")
    _log_outcome(context, item, outcome)
    counts = context.counts
    result.left -= 1
    if isinstance(outcome, Failure):
        counts.failed += 1
        result.failed += 1
        if item.has_result:
            counts.add_replacement_failure(outcome)
    else:
        counts.done += 1
        result.done += 1
        counts.flags.update(outcome.columns.get("flags") or ())
        counts.cached += bool(outcome.columns.get("cached"))
        counts.audio_seconds += Decimal(str(outcome.columns.get("audio_seconds") or 0))


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


async def _run_or_read_again(context: RunContext, item: Item, record: ItemRecord) -> tuple[Item, Outcome]:
    """Do an item; one that a retry would buy again is first done with the replies that it has, for nothing.

    Returns:
        The item, with the sample that its outcome is of, and the outcome.
    """
    if item.is_read_again:
        before = replace(item, sample=item.sample - 1)
        outcome = await _run_capability(context, before, record, journal_only=True)
        if isinstance(outcome, Result):
            return before, outcome
        record.preparations.clear()
        record.requests.clear()
    return item, await _run_capability(context, item, record, journal_only=item.lost_request_key is not None)


async def _run_capability(context: RunContext, item: Item, record: ItemRecord, *, journal_only: bool) -> Outcome:
    """Run the capability on an item: exactly one Result or Failure, whatever happens."""
    answers: list[Answer] = []

    async def call_and_record(ask: Ask) -> Answer:
        request = record.add_request(ask)
        try:
            answer = await context.caller(ask, journal_only=journal_only)
        except (ItemError, RunStopped) as error:
            request.key, request.error_kind = context.caller.find_key(ask), error.kind
            raise
        request.key, request.cached = answer.request_key, answer.cached
        answers.append(replace(answer, data=None))  # only the cost is needed later, and the data may be large
        return answer

    try:
        if item.problem:
            raise BadInput(item.problem, kind="bad_row")
        params = resolve_item_params(context.capability, context.job, item, context.params, context.row_paths)
        _check_columns(context, item, params)
        columns = await context.capability.run(item, params, call_and_record, context.capability_context)
        if item.lost_request_key is not None and item.lost_request_key not in {
            answer.request_key for answer in answers
        }:
            raise BadInput("its request is another one now", kind="lost")
        if undeclared := [name for name in columns if context.schema.get_field_index(name) < 0]:
            raise ItemError(
                f"{item.source}: {context.capability.name} returned columns it does not declare: {undeclared}",
                kind="internal",
                transient=True,
                hint="what was paid is kept; run again once the capability is fixed",
            )
        return Result(item.item_id, to_result_row(_to_completed(context, item, answers), columns))
    except ItemError as error:
        if error.kind == LOST_FILE:
            _explain_lost(error, item)
        return _to_failure(item, error, answers)
    except (MediamillError, asyncio.CancelledError):
        raise
    except Exception as error:  # noqa: BLE001 (becomes a failure; the log has it)
        return _to_failure(item, _to_item_error(item, error), answers)


def _explain_lost(error: ItemError, item: Item) -> None:
    """Say what it means that the reply for an item that has a result is not in the journal."""
    if item.is_outdated:
        error.kind, error.message = OUTDATED, f"{item.source}: other bytes would be sent for it now; its row stays"
        error.hint = f"mediamill retry OUT --only {OUTDATED} buys it anew"
    else:
        error.message = f"{item.source}: its file is lost, and it came from another request: {error.message}"
        error.hint = _LOST_FILE_HINT


def _to_item_error(item: Item, error: Exception) -> ItemError:
    """What an unexpected error is for the item in whose work it happened."""
    RUN_LOGGER.debug("item %s: internal error", clean_text(item.item_id), exc_info=error)
    if isinstance(error, MemoryError):
        return build_memory_error(f"{item.source}: there was not enough memory for it")
    if isinstance(error, OSError):
        return build_os_item_error(error, item.source)
    message = f"{item.source}: internal error: {type(error).__name__}: {error}"
    return ItemError(message, kind="internal", transient=True, hint="run again")


def _check_columns(context: RunContext, item: Item, params: Any) -> None:
    """Refuse, before anything is paid, a row whose own parameters give columns that the results do not have."""
    if not item.params:
        return
    names = context.capability.schema(params, context.call_context.provider, context.capability_context.model).names
    if undeclared := [name for name in names if context.schema.get_field_index(name) < 0]:
        raise BadInput(
            f"{item.source}: its json_schema has fields that the job's does not have: {', '.join(undeclared)}",
            kind="bad_row",
            hint="give --schema a schema with the fields of all rows",
        )


def _to_part_row(context: RunContext, item: Item, outcome: Outcome) -> Mapping[str, Any]:
    """The row that the part will hold for an outcome."""
    if isinstance(outcome, Result):
        return outcome.columns
    return to_failure_row(FailedItem(item, context.run_id, outcome))


def _to_completed(context: RunContext, item: Item, answers: list[Answer]) -> CompletedItem:
    return CompletedItem(
        item,
        context.run_id,
        capability=context.capability.name,
        provider=context.call_context.provider.name,
        model=context.capability_context.model,
        answers=answers,
    )


def _to_failure(item: Item, error: ItemError, answers: list[Answer]) -> Failure:
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
