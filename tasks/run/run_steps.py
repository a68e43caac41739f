"""The steps of an open run, as coroutines on the engine's loop: plan, shards, publish, close."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from mediamill.tasks import run_log
from mediamill.tasks.calls.pace_exchange import PaceExchange
from mediamill.tasks.errors import (
    AccountStopped,
    BudgetReached,
    ProviderDown,
    RunStopped,
    StorageError,
    TooManyFailures,
    UsageError,
)
from mediamill.tasks.formatting import format_dollars
from mediamill.tasks.journal.items import ShardWork
from mediamill.tasks.run.learned_limits import store_learned_limits, store_learned_limits_regularly
from mediamill.tasks.run.plan import Retry, plan_retry, plan_source
from mediamill.tasks.run.publish import publish_outputs
from mediamill.tasks.run.refused_run import close_refused_run
from mediamill.tasks.run.run_context import RunContext
from mediamill.tasks.run.shard import OpenShards, ShardResult, ShardRunner
from mediamill.tasks.run_log import RUN_LOGGER
from mediamill.tasks.summary import Summary

if TYPE_CHECKING:
    from mediamill.tasks.sources import Source

_STOP_CHECK_SECONDS = 0.25
_DRAIN_SECONDS = 25.0
"""Time that requests in flight get after a stop; together with publishing this stays under the promised 30 s."""
_GONE_DRAIN_SECONDS = 2.0
"""The same where the provider is gone, for requests that may be sent again."""


class RunCancelled(RunStopped):
    """Stopped by a person, a signal, or the end of what started it.

    ``drain_seconds`` is the time that requests in flight get.
    """

    kind = "cancelled"

    def __init__(self, message: str, *, hint: str | None = None, drain_seconds: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.drain_seconds = _DRAIN_SECONDS if drain_seconds is None else drain_seconds


class RunTimedOut(RunStopped):
    """The run's deadline passed."""

    kind = "run_deadline"


