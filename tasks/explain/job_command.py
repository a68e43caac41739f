"""The command that runs a job again, as it is typed in a shell, with every option that is not at its default."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import yaml
from yaml.reader import Reader

from mediamill.tasks.job import Job

_COLUMN_OPTIONS = {"id": "--id-column", "path": "--path-column", "text": "--text-column", "group": "--group-by"}
_FIELDS_ELSEWHERE = frozenset(
    {"capability", "source", "out", "params", "columns", "allow_hosts", "subtitles", "escalate"}
)
_FIELDS_OF_ONE_RUN = frozenset(
    {"limit", "run_deadline", "schedule", "replace", "moved", "copied", "no_cache", "confirmed", "notify"}
    | {"overwrite", "skip_existing"}
)
"""They do not belong to OUT: to repeat them would change or leave out items, or buy answers again."""


def format_job_command(job: Job) -> str:
    """The command that runs a job again. Column settings that only a job file can have are not in it.

    Args:
        job: its source and OUT are given as they are; make them absolute for a command that holds in every folder.
    """
    words = ["mediamill", job.capability, job.source]
    if job.out is not None:
        words += ["--out", job.out]
    for name, value in job.model_dump(mode="json", exclude_defaults=True).items():
        if name not in _FIELDS_ELSEWHERE | _FIELDS_OF_ONE_RUN:
            flag = name.replace("_", "-")
            words += [f"--no-{flag}"] if value is False else [f"--{flag}", *([] if value is True else [str(value)])]
    for name, option in _COLUMN_OPTIONS.items():
        if (column := getattr(job.columns, name)) is not None:
            words += [option, column]
    if job.subtitles:
        words += ["--subtitles", ",".join(job.subtitles)]
    for each in job.escalate or ():
        words += ["--escalate", f"{each.provider}:{each.model}" if each.model else each.provider]
    for host in job.allow_hosts:
        words += ["--allow-host", host]
    for name, value in job.params.items():
        words += ["--set", f"{name}={_to_yaml(value)}"]
    return shlex.join(words)


def list_settings_of_files(job: Job) -> list[str]:
    """The job's settings that no option has, as a job file names them."""
    set_columns: Mapping[str, Any] = job.columns.model_dump(exclude_defaults=True)
    more = [
        f"escalate.{number}.{name}"
        for number, each in enumerate(job.escalate or (), 1)
        for name in each.model_dump(exclude={"provider", "model"}, exclude_defaults=True)
    ]
    return [*(f"columns.{name}" for name in set_columns if name not in _COLUMN_OPTIONS), *more]


def _to_yaml(value: Any) -> str:
    """A value as ``--set`` reads it: texts as they are where YAML takes them for the same text, all else as JSON."""
    if isinstance(value, str):
        try:
            if value and yaml.safe_load(value) == value:
                return value
        except yaml.YAMLError:
            pass
    text = json.dumps(value, ensure_ascii=False)
    return Reader.NON_PRINTABLE.sub(lambda character: f"\\u{ord(character[0]):04x}", text)
