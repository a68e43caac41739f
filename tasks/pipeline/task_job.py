"""The job of a chain's task, and where it works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mediamill.tasks.job import AllowedPaths, Job
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.pipeline.spec import Chain, Step, Task
from mediamill.tasks.pipeline.table import ID, PATH
from mediamill.tasks.sources.folder import find_source_folder


def get_step_folder(out: Path, number: int, step: Step) -> Path:
    """The folder of a step in a chain's OUT; ``number`` counts from 1."""
    return out / "steps" / f"{number:02d}-{step.name}"


def get_task_folder(out: Path, number: int, step: Step, name: str) -> Path:
    """The OUT of a task: its step's folder, or one in it where several tasks work in parallel."""
    folder = get_step_folder(out, number, step)
    return folder if step.task else folder / name


def build_task_job(chain: Chain, task: Task, folder: Path, manifest: Path | None) -> Job:
    """The job of a task, on the chain's source or on the manifest from the steps before it."""
    fields = {**task.job_fields(), "out": str(folder), "allow_hosts": chain.allow_hosts}
    fields |= {"moved": chain.moved, "copied": chain.copied}
    fields["allow_paths"] = chain.allow_paths if manifest is None else _list_step_folders(chain)
    if manifest is None:
        fields["columns"] = chain.columns.model_dump(exclude_defaults=True)
        if chain.settle is not None:
            fields["settle"] = chain.settle
        return make_job(source=chain.source, limit=chain.limit, schedule=chain.schedule, **fields)
    params = {name: column for name, column in task.of.items() if name not in ("path", "text")}
    columns: dict[str, Any] = {"id": ID, "params": params}
    if takes_files(task):
        columns["path"] = task.of.get("path", PATH)
    if "text" in task.of:
        columns["text"] = task.of["text"]
    return make_job(source=str(manifest), columns=columns, **fields)


def _list_step_folders(chain: Chain) -> AllowedPaths:
    """What the rows of a later step may name: the files of the chain's source, and those that earlier steps wrote."""
    if isinstance(chain.allow_paths, bool) and chain.allow_paths:
        return True
    allowed = [] if isinstance(chain.allow_paths, bool) else chain.allow_paths
    return [*allowed, *find_source_folder(chain.source), str(chain.out_path)]


def takes_files(task: Task) -> bool:
    """True when the task works on files; False when its input is the rows themselves."""
    from mediamill.tasks import capabilities
    from mediamill.tasks.sources.columns import needs_files

    return needs_files(capabilities.get(task.capability).kinds)
