"""A chain, told once: each step a run, given a way to do one."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.errors import NoSuchOption
from mediamill.tasks.job import Job, make_job
from mediamill.tasks.pipeline.result import ChainEnd, StepEnd
from mediamill.tasks.pipeline.spec import Chain, Step, Task
from mediamill.tasks.pipeline.table import (
    ID,
    PATH,
    chosen,
    first_table,
    joined,
    over,
    read_results,
    unknown_names,
    without,
    write,
    write_manifest,
)
from mediamill.tasks.resolved_job import resolve_job
from mediamill.tasks.sinks.atomic_file import write_json
from mediamill.tasks.status import open_existing
from mediamill.tasks.summary import Summary

if TYPE_CHECKING:
    import pyarrow as pa

Do = Callable[[str, Job], Summary]
"""Does one step's job: its name and the job."""

RECORD = "chain.json"
_ALL_ENDED = (0, 3)


class ChainRun:
    """One pass over a chain's steps. Running it again goes on where it stopped: what is done costs nothing.

    Args:
        chain: what to do.
        do: does one step's job and tells what came of it.
    """

    def __init__(self, chain: Chain, do: Do) -> None:
        self._chain = chain
        self._do = do
        self._out = chain.out_path
        self._end = ChainEnd(self._out)
        self._last: str | None = None
        self._complete = True

    def execute(self) -> ChainEnd:
        """Do every step.

        Raises:
            MediamillError: when a step could not start, or the disk or a journal failed.
        """
        for _, _, task in self._chain.tasks():
            resolve_job(job_of(self._chain, task, self._out, None))  # a missing key is told before anything is paid
        table: pa.Table | None = None
        for number, step in enumerate(self._chain.steps, 1):
            end = StepEnd(step.name)
            self._end.steps.append(end)
            table = self._step(number, step, table, end)
            if table is None:
                break
            end.out = table.num_rows
            self._last = step.name if step.task else None
        if table is not None:
            self._end.rows = table.num_rows
            write(table, self._out / "results" / "part-000000.parquet")
        self._money()
        write_json(self._out, self._out / RECORD, {"chain": _plain(self._chain), **self._end.as_dict()})
        return self._end

    def _step(self, number: int, step: Step, table: pa.Table | None, end: StepEnd) -> pa.Table | None:
        """The table after a step; None when the chain ends here."""
        folder = self._out / "steps" / f"{number:02d}-{step.name}"
        passing = None
        if table is not None:
            end.rows = table.num_rows
            self._check(step, "when", step.when, table, self._last)
            choice = chosen(table, step.when, self._last)
            todo, passing = choice.yes, choice.no
            end.passed, end.problems = passing.num_rows, choice.problems
        else:
            todo = None
        after: pa.Table | None = todo
        for name, task in step.branches().items():
            at = folder if step.task else folder / name
            source = None if todo is None else self._manifest(todo, at, task)
            if source is not None and todo is not None and not todo.num_rows:
                self._complete = False
                continue
            if not self._run(end, name, task, at, source):
                return None
            results = read_results(at)
            self._complete = self._complete and results.num_rows > 0
            if after is None:
                after = first_table(results, name, _places(at))
                end.rows = after.num_rows
            else:
                after = joined(after.filter(_has(after, results)), results, name)
        assert after is not None
        if step.until:
            self._check(step, "until", step.until, after, step.name)
            after = self._again(folder, step, after, end)
            if after is None:
                return None
        if passing is not None and passing.num_rows:
            after = _together(after, passing, table)
        last = step.name if step.task else self._last
        self._check(step, "keep", step.keep, after, last)
        choice = chosen(after, step.keep, last)
        end.problems += choice.problems
        return choice.yes

    def _check(self, step: Step, field: str, expression: str | None, table: pa.Table, last: str | None) -> None:
        """Refuse an expression over a column that is nowhere: it would choose nothing without a word.

        A task that has no result yet has no columns either, so then nothing can be said.

        Raises:
            NoSuchOption: with the nearest column there is.
        """
        if expression is None or not self._complete:
            return
        for name in sorted(unknown_names(table, expression, last)):
            plain = [column.removeprefix(f"{last}_") for column in table.column_names]
            raise NoSuchOption(
                "column", name, sorted({*table.column_names, *plain}), where=f"step {step.name}: {field}"
            )

    def _again(self, folder: Path, step: Step, table: pa.Table, end: StepEnd) -> pa.Table | None:
        """The step done again, as each repeat changes it, for the rows that are not yet as they should be."""
        import pyarrow as pa

        assert step.task is not None
        results = read_results(folder)
        before = without(table, results, step.name)
        rounds = dict.fromkeys(table[ID].to_pylist(), 0)
        current = table
        for number, change in enumerate(step.again, 1):
            wanting = chosen(current, step.until, step.name).no
            if not wanting.num_rows:
                break
            at = folder / f"again-{number}"
            task = step.task.changed(change)
            todo = before.filter(_has(before, wanting))
            source = self._manifest(todo, at, task)
            if not self._run(end, f"{step.name} again {number}", task, at, source):
                return None
            better = read_results(at)
            rounds.update(dict.fromkeys(better[ID].to_pylist(), number))
            results = over(results, better)
            current = joined(before, results, step.name)
        choice = chosen(current, step.until, step.name)
        end.problems += choice.problems
        ids = set(choice.yes[ID].to_pylist())
        mine = current[ID].to_pylist()
        current = current.append_column(f"{step.name}_round", pa.array([rounds.get(i, 0) for i in mine], pa.int32()))
        return current.append_column(f"{step.name}_held", pa.array([i in ids for i in mine], pa.bool_()))

    def _manifest(self, table: pa.Table, folder: Path, task: Task) -> Path:
        path = folder / "manifest.parquet"
        write_manifest(table, path, self._last, [*task.of.values(), *task.template_columns()])
        return path

    def _run(self, end: StepEnd, name: str, task: Task, folder: Path, source: Path | None) -> bool:
        job = self._job(task, folder, source)
        summary = self._do(name, job)
        end.runs[name] = summary
        if summary.exit_code not in _ALL_ENDED:
            self._end.exit_code = summary.exit_code
            self._end.message = summary.message
            return False
        self._end.exit_code = max(self._end.exit_code, summary.exit_code)
        return True

    def _job(self, task: Task, folder: Path, source: Path | None) -> Job:
        job = job_of(self._chain, task, folder, source)
        return job if self._chain.budget is None else job.model_copy(update={"budget": self._left(folder)})

    def _left(self, folder: Path) -> Decimal:
        """What this step may have cost in all its runs: the chain's budget without what the others came to."""
        assert self._chain.budget is not None
        others = sum((cost for out, cost in self._spent().items() if out != folder), Decimal(0))
        return max(self._chain.budget - others, Decimal(0))

    def _spent(self) -> dict[Path, Decimal]:
        """The most each step's runs can have cost."""
        costs: dict[Path, Decimal] = {}
        for folder in step_folders(self._out):
            journal = open_existing(folder)
            try:
                spent = journal.attempts.sum_costs()
                costs[folder] = spent.known + spent.unknown_max
                self._end.unknown_max_usd += spent.unknown_max
                self._end.unstated += spent.unstated
            finally:
                journal.close()
        return costs

    def _money(self) -> None:
        self._end.unknown_max_usd, self._end.unstated = Decimal(0), 0
        most = sum(self._spent().values(), Decimal(0))
        self._end.spent_usd = most - self._end.unknown_max_usd


