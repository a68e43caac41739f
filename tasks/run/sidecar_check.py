"""Whether a job may have sidecars, the text files beside its sources, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from mediamill.tasks.capabilities.base import Capability
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.sources.sidecars import SidecarNames

SIDECAR_OPTIONS = ("beside", "overwrite", "skip_existing")


def get_sidecar_kind(capability: Capability) -> Literal["subtitles", "text", "lines"] | None:
    """What a capability's sidecars hold; None where its results have no text to put beside a file.

    A capability says it with its attribute ``sidecars``: subtitles of its segments, or its
    column ``text``, on one line or with its lines.
    """
    return getattr(capability, "sidecars", None)


def check_sidecars(
    job: Job, capability: Capability, params: Any, out_formats: Sequence[str] = ()
) -> SidecarNames | None:
    """What the job's sidecars are called; None where it neither writes nor looks for any.

    Args:
        job: names them, or their formats are those of OUT.
        capability: the job's.
        params: the job's parameters, validated.
        out_formats: the formats of OUT's subtitles, which its earlier runs named.

    Raises:
        UsageError: when its options of sidecars cannot hold.
    """
    given = [f"--{name.replace('_', '-')}" for name in SIDECAR_OPTIONS if getattr(job, name)]
    if not given:
        return None
    kind, option = get_sidecar_kind(capability), given[0]
    if kind is None:
        raise UsageError(f"{capability.name} writes no text beside its sources", hint=f"leave {option} out")
    if job.overwrite and not job.beside:
        raise UsageError("--overwrite is about the files that --beside writes", hint="add --beside, or leave it out")
    if job.group or job.columns.group:
        raise UsageError("a group of images has no single file beside it", hint=f"leave {option} or the groups out")
    if getattr(params, "json_schema", None) is not None:
        hint = f"leave {option} or the schema out; a prompt can ask for one line of text"
        raise UsageError("answers that fit a schema are JSON, and the file beside an image holds text", hint=hint)
    return SidecarNames(tuple(job.subtitles or out_formats), has_times=kind == "subtitles", keeps_lines=kind == "lines")
