"""What a call from Python names: a capability, a job file, a recipe, a job or a chain, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mediamill.tasks import capabilities
from mediamill.tasks.capabilities.parameters import Option
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import load_job, make_job
from mediamill.tasks.pipeline.job_file import check_job_fields
from mediamill.tasks.pipeline.mistakes import JobFile
from mediamill.tasks.pipeline.spec import Chain, is_chain, load_yaml_or_none, make_chain
from mediamill.tasks.renamed_options import JOB_OPTIONS, get_renamed_params, override
from mediamill.tasks.starters.recipes import check_source, find_job_file, is_job_file

What = str | Path | Job | Chain | Mapping[str, Any]
"""What is run: the name of a capability, the path of a job file, ``recipe:NAME``, or a job or chain itself."""

COLUMN_OPTIONS = {
    "id_column": "id",
    "path_column": "path",
    "text_column": "text",
    "group_by": "group",
    "infer_types": "infer_types",
}
"""Options of the command line that are fields of a job's ``columns``."""


def to_job(what: What, source: Any, options: Mapping[str, Any]) -> Job | Chain:
    """The job or the chain that a call names. Options that are None count as not given.

    Raises:
        UsageError: when there is no such thing, or an option does not fit.
    """
    given = {name: _to_plain(value) for name, value in options.items() if value is not None}
    if source is not None:
        given["source"] = _check_source(source)
    if isinstance(what, str | Path):
        text = str(what)
        if not is_job_file(text):
            return _make_capability_job(text, given)
        path = find_job_file(text)
        contents = load_yaml_or_none(path)
        fields = _take_columns(given) if is_chain(contents) else _split(_get_capability(contents), given)
        if isinstance(contents, dict):
            check_job_fields(contents, fields, JobFile(path, text))
        job = _make_chain(contents, text, fields) if is_chain(contents) else load_job(path, **fields)
        check_source(text, job.source)
        return job
    if isinstance(what, Chain):
        return _make_chain(what.model_dump(exclude_unset=True), "", given) if given else what
    if isinstance(what, Job):
        return _make_job(what.model_dump(exclude_unset=True), given) if given else what
    if is_chain(what):
        check_job_fields(what, _take_columns(given))
        return _make_chain(dict(what), "", given)
    check_job_fields(what, _split(_get_capability(what), given))
    return _make_job(dict(what), given)


def find_file(what: object) -> JobFile | None:
    """The file of what a call names; None where it is in none."""
    if isinstance(what, str | Path) and is_job_file(text := str(what)):
        return JobFile(find_job_file(text), text)
    return None


def _make_capability_job(name: str, given: dict[str, Any]) -> Job:
    capability = name.replace("_", "-")
    if not capabilities.is_known(capability):
        raise NoSuchOption("capability", name, capabilities.list_names())
    if "source" not in given:
        raise UsageError("source is missing", hint="name a folder, file, glob, URL or manifest")
    _refuse_unknown(capability, given)
    return make_job(**{"capability": capability, **_split(capability, given)})


def _refuse_unknown(capability: str, given: Mapping[str, Any]) -> None:
    """Refuse a name that is neither an option of jobs nor a parameter, with the nearest of both.

    Raises:
        NoSuchOption: when there is one.
    """
    params = (*capabilities.get(capability).params.model_fields, *_load_flags(capability))
    known = {*Job.model_fields, *COLUMN_OPTIONS, *params}
    for name in given:
        if name not in known and name not in JOB_OPTIONS and name not in get_renamed_params(capability):
            raise NoSuchOption("option", name, known - {"capability"}, where=capability)


def _make_job(fields: dict[str, Any], given: dict[str, Any]) -> Job:
    capability = _get_capability(fields)
    over = _split(capability, given)
    params = override(fields.get("params") or {}, over.pop("params", {}), get_renamed_params(capability))
    return make_job(**{**override(fields, over, JOB_OPTIONS), "params": params})


def _make_chain(contents: dict[str, Any], where: str, given: dict[str, Any]) -> Chain:
    fields = _take_columns(given)
    for name in fields:
        if name not in Chain.model_fields:
            raise NoSuchOption("option of a chain", name, Chain.model_fields)
    return make_chain(contents, where, **fields)


def _get_capability(fields: Any) -> str | None:
    name = fields.get("capability") if isinstance(fields, Mapping) else None
    return name if isinstance(name, str) else None


def _split(capability: str | None, given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a job, with the capability's own parameters in ``params``."""
    fields = _take_columns(given)
    params = dict(fields.pop("params", {}))
    flags = _load_flags(capability)
    for name in [name for name in fields if name not in (*Job.model_fields, *JOB_OPTIONS)]:
        params[flags.get(name, name)] = fields.pop(name)
    return {**fields, "params": params} if params else fields


def _take_columns(given: dict[str, Any]) -> dict[str, Any]:
    """The options, with those of the command line that name columns as fields of ``columns``."""
    columns = {field: given[option] for option, field in COLUMN_OPTIONS.items() if option in given}
    rest = {name: value for name, value in given.items() if name not in COLUMN_OPTIONS}
    return {**rest, "columns": {**rest.get("columns", {}), **columns}} if columns else rest


def _load_flags(capability: str | None) -> dict[str, str]:
    """Parameters by the name of their option, where that is another, as ``schema`` for ``json_schema``."""
    if capability is None or not capabilities.is_known(capability):
        return {}
    fields = capabilities.get(capability).params.model_fields
    return {
        declared.flag.removeprefix("--").replace("-", "_"): name
        for name, field in fields.items()
        for declared in field.metadata
        if isinstance(declared, Option) and declared.flag
    }


def _check_source(source: Any) -> str:
    if isinstance(source, str | Path):
        return str(source)
    hint = "write it to a manifest first, e.g. frame.to_parquet('items.parquet'), and name that file"
    raise UsageError(f"source is a {type(source).__name__}, and not a path or URL", hint=hint)


def _to_plain(value: Any) -> Any:
    """A value as a job file could hold it: paths as text, and a pydantic model as its JSON Schema."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_to_plain(each) for each in value]
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        return value.model_json_schema()
    return value
