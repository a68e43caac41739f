"""The worker processes of one run: started, given shards, asked to stop, and replaced when one dies."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mediamill.tasks.errors import MediamillError, StorageError
from mediamill.tasks.formatting import pluralize
from mediamill.tasks.journal.output_lock import OutputLock
from mediamill.tasks.run.call_setup import choose_concurrency
from mediamill.tasks.run.resolved_job import ResolvedJob
from mediamill.tasks.run.run_context import PaceNow, RunContext
from mediamill.tasks.run.run_steps import RunCancelled
from mediamill.tasks.run.shard import OpenShards, ShardResult
from mediamill.tasks.run_log import PACKAGE_LOGGER, RUN_LOGGER, write_record
from mediamill.tasks.workers.child import Child
from mediamill.tasks.workers.messages import (
    DoShard,
    Failed,
    Finish,
    Finished,
    Logged,
    MoneyResumed,
    MoneyReturned,
    MoneyWanted,
    ResultStored,
    ShardDone,
    ShardWanted,
    Stop,
    WorkerState,
    WorkerTicket,
)
from mediamill.tasks.workers.money_pool import MoneyPool
from mediamill.tasks.workers.tally import Tally

_MAX_DEATHS, _MAX_SHARD_DEATHS = 3, 5
"""How often each worker may die while nothing is done, and workers that began with one shard while no item of it is."""
_STOP_LOOK_SECONDS = 0.1
_MAX_SILENT_SECONDS = 60.0
"""A worker that says nothing for so long stands still: it speaks four times a second."""
_END_SECONDS = 35.0
"""Time that a worker gets to end: what is in flight has 25 s of it."""


class WorkerPool:
    """Does the shards of a run in several processes of this machine. Used on the engine's loop.

    Each worker opens the journal itself, sends with its part of the limits, and writes and commits the parts of its
    shards under the run's fencing token. It holds the file of OUT's lock too, so that no other run begins while one of
    them still works. A worker that dies loses nothing: what it has claimed becomes free, what it was sending unknown,
    and others go on with its shards.

    Args:
        context: the run, of which this process holds OUT.
        resolved: its job.
    """

    def __init__(self, context: RunContext, resolved: ResolvedJob) -> None:
        self._context = context
        self._concurrency = choose_concurrency(resolved)
        self._count = min(context.job.processes, self._concurrency)
        self.max_open = self._count * OpenShards(context).max_open
        self._children: dict[int, Child] = {}
        self._readers: dict[int, asyncio.Task[None]] = {}
        self._starting = asyncio.Lock()
        self._queue: deque[int] = deque()
        self._results: dict[int, asyncio.Future[ShardResult]] = {}
        self._deaths = Counter[int]()
        self._deaths_in_a_row = 0
        self._pending: dict[int, int] = {}  # items by shard at the last death
        self._last_number = 0
        self._error: MediamillError | None = None
        self._stop_task: asyncio.Task[None] | None = None
        self._is_ending = False
        context.workers_pace, context.keeps_learned = PaceNow(), False
        self._money = MoneyPool(context.call_context.budget, self._count, self._send)
        self._tally = Tally(context)
        self._handlers: dict[type, Callable[[Child, Any], None]] = {
            WorkerState: self._take_state,
            ShardWanted: self._take_wish,
            ShardDone: self._take_result,
            MoneyWanted: lambda child, message: self._money.want(child.number, message.usd),
            MoneyReturned: lambda child, message: self._money.take_back(child.number, message.usd, message.money),
            MoneyResumed: lambda child, message: self._money.resume(child.number, message.usd),
            ResultStored: self._tell_result,
            Logged: _write_record_of,
            Stop: lambda _, message: context.stop_switch.trigger(message.reason),
            Failed: lambda _, message: self._fail(message.error),
            Finished: self._take_end,
        }

    async def run(self, shards: Sequence[int]) -> ShardResult:
        """Do the pending items of these shards.

        Raises:
            StorageError: when the disk or the journal fails, or workers die again and again.
        """
        if self._stop_task is None:
            self._stop_task = asyncio.create_task(self._relay_stop())
        for shard in shards:
            if shard not in self._results or self._results[shard].done():
                self._results[shard] = asyncio.get_running_loop().create_future()
                self._queue.append(shard)
        results = [self._results[shard] for shard in shards]
        await self._start_children()
        self._hand_out()
        total = sum([await result for result in results], ShardResult())
        if self._error is not None:
            raise self._error
        return total

    async def cancel_all(self) -> None:
        """Have every worker stop; what is in flight gets its time, and its replies are kept."""
        for child in self._children.values():
            child.channel.send(Stop(RunCancelled("the run failed")))
        await self._end_children()

    async def return_items(self) -> None:
        """End the workers. Each makes its items pending again that no failure in a row is to fail."""
        await self._end_children()
        if self._deaths:
            await self._tally.count_again()

    async def _start_children(self) -> None:
        """Start as many as there is work for."""
        async with self._starting:
            while len(self._children) < self._count and not self._is_stopping():
                if len(self._children) >= len(self._queue) + self._count_open():
                    return
                await self._start_child()

    async def _start_child(self) -> None:
        context, lock = self._context, self._context.lock
        assert isinstance(lock, OutputLock)
        self._last_number += 1
        if self._last_number == 1:
            context.journal.take_turns()
        child = await Child.start(self._last_number, lock.fileno(), context.engine)
        self._children[child.number] = child
        self._money.join(child.number)
        child.channel.send(self._write_ticket(child.number))
        self._readers[child.number] = asyncio.create_task(self._read(child))

    def _write_ticket(self, number: int) -> WorkerTicket:
        context, place = self._context, (number - 1) % self._count
        in_flight = self._concurrency // self._count + (place < self._concurrency % self._count)
        changes = {
            "out": str(context.out),
            "processes": 1,
            "max_memory": max(1, context.job.max_memory // self._count),
            "run_deadline": None,
        }
        return WorkerTicket(
            out=str(context.out),
            run_id=context.run_id,
            token=context.lock.token,
            job=context.job.model_copy(update=changes),
            worker=number,
            share=in_flight / self._concurrency,
            is_limited=context.call_context.budget.limit is not None,
            tells_results=context.listener is not None,
            log_level=PACKAGE_LOGGER.getEffectiveLevel(),
            started_at=context.started_at,
        )

    async def _read(self, child: Child) -> None:
        """Take in what a worker sends until it is gone."""
        while (message := await child.channel.receive()) is not None:
            child.heard_at = time.monotonic()
            self._handlers[type(message)](child, message)
        child.channel.close()
        code = await self._context.engine.run_in_thread(child.process.wait)
        del self._children[child.number]
        self._money.leave(child.number, is_dead=not child.is_finished)
        self._tally.leave(child.number)
        if not child.is_finished:
            await self._take_death(child, code)
        child.errors.close()

    def _take_state(self, child: Child, state: WorkerState) -> None:
        self._tally.report(child.number, state)
        self._money.report(child.number, state.money)

    def _take_wish(self, child: Child, _: ShardWanted) -> None:
        child.room += 1
        self._hand_out()

    def _take_result(self, child: Child, done: ShardDone) -> None:
        child.shards.discard(done.shard)
        self._set_result(done.shard, done.result)
        self._hand_out()

    def _tell_result(self, _: Child, stored: ResultStored) -> None:
        if self._context.listener is not None:
            self._context.listener.on_result(stored.item_id)

    def _take_end(self, child: Child, end: Finished) -> None:
        child.is_finished = True
        self._take_state(child, end.state)

    async def _take_death(self, child: Child, code: int) -> None:
        """Free what a dead worker had claimed, and have its shards done by others."""
        context, how = self._context, child.describe_death(code)
        lost = await context.journal.asks.recover_worker(child.number)
        if self._is_ending or self._error is not None:
            self._set_results(child.shards)
            return
        billed = "may be billed" if context.may_be_billed else "got no answer"
        in_flight = f"; {pluralize(lost, 'request')} in flight {billed}" if lost else ""
        message = f"{how}; others do its {pluralize(len(child.shards), 'shard')}{in_flight}"
        write_record(RUN_LOGGER, logging.WARNING, "worker_died", message, run_id=context.run_id, notice=True)
        await self._count_death(child.shards)
        is_hopeless = self._deaths_in_a_row >= _MAX_DEATHS * self._count
        if is_hopeless or (child.shards and self._deaths[min(child.shards)] >= _MAX_SHARD_DEATHS):
            hint = "what is done is kept; run again with fewer --processes, or without"
            self._fail(StorageError(f"workers died again and again; {how}", hint=hint))
            self._set_results(child.shards)
            return
        self._queue.extendleft(sorted(child.shards, reverse=True))
        try:
            await self._start_children()
        except MediamillError as error:
            self._fail(error)
        self._hand_out()

    async def _count_death(self, shards: set[int]) -> None:
        """Count it against its first shard, and all workers, unless items were done since the last one.

        Its other shards may not have begun.
        """
        work = await self._context.journal.items.find_shards_with_work()
        before, self._pending = self._pending, {shard.shard: shard.pending for shard in work}
        is_progress = not before or sum(self._pending.values()) < sum(before.values())
        self._deaths_in_a_row = 1 if is_progress else self._deaths_in_a_row + 1
        if shards:
            first = min(shards)
            is_same = first in before and self._pending.get(first, 0) >= before[first]
            self._deaths[first] = self._deaths[first] + 1 if is_same else 1

    def _hand_out(self) -> None:
        """Give shards to the workers that have room, evenly: the last ones are not all one worker's."""
        if self._is_stopping():
            self._set_results(self._queue)
            self._queue.clear()
        while self._queue:
            fair = -(-(len(self._queue) + self._count_open()) // self._count)
            able = [child for child in self._children.values() if child.room and len(child.shards) < fair]
            if not able:
                return
            child = min(able, key=lambda each: len(each.shards))
            shard = self._queue.popleft()
            child.room -= 1
            child.shards.add(shard)
            child.channel.send(DoShard(shard))

    def _count_open(self) -> int:
        return sum(len(child.shards) for child in self._children.values())

    def _is_stopping(self) -> bool:
        return self._error is not None or self._context.stop_switch.reason is not None

    def _fail(self, error: MediamillError) -> None:
        """End the run with an error: the first of them is reported."""
        if self._error is None:
            self._error = error
            self._context.stop_switch.trigger(RunCancelled("the run failed"))
            self._hand_out()

    def _set_result(self, shard: int, result: ShardResult) -> None:
        future = self._results.get(shard)
        if future is not None and not future.done():
            future.set_result(result)

    def _set_results(self, shards: Iterable[int]) -> None:
        """Nobody does these shards any more."""
        for shard in shards:
            self._set_result(shard, ShardResult())

    async def _relay_stop(self) -> None:
        """Tell the workers once the run is to end. Until then end each that stands still: it may hold up all others."""
        while (reason := self._context.stop_switch.reason) is None:
            await asyncio.sleep(_STOP_LOOK_SECONDS)
            for child in self._children.values():
                if time.monotonic() - child.heard_at > _MAX_SILENT_SECONDS:
                    child.process.kill()
        for child in self._children.values():
            child.channel.send(Stop(reason))
        self._hand_out()

    async def _end_children(self) -> None:
        """Wait until each worker has put everything into the journal and ended."""
        self._is_ending = True
        for child in self._children.values():
            child.channel.send(Finish())
        readers = list(self._readers.values())
        if readers and (late := (await asyncio.wait(readers, timeout=_END_SECONDS))[1]):
            for child in list(self._children.values()):
                child.process.kill()
            await asyncio.wait(late)
        if self._stop_task is not None:
            self._stop_task.cancel()
        for reader in readers:
            reader.result()

    def _send(self, number: int, message: Any) -> None:
        if (child := self._children.get(number)) is not None:
            child.channel.send(message)


def _write_record_of(_: Child, record: Logged) -> None:
    """Write a worker's record to the log of this process."""
    write_record(logging.getLogger(record.name), record.level, record.event, record.message, **record.fields)