def step_folders(out: Path) -> list[Path]:
    """The OUTs of a chain's steps, their repeats and branches, in their order; empty where no chain has run."""
    marks = (out.expanduser() / "steps").glob("**/.journal/out_id")
    return sorted(mark.parent.parent for mark in marks)


def job_of(chain: Chain, task: Task, folder: Path, manifest: Path | None) -> Job:
    """A task as a job of its own, on the chain's source or on the manifest that the steps before it left."""
    fields = {**task.job_fields(), "out": str(folder), "allow_hosts": chain.allow_hosts}
    if manifest is None:
        fields["columns"] = chain.columns.model_dump(exclude_defaults=True)
        return make_job(source=chain.source, limit=chain.limit, **fields)
    params = {name: column for name, column in task.of.items() if name not in ("path", "text")}
    columns: dict[str, Any] = {"id": ID, "params": params}
    if takes_files(task):
        columns["path"] = task.of.get("path", PATH)
    if "text" in task.of:
        columns["text"] = task.of["text"]
    return make_job(source=str(manifest), columns=columns, **fields)


def takes_files(task: Task) -> bool:
    """True when the task works on files; False when the rows are its input and there is nothing to be fetched."""
    from mediamill.tasks import capabilities
    from mediamill.tasks.sources.columns import needs_files

    return needs_files(capabilities.get(task.capability).kinds)


def _has(table: pa.Table, results: pa.Table) -> pa.Array:
    import pyarrow as pa

    there = set(results[ID].to_pylist())
    return pa.array([item_id in there for item_id in table[ID].to_pylist()], pa.bool_())


def _together(done: pa.Table, passing: pa.Table, before: pa.Table | None) -> pa.Table:
    """Rows that a step did and rows that passed it by, those with nulls where it has columns, as they stood before."""
    import pyarrow as pa

    whole = pa.concat_tables([done, passing], promote_options="default")
    place = {item_id: n for n, item_id in enumerate(before[ID].to_pylist())} if before is not None else {}
    order = sorted(range(whole.num_rows), key=lambda n: place.get(whole[ID][n].as_py(), n))
    return whole.take(pa.array(order, pa.int64()))


def _places(folder: Path) -> dict[str, str | None]:
    journal = open_existing(folder)
    try:
        return journal.outcomes.find_locations()
    finally:
        journal.close()


def _plain(chain: Chain) -> dict[str, Any]:
    return chain.model_dump(mode="json", exclude_defaults=True)
