"""Every mistake of a job or a chain at once, each with the line of its file, before it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ValidationError

from mediamill.tasks import capabilities
from mediamill.tasks.errors import MediamillError, NoSuchOption
from mediamill.tasks.field_errors import FieldError, list_errors
from mediamill.tasks.job import Columns, Job
from mediamill.tasks.notification import Notification
from mediamill.tasks.pipeline.mistakes import FieldPath, JobFile, Mistake, build_error
from mediamill.tasks.pipeline.spec import Chain, Step, Task, is_chain
from mediamill.tasks.providers import registry
from mediamill.tasks.renamed_options import JOB_OPTIONS, get_renamed_params, override, to_new_names
from mediamill.tasks.schedule import Schedule


def check_job_fields(contents: Mapping[str, Any], given: Mapping[str, Any], file: JobFile | None = None) -> None:
    """Refuse a job, or a chain, with all its mistakes.

    Args:
        contents: what the file holds, or a dictionary of Python's.
        given: what was given as options, which come before it; those that a chain lacks are not its mistakes.
        file: where the contents come from; None where they are in no file.

    Raises:
        UsageError: with the only mistake and its line.
        JobFileError: with several.
    """
    of_all_steps = [name for name in given if name in Chain.model_fields or not is_chain(contents)]
    options = {name: given[name] for name in of_all_steps if given[name] not in (None, {}, [])}
    fields = override({str(name): value for name, value in contents.items()}, options, JOB_OPTIONS)
    for name, renamed in (("params", get_renamed_params(fields.get("capability"))), ("columns", {})):
        if isinstance(contents.get(name), dict) and isinstance(given.get(name), dict):
            fields[name] = override(contents[name], given[name], renamed)
    mistakes = list(_find_chain_mistakes(fields) if is_chain(contents) else _find_job_mistakes(fields))
    if mistakes and is_chain(contents):
        from mediamill.tasks.pipeline.later_mistakes import find_column_mistakes

        mistakes += find_column_mistakes(fields, mistakes)
    if mistakes:
        raise build_error(mistakes, file, options)


def _find_job_mistakes(fields: Mapping[str, Any]) -> Iterator[Mistake]:
    yield from _validate(Job, fields)
    yield from _find_params_mistakes(fields)


def _find_params_mistakes(fields: Mapping[str, Any], at: FieldPath = (), where: str = "") -> Iterator[Mistake]:
    """What is wrong with a provider, a capability and its parameters."""
    name, provider, params = fields.get("capability"), fields.get("provider"), fields.get("params") or {}
    if isinstance(provider, str) and provider not in (known := registry.provider_names()):
        yield _to_unknown("provider", provider, known, (*at, "provider"), where)
    if not isinstance(name, str):
        return
    if not capabilities.is_known(name):
        yield _to_unknown("capability", name, capabilities.list_names(), (*at, "capability"), where)
        return
    with suppress(MediamillError):  # another package's, or a file that a parameter names: the job says it
        model = capabilities.get(name).params
        if isinstance(params, dict):
            try:
                new = to_new_names(params, get_renamed_params(name))
            except ValueError as error:
                yield Mistake((*at, "params"), f"{where}{error}")
                return
            yield from _validate(model, new, (*at, "params"), where, what=f"{name} parameter")


def _find_chain_mistakes(fields: Mapping[str, Any]) -> Iterator[Mistake]:
    yield from _validate(Chain, fields)
    steps = fields.get("steps")
    for number, step in enumerate(steps if isinstance(steps, list) else ()):
        if not isinstance(step, dict):
            continue
        branches, at = step.get("parallel"), ("steps", str(number))
        tasks: dict[str, tuple[Any, FieldPath]] = {
            name: (task, (*at, "parallel", str(name))) for name, task in _items(branches)
        }
        if "task" in step:
            tasks[str(step.get("name"))] = (step["task"], (*at, "task"))
        again = step.get("again")
        changes = again if isinstance(again, list) else []
        for name, (raw, task_at) in tasks.items():
            yield from _find_task_mistakes(raw, task_at, name, changes, (*at, "again"))


def _find_task_mistakes(
    raw: Any, at: FieldPath, name: str, changes: list[Any], again_at: FieldPath
) -> Iterator[Mistake]:
    where = f"step {name}: "
    try:
        task = Task.model_validate(raw)
    except ValidationError:  # the chain's own validation has said it
        if isinstance(raw, dict):
            yield from _find_params_mistakes(raw, at, where)
        return
    yield from _validate(Job, {"source": "-", **task.job_fields()}, at, where)
    yield from _find_params_mistakes(task.job_fields(), at, where)
    for number, change in enumerate(changes):
        place = (*again_at, str(number))
        try:
            changed = task.with_changes(change)
        except ValidationError as error:
            yield from _to_mistakes(error, Task, place, f"{where}again: ", "option")
        except (TypeError, ValueError, AttributeError):
            continue
        else:
            yield from _find_params_mistakes(changed.job_fields(), place, where)


def _items(value: Any) -> list[tuple[str, Any]]:
    return [(str(name), each) for name, each in value.items()] if isinstance(value, dict) else []


def _validate(
    model: type[BaseModel], fields: Mapping[str, Any], at: FieldPath = (), where: str = "", *, what: str = "option"
) -> Iterator[Mistake]:
    try:
        model.model_validate({str(name): value for name, value in fields.items()})
    except ValidationError as error:
        yield from _to_mistakes(error, model, at, where, what, fields)


def _to_mistakes(
    error: ValidationError,
    model: type[BaseModel],
    at: FieldPath,
    where: str,
    what: str,
    fields: Mapping[str, Any] | None = None,
) -> Iterator[Mistake]:
    errors = list_errors(error, model)
    for found in errors:
        if any(other.path[: len(found.path)] == found.path != other.path for other in errors):
            continue  # it follows from the mistake inside of it
        path = (*at, *found.path)
        if found.is_unknown:
            yield _to_unknown_field(what, found, _list_known(model, found), _list_params(fields, found), path, where)
        else:
            yield Mistake(path, f"{where}{found}")


def _to_unknown(what: str, name: str, known: Any, path: FieldPath, where: str) -> Mistake:
    error = NoSuchOption(what, name, known)
    return Mistake(path, f"{where}{error.message}", error.hint)


def _to_unknown_field(
    what: str, found: FieldError, known: list[str], params: frozenset[str], path: FieldPath, where: str
) -> Mistake:
    """An unknown option; where it is or resembles a parameter of the capability, the hint says where that stands."""
    name = found.path[-1]
    mistake = _to_unknown(what, name, [*known, *params], path, where)
    suggested = mistake.hint if mistake.hint and mistake.hint.startswith("did you mean") else ""
    nearest = name if name in params else next((one for one in params - {*known} if repr(one) in suggested), None)
    if nearest is None:
        return _to_unknown(what, name, known, path, where)
    return mistake._replace(hint=f"{nearest} is a parameter: write it below params:, as params: {{{nearest}: ...}}")


def _list_params(fields: Mapping[str, Any] | None, found: FieldError) -> frozenset[str]:
    """The parameters of the capability beside which an unknown option stands; none where there is none."""
    holder: Any = fields
    for key in found.path[:-1]:
        if isinstance(holder, list) and key.isdecimal() and int(key) < len(holder):
            holder = holder[int(key)]
        else:
            holder = holder.get(key) if isinstance(holder, dict) else None
    name = holder.get("capability") if isinstance(holder, Mapping) else None
    if isinstance(name, str) and capabilities.is_known(name):
        with suppress(MediamillError):  # another package's
            return frozenset(capabilities.get(name).params.model_fields)
    return frozenset()


def _list_known(model: type[BaseModel], found: FieldError) -> list[str]:
    """The names that may stand where an unknown one does."""
    models: dict[str, type[BaseModel]] = {"columns": Columns, "schedule": Schedule, "notify": Notification}
    inner = next((models[name] for name in reversed(found.path[:-1]) if name in models), None)
    if inner is not None:
        return [*inner.model_fields]
    if len(found.path) == 1 or model is not Chain:
        return [*model.model_fields]
    return [*Step.model_fields] if len(found.path) == 3 else [*Task.model_fields]  # noqa: PLR2004 (steps, number, name)
