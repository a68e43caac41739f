"""Refuse a chain whose expressions and templates name columns that no step makes, before its first step is paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mediamill.tasks.bounded.expression_language import FUNCTIONS
from mediamill.tasks.bounded.expressions import Expression
from mediamill.tasks.errors import NoSuchOption
from mediamill.tasks.pipeline.mistakes import ChainMistakes, FieldPath, Mistake
from mediamill.tasks.pipeline.spec import Step
from mediamill.tasks.pipeline.table import ID, PATH, STEP_COMMON_COLUMNS
from mediamill.tasks.run.params import list_param_names
from mediamill.tasks.run.resolved_job import ResolvedJob
from mediamill.tasks.run.template_columns import TEMPLATE_VALUES, find_unknown_columns, list_templates
from mediamill.tasks.sources import open_source
from mediamill.tasks.sources.locate import is_url
from mediamill.tasks.sources.manifest import MANIFEST_EXTENSIONS


def check_columns(tasks: Sequence[tuple[Step, Mapping[str, Sequence[ResolvedJob]]]]) -> None:
    """Refuse names that are neither columns of the source nor of a step before theirs.

    Args:
        tasks: each step with its tasks by name: the job of each, and those of its repeats.

    Raises:
        ChainMistakes: with every such name, its step, and the nearest column there is.
        UsageError: when the source cannot be read.
    """
    first_job = next(iter(tasks[0][1].values()))[0]
    table, last_step = _Columns(first_job), None
    for number, (step, jobs) in enumerate(tasks):
        at = ("steps", str(number))
        table.check_expression(at, step, "when", last_step)
        if number:
            _check_tasks(at, step, jobs, table, last_step)
        for name, variants in jobs.items():
            own = {column for job in variants for column in job.schema.names}
            table.known |= {f"{name}_{column}" for column in (*own, *STEP_COMMON_COLUMNS)}
        table.check_expression(at, step, "until", step.name)
        if step.until:
            table.known |= {f"{step.name}_round", f"{step.name}_held"}
        table.check_expression(at, step, "keep", step.name if step.task else last_step)
        last_step = step.name if step.task else None
    if table.mistakes:
        raise ChainMistakes(table.mistakes)


def _check_tasks(
    at: FieldPath, step: Step, jobs: Mapping[str, Sequence[ResolvedJob]], table: _Columns, last_step: str | None
) -> None:
    for name, task in step.branches().items():
        task_at = (*at, "task") if step.task else (*at, "parallel", name)
        places = [task_at, *((*at, "again", str(repeat)) for repeat in range(len(step.again)))]
        changed = [task, *(task.with_changes(change) for change in step.again)]
        for place, one, job in zip(places, changed, jobs[name], strict=True):
            for target, column in one.of.items():
                table.check((*place, "of", target), f"step {name}: of.{target}", [column], last_step)
            for param, text in list_templates(job.capability, job.params):
                if param not in one.of:
                    plain = [*TEMPLATE_VALUES, *table.list_plain_names(last_step)]
                    unknown = find_unknown_columns(text, plain)
                    table.check((*place, "params", param), f"step {name}: {param}", unknown, last_step)


class _Columns:
    """The columns of a chain's table, as its steps add them; those of the source are read when they decide."""

    def __init__(self, first_job: ResolvedJob) -> None:
        self._first_job: ResolvedJob | None = first_job
        self.known = {ID, PATH}
        self.mistakes: list[Mistake] = []

    def check_expression(self, at: FieldPath, step: Step, field: str, last_step: str | None) -> None:
        """Check the names of a step's condition ``field``, where it has one."""
        expression: str | None = getattr(step, field)
        if expression is not None:
            parsed, where = Expression(expression), f"step {step.name}: {field}"
            for name in sorted(parsed.unknown_functions):
                error = NoSuchOption("function", name, FUNCTIONS, where=where)
                self.mistakes.append(Mistake((*at, field), error.message, error.hint))
            self.check((*at, field), where, sorted(parsed.column_names), last_step)

    def check(self, place: FieldPath, where: str, names: Sequence[str], last_step: str | None) -> None:
        """Add a mistake for each name that is no column, nor the plain name of one of the last step."""
        for name in names:
            if name not in self.known and f"{last_step}_{name}" not in self.known:
                self._add_source()
            if name not in self.known and f"{last_step}_{name}" not in self.known:
                known = {*self.known, *self.list_plain_names(last_step)}
                error = NoSuchOption("column", name, known, where=where)
                self.mistakes.append(Mistake(place, error.message, error.hint))

    def _add_source(self) -> None:
        """Add the columns of a manifest; other sources have none, but for lines of text on stdin."""
        first, self._first_job = self._first_job, None
        if first is None:
            return
        if first.job.source == "-":
            self.known.add("text")
        elif not is_url(first.job.source) and first.job.source.lower().endswith(tuple(MANIFEST_EXTENSIONS)):
            schema = open_source(first.job, first.capability.kinds, list_param_names(first.capability)).row_schema()
            self.known |= {*(schema.names if schema is not None else ())}

    def list_plain_names(self, last_step: str | None) -> list[str]:
        """The last step's columns by their own names."""
        prefix = f"{last_step}_"
        return [name.removeprefix(prefix) for name in self.known if name.startswith(prefix)]