class RunSteps:
    """The steps of a run that holds its OUT.

    Args:
        context: the run.
        source: the source of its items; None in a retry.
        retry: which items a retry does again.
        shards: what does the shards; None for this process.
    """

    def __init__(
        self,
        context: RunContext,
        source: Source | None,
        retry: Retry | None,
        *,
        shards: ShardRunner | None = None,
    ) -> None:
        self.context = context
        self.shards: ShardRunner = shards or OpenShards(context)
        self._source = source
        self._retry = retry or Retry()
        self._planned_shards: frozenset[int] = frozenset()
        self._published = False
        self._is_refused = False
        self._deadline_timer = _start_deadline_timer(context)
        self._drain_task: asyncio.Task[None] | None = None
        self._learning_task: asyncio.Task[None] | None = None
        self._is_stop_logged = False

    async def plan(self) -> list[ShardWork]:
        """Plan the run and return the shards with pending items."""
        context, source = self.context, self._source
        self._log_start()
        try:
            shards = await (plan_retry(context, self._retry) if source is None else plan_source(context, source))
        except UsageError:
            self._is_refused = True
            raise
        self._planned_shards = frozenset(shard.shard for shard in shards)
        context.phase = "run"
        if context.listener is not None:
            context.listener.on_planned(context.run_id)
        items = sum(shard.pending for shard in shards)
        message = f"planned: items to do: {items}, in shards: {len(shards)}"
        run_log.write_record(
            RUN_LOGGER, logging.INFO, "planned", message, run_id=context.run_id, items=items, shards=len(shards)
        )
        return shards

    async def do_shards(self, shards: Sequence[int]) -> ShardResult:
        """Do these shards and return what their items came to."""
        if self._drain_task is None:
            self._drain_task = asyncio.create_task(self._drain_once_stopped())
            self._learning_task = asyncio.create_task(store_learned_limits_regularly(self.context))
            for exchange in self._list_pace_exchanges():
                await exchange.begin()
        return await self.shards.run(shards)

    async def do_unfinished(self) -> ShardResult:
        """Do the planned shards that are still pending by the journal."""
        if self.context.stop_switch.reason is not None:
            return ShardResult()
        unfinished = [
            shard.shard
            for shard in await self.context.journal.items.find_shards_with_work()
            if shard.shard in self._planned_shards
        ]
        return await self.do_shards(unfinished)

    async def publish(self) -> Summary:
        """Write the bill, the report page and the run record; return the summary."""
        await self._cancel_timers()
        self._log_stop()
        self.context.phase = "publish"
        await self.shards.return_items()
        summary = await publish_outputs(self.context)
        self._published = True
        self._log_end(summary)
        return summary

    async def leave(self) -> None:
        """End a worker's part in a run that another process publishes."""
        await self.shards.return_items()
        await self._cancel_timers()
        await store_learned_limits(self.context)
        self._published = True

    async def close(self) -> None:
        """Release OUT. A run that broke first stores the replies of its requests in flight: they are paid for."""
        context = self.context
        try:
            if not self._published:
                context.stop_switch.trigger(RunCancelled("the run failed"))
                self._log_stop()
                await self.shards.cancel_all()
                await context.drain(_DRAIN_SECONDS)
            await self._cancel_timers()
        finally:
            if self._is_refused:
                await close_refused_run(
                    context.engine, context.out, context.journal, context.lock, context.run_id, is_new=context.is_new
                )
            else:
                await context.engine.run_in_thread(context.close)

    async def _cancel_timers(self) -> None:
        for gate in self.context.list_gates():
            gate.close()
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        if self._drain_task is not None:
            self._drain_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._drain_task
        if self._learning_task is not None:
            self._learning_task.cancel()
            with contextlib.suppress(asyncio.CancelledError, StorageError):  # other writes report a failing journal
                await self._learning_task
            self._learning_task = None
            for exchange in self._list_pace_exchanges():
                await exchange.end()

    def _list_pace_exchanges(self) -> list[PaceExchange]:
        if self.context.workers_pace is not None:
            return []  # the workers send, and have theirs
        exchanges = (each.pace_exchange for each in self.context.list_tries())
        return list(dict.fromkeys(exchange for exchange in exchanges if exchange is not None))

    async def _drain_once_stopped(self) -> None:
        """Once the run is stopped, give requests in flight their time, then cut them off."""
        while (reason := self.context.stop_switch.reason) is None:
            await asyncio.sleep(_STOP_CHECK_SECONDS)
        self._log_stop()
        seconds = reason.drain_seconds if isinstance(reason, RunCancelled) else _DRAIN_SECONDS
        is_gone = isinstance(reason, ProviderDown)
        await self.context.drain(seconds, _GONE_DRAIN_SECONDS if is_gone else None)

    def _log_start(self) -> None:
        context = self.context
        name, provider = context.capability.name, context.call_context.provider.name
        model, out = context.capability_context.model, str(context.out)
        fields = {"run_id": context.run_id, "capability": name, "provider": provider, "model": model, "out": out}
        message = f"run {context.run_id} of {name} begins: {provider} {model} -> {out}"
        run_log.write_record(RUN_LOGGER, logging.INFO, "run_started", message, **fields)

    def _log_stop(self) -> None:
        """Log, once, why the run is ending. What a provider said may repeat what was sent: it is left out.

        It is called from the run's own steps, because a signal handler that stops a run must not log.
        """
        reason = self.context.stop_switch.reason
        if reason is None or self._is_stop_logged:
            return
        self._is_stop_logged = True
        cause = reason.kind if isinstance(reason, (AccountStopped, ProviderDown, TooManyFailures)) else reason.message
        message = f"run {self.context.run_id} stops: {cause}" + (f"; {reason.hint}" if reason.hint else "")
        fields = {"run_id": self.context.run_id, "kind": reason.kind}
        run_log.write_record(RUN_LOGGER, logging.WARNING, "run_stopped", message, **fields)

    def _log_end(self, summary: Summary) -> None:
        run_id, counts = self.context.run_id, f"{summary.done} done, {summary.failed} failed"
        fields = {"run_id": run_id, "state": summary.state, "done": summary.done, "failed": summary.failed}
        message = f"run {run_id} ends, {summary.state}: {counts}"
        run_log.write_record(RUN_LOGGER, logging.INFO, "run_ended", message, **fields)


def _start_deadline_timer(context: RunContext) -> asyncio.TimerHandle | None:
    """Stop the run when its deadline passes, or when the endpoint's time has used up what was left of the budget."""
    seconds = context.job.run_deadline
    reason: RunStopped = RunTimedOut(
        f"the run deadline of {seconds or 0:g} s passed", hint="run the same command again to go on"
    )
    paid_seconds = _paid_endpoint_seconds(context)
    if paid_seconds is not None and (seconds is None or paid_seconds < seconds):
        hint = "raise --budget to go on; an endpoint costs by the hour until it is stopped"
        seconds, reason = (
            paid_seconds,
            BudgetReached(f"the budget of {format_dollars(context.job.budget)} is used up", hint=hint),
        )
    if seconds is None:
        return None
    return asyncio.get_running_loop().call_later(seconds, context.stop_switch.trigger, reason)


def _paid_endpoint_seconds(context: RunContext) -> float | None:
    """Seconds of a dedicated endpoint that the rest of the budget pays for; None without an endpoint or a budget."""
    hourly, budget = context.job.endpoint_hourly, context.job.budget
    if not hourly or budget is None:
        return None
    spent = sum(
        (Decimal(summary["endpoint_usd"]) for _, summary in context.journal.runs.load_endpoint_runs()), Decimal(0)
    )
    return max(float((budget - spent) / hourly * 3600), 0.0)
