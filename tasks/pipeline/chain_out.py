"""Which OUT a chain gets: chains on one source share none, unless one goes on with what the other did."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mediamill.tasks import capabilities
from mediamill.tasks.capabilities.parameters import select_sent_params
from mediamill.tasks.errors import UsageError
from mediamill.tasks.out.differences import Difference, describe, hash_value, to_name
from mediamill.tasks.out.out_choice import choose_out
from mediamill.tasks.pipeline.column_check import check_columns
from mediamill.tasks.pipeline.spec import Chain, Step, Task
from mediamill.tasks.pipeline.task_job import build_task_job, get_task_folder
from mediamill.tasks.run.params import validate_params
from mediamill.tasks.run.resolved_job import ResolvedJob, resolve_job

_MAX_NAME_CHARACTERS = 60


class ChainOutChoice(NamedTuple):
    """A chain that names its OUT, and why it is this one where that is not the one that one expects."""

    chain: Chain
    note: str | None = None


def choose_chain_out(chain: Chain) -> ChainOutChoice:
    """Choose the OUT of a chain: the one it names; else the default one, or one of its own beside it.

    Raises:
        UsageError, StorageError: when a step is wrong, or the journal of an OUT cannot be read.
    """
    if chain.out:
        return ChainOutChoice(chain)
    base = chain.out_path
    differences = _find_differences(chain, base)
    if not differences:
        return ChainOutChoice(chain.model_copy(update={"out": str(base)}))
    note = f"an OUT of its own for {describe(differences)}, as {base.name} has {describe(differences, before=True)}"
    own = base.with_name(f"{base.name}-{_name(chain, differences)}")
    beside = sorted(base.parent.glob(f"{glob.escape(base.name)}-*"))
    for out in (own, *beside):
        if (out / "steps").is_dir() and not _find_differences(chain, out):
            return ChainOutChoice(chain.model_copy(update={"out": str(out)}), note)
    if own in beside:
        own = base.with_name(f"{own.name}-{hash_value(chain.model_dump(mode='json')['steps'])}")
    return ChainOutChoice(chain.model_copy(update={"out": str(own)}), note)


def check_steps(chain: Chain, *, needs_key: bool = True) -> list[ResolvedJob]:
    """Refuse a chain that no run could go on with, before anything is paid.

    That is a missing key (with ``needs_key``), another model in its OUT, or an expression or template over a column
    that no step makes.

    Returns:
        The job of each task, on the chain's own source.

    Raises:
        UsageError: naming the step.
    """
    tasks: list[tuple[Step, dict[str, list[ResolvedJob]]]] = []
    for number, step in enumerate(chain.steps, 1):
        jobs: dict[str, list[ResolvedJob]] = {}
        for name, task in step.branches().items():
            folder = get_task_folder(chain.out_path, number, step, name)
            jobs[name] = [_check_task(chain, name, task, folder, needs_key=needs_key)]
            for repeat, change in enumerate(step.again, 1):
                again = task.with_changes(change)
                repeat_name, repeat_folder = f"{name} again {repeat}", folder / f"again-{repeat}"
                jobs[name].append(_check_task(chain, repeat_name, again, repeat_folder, needs_key=needs_key))
        tasks.append((step, jobs))
    check_columns(tasks)
    return [job for _, jobs in tasks for variants in jobs.values() for job in variants]


def _check_task(chain: Chain, name: str, task: Task, folder: Path, *, needs_key: bool) -> ResolvedJob:
    resolved = resolve_job(build_task_job(chain, task, folder, None), needs_key=needs_key)
    try:
        resolved.refuse_another_out()
    except UsageError as error:
        raise UsageError(f"step {name}: {error.message}", hint="another --out keeps both") from None
    return resolved


def _find_differences(chain: Chain, out: Path) -> tuple[Difference, ...]:
    """What the steps in an OUT were made otherwise with than the chain's; a longer or shorter chain may go on."""
    earlier = {folder.name[:2]: folder.name[3:] for folder in (out / "steps").glob("[0-9][0-9]-*")}
    names = {f"{number:02d}": step.name for number, step in enumerate(chain.steps, 1)}
    if any(number in names and names[number] != name for number, name in earlier.items()):
        return (Difference("steps", ", ".join(dict(sorted(earlier.items())).values()), ", ".join(names.values())),)
    return tuple(
        difference
        for number, step in enumerate(chain.steps, 1)
        for name, task in step.branches().items()
        for difference in _find_task_differences(chain, out, number, step, name, task)
    )


def _find_task_differences(chain: Chain, out: Path, number: int, step: Step, name: str, task: Task) -> list[Difference]:
    capability = capabilities.get(task.capability)
    job = build_task_job(
        chain.model_copy(update={"out": str(out)}), task, get_task_folder(out, number, step, name), None
    )
    choice = choose_out(job, capability, validate_params(capability, job.params))
    if choice.capability is not None and choice.capability != capability.name:
        return [Difference(name, choice.capability, capability.name)]
    kept = [
        Difference(key, value, None)
        for key, value in choice.kept.items()
        if key not in ("provider", "address", "model") and select_sent_params(capability.params, {key: value})
    ]
    return [Difference(f"{name}: {each.name}", each.before, each.now) for each in (*choice.differences, *kept)]


def _name(chain: Chain, differences: Sequence[Difference]) -> str:
    """What differs, as a part of a folder's name: the steps, or what they do otherwise."""
    if differences[0].name == "steps":
        name = "-".join(step.name for step in chain.steps)
    else:
        name = "-".join(
            to_name(Difference(step.replace(": ", "-"), None, each.now))
            for each in differences
            for step in (each.name,)
        )
    return name if len(name) <= _MAX_NAME_CHARACTERS else f"{name[:_MAX_NAME_CHARACTERS]}-{hash_value(name)}"
