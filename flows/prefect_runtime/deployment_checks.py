"""What is looked at before a deployment is created: what it would replace, and its workers' keys."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prefect.exceptions import ObjectNotFound

from mediamill.flows.prefect_runtime.api_endpoint import PrefectApi, find_up_state
from mediamill.flows.prefect_runtime.server import POOL, get_worker_name
from mediamill.tasks.errors import UsageError
from mediamill.tasks.formatting import pluralize
from mediamill.tasks.providers import registry
from mediamill.tasks.system.loopback import is_loopback
from mediamill.tasks.untrusted_text import cut_text, to_single_line

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from mediamill.flows.prefect_runtime.up_state import UpState
    from mediamill.tasks.job import Job
    from mediamill.tasks.notification import Notification

ConfirmReplacement = Callable[[str, Sequence[str]], None]
"""Gets what would be replaced and how it differs, a line each; raises UsageError where it may not be."""

_GROUPS = ("options", "params", "chain", "job")
"""Parameters of flows that hold others."""
_MAX_VALUE_CHARACTERS = 100
_TEMPLATE_VARIABLE = re.compile(r"\{\{\s*\$(\w+)\s*\}\}")


def describe_replaced(
    client: SyncPrefectClient, name: str, parameters: Mapping[str, Any], cron: str | None, confirm: ConfirmReplacement
) -> list[str]:
    """How a deployment differs from an earlier one of its job, a line each; empty where there is none of this name.

    One with another source or OUT is another job's, and to replace it has to be confirmed. The same job may change.

    Args:
        client: of Prefect's API.
        name: its flow's name and its own.
        parameters: the new one's.
        cron: the new one's schedule.
        confirm: called where it is another job.
    """
    try:
        existing = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return []
    before, now = dict(_flatten(existing.parameters or {})), dict(_flatten(parameters))
    before["schedule"] = next((getattr(each.schedule, "cron", "other") for each in existing.schedules), None)
    now["schedule"] = cron
    changed = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    lines = [f"{key}: {_show(before.get(key))} -> {_show(now.get(key))}" for key in changed]
    if {"source", "out"} & {*changed}:
        confirm(f"{name} is deployed already, and it is another job", lines)
        return []
    return [f"changed: {line}" for line in lines]


def _flatten(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in parameters.items():
        if key in _GROUPS and isinstance(value, Mapping):
            yield from _flatten(value)
        elif value not in (None, {}, []):
            yield key, value


def _show(value: Any) -> str:
    text = value if isinstance(value, str) else "none" if value is None else json.dumps(value)
    return cut_text(to_single_line(text), _MAX_VALUE_CHARACTERS)


def fill_templates(value: Any) -> Any:
    """The parameters of a prefect.yaml with environment variables in place of their names, as Prefect fills them."""
    if isinstance(value, Mapping):
        return {key: fill_templates(each) for key, each in value.items()}
    if isinstance(value, str):
        return _TEMPLATE_VARIABLE.sub(lambda found: os.environ.get(found[1], ""), value)
    return value


def find_needed_variables(jobs: Sequence[Job], notifications: Sequence[Notification]) -> list[str]:
    """The environment variables without which the jobs' providers refuse to start, or nobody is told how runs end."""
    needed = [notification.env for notification in notifications if notification.env is not None]
    for job in jobs:
        provider = job.provider or ("compatible" if job.base_url else None)
        if provider is None:
            continue
        name = registry.key_env_name(provider, job.api_key_env)
        is_optional = registry.load_config(provider).key_optional or is_loopback(
            urlsplit(job.base_url or "").hostname or ""
        )
        if name is not None and (job.api_key_env is not None or not is_optional):
            needed.append(name)
    return sorted({*needed})


def refuse_missing_blocks(client: SyncPrefectClient, notifications: Sequence[Notification]) -> None:
    """Refuse a notification by a block that Prefect does not have.

    Raises:
        UsageError: naming the block.
    """
    for notification in notifications:
        if notification.block is not None:
            block_type, _, name = notification.block.partition("/")
            try:
                client.read_block_document_by_name(name, block_type)
            except ObjectNotFound:
                hint = "mediamill up --open shows the blocks there are; notify may also name an environment variable"
                raise UsageError(f"notify: Prefect has no block {notification.block}", hint=hint) from None


def check_workers(
    client: SyncPrefectClient, prefect: PrefectApi, pool: str, needed: Sequence[str], jobs: Sequence[Job]
) -> list[str]:
    """Check that the workers of a pool have the variables that jobs need; return what is to be said, a line each.

    Only of the worker of ``mediamill up`` the names of its variables are known.

    Raises:
        UsageError: when this worker is the only one and a variable is not set in its environment.
    """
    others = [name for name in _list_workers(client, pool) if name != get_worker_name(socket.gethostname())]
    state = _find_up_worker(prefect, pool)
    if state is None:
        if not others:
            keys = f", with {', '.join(needed)} set in its shell" if needed else ""
            return [f"no worker serves the pool {pool!r} yet: {_describe_start(pool)}{keys}"]
        return _describe_unknown(needed, others)
    if state.worker_variables is None:
        return _describe_unknown(needed, ["of mediamill up", *others])
    missing = [name for name in needed if name not in state.worker_variables]
    lines = [f"{', '.join(missing)} is not set for the worker of mediamill up"] if missing else []
    if missing and not others:
        raise UsageError(
            f"the worker of the pool {pool!r} was started without {', '.join(missing)}, which this job needs",
            hint=f"export {missing[0]}=..., then mediamill down, mediamill up --worker, and deploy again",
        )
    for job in jobs:
        if job.provider is None and job.base_url is None:
            from mediamill.tasks import capabilities

            operation = capabilities.get(job.capability).operation
            chosen = registry.choose_default_provider(dict.fromkeys(state.worker_variables, "set"), operation)
            lines.append(f"it names no provider; with the keys of its worker that is {chosen}")
    return [*lines, *_describe_unknown(needed, others)]


def _describe_unknown(needed: Sequence[str], workers: Sequence[str]) -> list[str]:
    if not needed or not workers:
        return []
    what = f"{pluralize(len(workers), 'worker')} ({', '.join(to_single_line(name) for name in workers)})"
    return [f"whether {', '.join(needed)} is set is not known of {what}: make sure of it there"]


def refuse_without_worker(client: SyncPrefectClient, prefect: PrefectApi, name: str, pool: str | None) -> None:
    """Refuse to run a deployment that no worker would run.

    Raises:
        UsageError: naming its pool.
    """
    if pool is None or not (_find_up_worker(prefect, pool) or _list_workers(client, pool)):
        raise UsageError(f"no worker serves the pool {pool!r} of {name}", hint=_describe_start(pool or POOL))


def _find_up_worker(prefect: PrefectApi, pool: str) -> UpState | None:
    """What is known of the worker of ``mediamill up`` where it serves this pool; Prefect hears of it seconds later."""
    state = find_up_state(prefect)
    return state if state is not None and state.has_worker() and (state.pool or POOL) == pool else None


def _describe_start(pool: str) -> str:
    """How a worker for a pool is started."""
    return f"mediamill up --worker{'' if pool == POOL else f' --pool {shlex.quote(pool)}'} starts one"


def _list_workers(client: SyncPrefectClient, pool: str) -> list[str]:
    """The names of the workers that serve a pool now."""
    try:
        client.read_work_pool(pool)  # the next request tells one that is missing by another error
        workers = client.read_workers_for_work_pool(pool)
    except ObjectNotFound:
        return []
    return [worker.name for worker in workers if worker.status == "ONLINE"]
