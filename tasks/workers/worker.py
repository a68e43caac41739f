"""A worker: takes part in a run that another process holds, and does the shards that it is given."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from mediamill.tasks.engine import Engine
from mediamill.tasks.errors import MediamillError, StorageError
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_lock import HeldLock
from mediamill.tasks.money.budget import Budget
from mediamill.tasks.run.create_context import create_context
from mediamill.tasks.run.resolved_job import resolve_job
from mediamill.tasks.run.run_context import RunContext
from mediamill.tasks.run.run_steps import RunCancelled, RunSteps
from mediamill.tasks.run.shard import OpenShards
from mediamill.tasks.run_log import PACKAGE_LOGGER, read_fields
from mediamill.tasks.workers.channel import Channel
from mediamill.tasks.workers.leased_budget import LeasedBudget
from mediamill.tasks.workers.messages import (
    DoShard,
    Failed,
    Finish,
    Finished,
    Logged,
    Money,
    MoneyGranted,
    MoneyRefused,
    ResultStored,
    ShardDone,
    ShardWanted,
    Stop,
    WorkerState,
    WorkerTicket,
)

_STATE_SECONDS = 0.25


class Worker:
    """One worker process's part in a run, on its engine's loop.

    Args:
        ticket: which run, and which part of its limits.
        channel: to the run.
        engine: of this process.
    """

    def __init__(self, ticket: WorkerTicket, channel: Channel, engine: Engine) -> None:
        self._ticket = ticket
        self._channel = channel
        self._engine = engine
        self._stop_told = False
        self._finishing = asyncio.Event()

    async def work(self) -> None:
        """Do shards until the run says that there are no more, or is gone; what is in flight then gets its time."""
        ticket, engine = self._ticket, self._engine
        out = Path(ticket.out)
        resolved = await engine.run_in_thread(resolve_job, ticket.job)
        journal = await engine.run_in_thread(Journal.open, out, ticket.job.journal)
        journal.output.load_id(out)
        journal.join_run(ticket.run_id, ticket.worker)
        budget = LeasedBudget(self._channel.send) if ticket.is_limited else Budget(None)
        binding = journal.output.load_binding()
        context = create_context(
            resolved,
            engine,
            ticket.run_id,
            journal,
            HeldLock(ticket.token),
            binding.root if binding else ticket.job.source,
            share=ticket.share,
            budget=budget,
        )
        context.phase = "run"
        context.started_at = ticket.started_at
        if ticket.tells_results:
            context.listener = self
        context.keeps_learned = ticket.worker == 1
        shards = OpenShards(context)
        shards.on_room = lambda: self._channel.send(ShardWanted())
        steps = RunSteps(context, None, None, shards=shards)
        tasks = [asyncio.create_task(self._tell_state(context)), asyncio.create_task(self._listen(steps))]
        try:
            await self._finishing.wait()
            await steps.leave()
            self._channel.send(Finished(describe_state(context)))
        finally:
            for task in tasks:
                task.cancel()
            await steps.close()

    def on_planned(self, run_id: str) -> None:
        """The run's own process tells that."""

    def on_result(self, item_id: str) -> None:
        """Tell the run of a result."""
        self._channel.send(ResultStored(item_id))

    async def _listen(self, steps: RunSteps) -> None:
        """Do what the run says, for as long as it is there."""
        shards = set[asyncio.Task[None]]()
        for _ in range(steps.shards.max_open):
            self._channel.send(ShardWanted())
        while (message := await self._channel.receive()) is not None:
            if isinstance(message, DoShard):
                task = asyncio.create_task(self._do_shard(steps, message.shard))
                shards.add(task)
                task.add_done_callback(shards.discard)
            elif isinstance(message, (MoneyGranted, MoneyRefused)):
                budget = steps.context.call_context.budget
                assert isinstance(budget, LeasedBudget)
                budget.take(message)
            elif isinstance(message, Stop):
                self._stop_told = True
                steps.context.stop_switch.trigger(message.reason)
            elif isinstance(message, Finish):
                break
        else:
            reason = RunCancelled("the process of the run is gone", hint="run the same command again to go on")
            steps.context.stop_switch.trigger(reason)
        await asyncio.gather(*shards, return_exceptions=True)
        self._finishing.set()

    async def _do_shard(self, steps: RunSteps, shard: int) -> None:
        try:
            result = await steps.do_shards([shard])
        except Exception as error:  # noqa: BLE001 - the run reports it
            if not isinstance(error, MediamillError):
                error = StorageError(f"a worker: {type(error).__name__}: {error}")
            self._channel.send(Failed(error))
        else:
            self._tell_stop(steps.context)
            self._channel.send(ShardDone(shard, result))

    async def _tell_state(self, context: RunContext) -> None:
        while True:
            await asyncio.sleep(_STATE_SECONDS)
            self._channel.send(describe_state(context))
            self._tell_stop(context)

    def _tell_stop(self, context: RunContext) -> None:
        """Tell the run, once, that this worker has met a reason to stop it."""
        reason = context.stop_switch.reason
        if reason is not None and not self._stop_told:
            self._stop_told = True
            self._channel.send(Stop(reason))


def describe_state(context: RunContext) -> WorkerState:
    """What this worker has done so far, and what it does now."""
    counts, call_context, budget = context.counts, context.call_context, context.call_context.budget
    return WorkerState(
        counts=replace(counts, open_since=dict(list(counts.open_since.items())[:1])),
        stats=call_context.stats,
        money=Money(budget.spent, budget.unknown, budget.reserved),
        pace=context.measure_pace(),
    )


class ForwardingHandler(logging.Handler):
    """Sends the records of this process to the run's log. Safe in any thread.

    Args:
        channel: to the run.
        loop: on which the channel is used.
    """

    def __init__(self, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._channel = channel
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        fields = read_fields(record)
        event = str(fields.pop("event", ""))
        message = Logged(record.name, record.levelno, event, record.getMessage(), fields)
        with contextlib.suppress(RuntimeError):  # the loop has ended, and so has the run
            self._loop.call_soon_threadsafe(self._channel.send, message)


async def take_part(channel: Channel, engine: Engine) -> None:
    """Take the ticket that the run sends first, and work; an error that ends the worker is sent to the run."""
    ticket: Any = await channel.receive()
    if not isinstance(ticket, WorkerTicket):
        return  # the run ended before it had begun
    PACKAGE_LOGGER.setLevel(ticket.log_level)
    PACKAGE_LOGGER.addHandler(ForwardingHandler(channel, engine.loop))
    try:
        await Worker(ticket, channel, engine).work()
    except MediamillError as error:
        channel.send(Failed(error))
    finally:
        await channel.flush()
        channel.close()
