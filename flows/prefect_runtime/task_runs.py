"""A run's steps as Prefect task runs: seen in the UI, never depended on."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from mediamill.flows.cli.formatting import pluralize
from mediamill.tasks.run import Step
from mediamill.tasks.shard import ShardEnd

T = TypeVar("T")

_log = logging.getLogger("mediamill")
_SHOWN = 32
"""Task runs open at once; shards beyond them are done all the same, and told when a place is free."""
_PATIENCE = 5.0
"""Seconds a step that has ended waits for its task run to have ended, too."""
_ENDED: contextvars.ContextVar[Future[str]] = contextvars.ContextVar("ended")


def _follow() -> State[Any]:
    """Wait for the step this task run stands for, and end as it did."""
    try:
        told = _ENDED.get().result()
    except CancelledError:
        return Cancelled(message="stopped")
    except Exception as error:  # noqa: BLE001 (the run itself raises it; here it is told)
        return Failed(message=f"{type(error).__name__}: {error}")
    return Completed(message=told)


@task(name="plan", task_run_name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan() -> State[Any]:
    """Read the source and give every new item its shard."""
    return _follow()


@task(name="shard", task_run_name="shard {shard}: {items} to do", cache_policy=NO_CACHE, persist_result=False)
def shard(shard: int, items: int) -> State[Any]:  # noqa: ARG001 (shown in the UI)
    """Do a shard's pending items and write its part."""
    return _follow()


@task(name="publish", task_run_name="publish", cache_policy=NO_CACHE, persist_result=False)
def publish() -> State[Any]:
    """Write the bill, the page and the run record."""
    return _follow()


class TaskRuns:
    """Starts each step on the engine and shows it as a task run of the flow run it was made in.

    The work never waits for Prefect, and what Prefect cannot be told is lost to Prefect alone.
    """

    def __init__(self) -> None:
        self._context = contextvars.copy_context()
        self._pool = ThreadPoolExecutor(_SHOWN, thread_name_prefix="task-run")

    async def __call__(self, step: Step, work: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Do ``work`` here, beside a task run that ends as it does."""
        ended: Future[str] = Future()
        context = self._context.copy()
        context.run(_ENDED.set, ended)
        shown = asyncio.get_running_loop().run_in_executor(self._pool, context.run, _show, step)
        try:
            result = await work()
        except asyncio.CancelledError:
            ended.set_exception(CancelledError())
            raise
        except BaseException as error:
            ended.set_exception(error)
            raise
        else:
            ended.set_result(_told(result))
            return result
        finally:
            await asyncio.wait({shown}, timeout=_PATIENCE)

    def close(self) -> None:
        """Give the threads back; task runs that Prefect never took are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _show(step: Step) -> None:
    try:
        if step.name == "shard":
            shard(shard=step.shard or 0, items=step.items or 0)
        else:
            {"plan": plan, "publish": publish}[step.name]()
    except Exception:  # noqa: BLE001 (a failed step raises in the run itself)
        _log.debug("task run %s", step, exc_info=True)


def _told(result: Any) -> str:
    if isinstance(result, ShardEnd):
        parts = [f"{result.done} done", f"{result.failed} failed"]
        return ", ".join([*parts, *([f"{result.left} left"] if result.left else [])])
    if isinstance(result, list):
        return f"{pluralize(len(result), 'shard')} with something to do"
    return ""
