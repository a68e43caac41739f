"""Jobs from plain values and YAML files; mistakes are one line that names the nearest option."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mediamill.tasks.bounded.files import load_yaml_file
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.escalation import Escalation
from mediamill.tasks.field_errors import get_first_error
from mediamill.tasks.job import Columns, Job
from mediamill.tasks.notification import Notification
from mediamill.tasks.renamed_options import JOB_OPTIONS, get_renamed_params, override
from mediamill.tasks.schedule import Schedule


def make_job(where: str = "", **fields: Any) -> Job:
    """A Job from plain values; errors are one line and name the nearest option.

    Raises:
        UsageError: on an unknown option or a value of the wrong kind.
    """
    return _validate_job(fields, where)


def _validate_job(fields: dict[str, Any], where: str) -> Job:
    try:
        return Job.model_validate(fields)
    except ValidationError as error:
        raise _to_usage_error(error, where) from None


def load_job(path: Path, **overrides: Any) -> Job:
    """A Job from a YAML file; ``overrides`` that are not None win over the file.

    Raises:
        UsageError: when the file is missing, is not YAML, or holds an unknown option.
    """
    try:
        data = load_yaml_file(path)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not isinstance(data, dict):
        raise UsageError(f"{path}: a job is a mapping of options", hint="see configs/jobs for examples")
    given = {k: v for k, v in overrides.items() if v is not None}
    renamed = {"params": get_renamed_params(given.get("capability") or data.get("capability")), "columns": {}}
    for name, names in renamed.items():
        if name in given or data.get(name) is None:
            given[name] = _merge_mapping(data.get(name), given.get(name) or {}, names)
    return _validate_job(override({str(k): v for k, v in data.items()}, given, JOB_OPTIONS), str(path))


def _merge_mapping(from_file: Any, overrides: dict[str, Any], renamed: Mapping[str, str]) -> Any:
    """A mapping from the file with single values overridden; anything else unchanged, for the validation to refuse."""
    if from_file is None:
        return overrides
    return override(from_file, overrides, renamed) if isinstance(from_file, dict) else from_file


def _to_usage_error(error: ValidationError, where: str) -> UsageError:
    first = get_first_error(error, Job)
    if first.is_unknown:
        inner: dict[str, type[BaseModel]] = {"columns": Columns, "schedule": Schedule, "notify": Notification}
        inner["escalate"] = Escalation
        model = inner.get(first.path[0], Job) if len(first.path) > 1 else Job
        return NoSuchOption("option", first.path[-1], model.model_fields, where=where)
    return UsageError(f"{where + ': ' if where else ''}{first}")
