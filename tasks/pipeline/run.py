"""Run a chain: each step is a run of a job."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.errors import NoSuchOption
from mediamill.tasks.formatting import format_dollars
from mediamill.tasks.job import Job
from mediamill.tasks.out.chain_steps import find_step_folders
from mediamill.tasks.out.status import open_existing
from mediamill.tasks.pipeline.chain_out import check_steps, choose_chain_out
from mediamill.tasks.pipeline.result import FINISHED_EXIT_CODES, ChainResult, StepResult
from mediamill.tasks.pipeline.spec import Chain, Step, Task
from mediamill.tasks.pipeline.table import (
    ID,
    add_step_columns,
    build_first_table,
    drop_step_columns,
    find_unknown_columns,
    read_results,
    replace_rows,
    select_rows,
    write_manifest,
    write_parquet,
)
from mediamill.tasks.pipeline.task_job import build_task_job, get_step_folder, get_task_folder
from mediamill.tasks.renamed_options import to_stored_job
from mediamill.tasks.sinks.atomic_file import write_json
from mediamill.tasks.summary import Summary

if TYPE_CHECKING:
    import pyarrow as pa

RunStepJob = Callable[[str, Job], Summary]
"""Runs the job of a step, given the step's name and the job."""

RECORD_FILE = "chain.json"


class ChainRun:
    """One run of a chain's steps. Running it again goes on where it stopped: what is done costs nothing.

    Args:
        chain: the chain to run.
        run_step_job: runs a step's job and returns its summary.
    """

    def __init__(self, chain: Chain, run_step_job: RunStepJob) -> None:
        self._chain = choose_chain_out(chain).chain
        self._run_step_job = run_step_job
        self._out = self._chain.out_path
        self._result = ChainResult(self._out)
        self._last_step: str | None = None
        self._has_all_columns = True

    def execute(self) -> ChainResult:
        """Run every step.

        Raises:
            MediamillError: when a step could not start, or the disk or a journal failed.
        """
        check_steps(self._chain)
        table: pa.Table | None = None
        for number, step in enumerate(self._chain.steps, 1):
            step_result = StepResult(step.name)
            self._result.steps.append(step_result)
            table = self._run_step(number, step, table, step_result)
            if table is None:
                break
            step_result.out = table.num_rows
            self._last_step = step.name if step.task else None
        if table is not None:
            self._result.rows = table.num_rows
            write_parquet(self._out, table, self._out / "results" / "part-000000.parquet")
        self._sum_costs()
        write_json(
            self._out, self._out / RECORD_FILE, {"chain": _to_stored_chain(self._chain), **self._result.as_dict()}
        )
        return self._result

    def _run_step(self, number: int, step: Step, table: pa.Table | None, step_result: StepResult) -> pa.Table | None:
        """Run a step: the table after it; None when the chain ends here."""
        folder = get_step_folder(self._out, number, step)
        skipped = None
        if table is not None:
            step_result.rows = table.num_rows
            self._check_columns(step, "when", step.when, table, self._last_step)
            selection = select_rows(table, step.when, self._last_step)
            to_do, skipped = selection.matching, selection.other
            step_result.passed, step_result.problems = skipped.num_rows, selection.problems
        else:
            to_do = None
        result_table: pa.Table | None = to_do
        for name, task in step.branches().items():
            task_folder = get_task_folder(self._out, number, step, name)
            source = None if to_do is None else self._write_manifest(to_do, task_folder, task)
            if source is not None and to_do is not None and not to_do.num_rows:
                self._has_all_columns = False
                continue
            if not self._run_task(step_result, name, task, task_folder, source):
                return None
            results = read_results(task_folder)
            self._has_all_columns = self._has_all_columns and results.num_rows > 0
            if result_table is None:
                result_table = build_first_table(results, name, _load_locations(task_folder))
                step_result.rows = result_table.num_rows
            else:
                result_table = add_step_columns(
                    result_table.filter(_mask_of_items(result_table, results)), results, name
                )
        assert result_table is not None
        if step.until:
            self._check_columns(step, "until", step.until, result_table, step.name)
            result_table = self._repeat_step(folder, step, result_table, step_result)
            if result_table is None:
                return None
        if skipped is not None and skipped.num_rows:
            result_table = _merge_in_order(result_table, skipped, table)
        last_step = step.name if step.task else self._last_step
        self._check_columns(step, "keep", step.keep, result_table, last_step)
        selection = select_rows(result_table, step.keep, last_step)
        step_result.problems += selection.problems
        step_result.dropped = result_table.num_rows - selection.matching.num_rows
        return selection.matching

    def _check_columns(
        self, step: Step, field: str, expression: str | None, table: pa.Table, last_step: str | None
    ) -> None:
        """Refuse an expression with an unknown column: it would silently select no rows.

        A task without results has no columns either, so then the expression cannot be checked.

        Raises:
            NoSuchOption: with the nearest column there is.
        """
        if expression is None or not self._has_all_columns:
            return
        for name in sorted(find_unknown_columns(table, expression, last_step)):
            plain_names = [column.removeprefix(f"{last_step}_") for column in table.column_names]
            raise NoSuchOption(
                "column", name, sorted({*table.column_names, *plain_names}), where=f"step {step.name}: {field}"
            )

    def _repeat_step(self, folder: Path, step: Step, table: pa.Table, step_result: StepResult) -> pa.Table | None:
        """Repeat a step with each repeat's changes, for the rows that its ``until`` does not hold for yet."""
        import pyarrow as pa

        assert step.task is not None
        results = read_results(folder)
        before = drop_step_columns(table, results, step.name)
        rounds = dict.fromkeys(table[ID].to_pylist(), 0)
        current = table
        for number, change in enumerate(step.again, 1):
            unsatisfied = select_rows(current, step.until, step.name).other
            if not unsatisfied.num_rows:
                break
            repeat_folder = folder / f"again-{number}"
            task = step.task.with_changes(change)
            to_do = before.filter(_mask_of_items(before, unsatisfied))
            source = self._write_manifest(to_do, repeat_folder, task)
            if not self._run_task(step_result, f"{step.name} again {number}", task, repeat_folder, source):
                return None
            repeated = read_results(repeat_folder)
            rounds.update(dict.fromkeys(repeated[ID].to_pylist(), number))
            results = replace_rows(results, repeated)
            current = add_step_columns(before, results, step.name)
        selection = select_rows(current, step.until, step.name)
        step_result.problems += selection.problems
        satisfied_ids = set(selection.matching[ID].to_pylist())
        item_ids = current[ID].to_pylist()
        current = current.append_column(
            f"{step.name}_round", pa.array([rounds.get(i, 0) for i in item_ids], pa.int32())
        )
        return current.append_column(f"{step.name}_held", pa.array([i in satisfied_ids for i in item_ids], pa.bool_()))

    def _write_manifest(self, table: pa.Table, folder: Path, task: Task) -> Path:
        path = folder / "manifest.parquet"
        write_manifest(self._out, table, path, self._last_step, [*task.of.values(), *task.template_columns()])
        return path

    def _run_task(self, step_result: StepResult, name: str, task: Task, folder: Path, source: Path | None) -> bool:
        job = self._build_job(task, folder, source)
        summary = self._run_step_job(name, job)
        step_result.runs[name] = summary
        if summary.exit_code not in FINISHED_EXIT_CODES:
            step_result.stop(summary, is_repeat=" again " in name)
            self._result.exit_code = summary.exit_code
            self._result.message, self._result.hint = summary.message, summary.hint
            if summary.stopped_by == "budget" and self._chain.budget is not None and not summary.lost_requests:
                self._result.message = f"the chain's budget of {format_dollars(self._chain.budget)} is reached"
                self._result.hint = "run it again with a higher --budget to go on; it is one for all steps and runs"
            return False
        self._result.exit_code = max(self._result.exit_code, summary.exit_code)
        return True

    def _build_job(self, task: Task, folder: Path, source: Path | None) -> Job:
        job = build_task_job(self._chain, task, folder, source)
        return job if self._chain.budget is None else job.model_copy(update={"budget": self._remaining_budget(folder)})

    def _remaining_budget(self, folder: Path) -> Decimal:
        """The budget of this step's OUT: the chain's budget without what the other steps may have cost."""
        assert self._chain.budget is not None
        others = sum((cost for out, cost in self._max_costs().items() if out != folder), Decimal(0))
        return max(self._chain.budget - others, Decimal(0))

    def _max_costs(self) -> dict[Path, Decimal]:
        """The maximum that the runs of each step can have cost; adds the unknown costs to the result."""
        costs: dict[Path, Decimal] = {}
        for folder in find_step_folders(self._out):
            journal = open_existing(folder)
            try:
                spent = journal.attempts.sum_costs()
                costs[folder] = spent.known + spent.unknown_max
                self._result.unknown_max_usd += spent.unknown_max
                self._result.unstated += spent.unstated
            finally:
                journal.close()
        return costs

    def _sum_costs(self) -> None:
        self._result.unknown_max_usd, self._result.unstated = Decimal(0), 0
        max_cost = sum(self._max_costs().values(), Decimal(0))
        self._result.spent_usd = max_cost - self._result.unknown_max_usd


def describe_chain(chain: Chain) -> str:
    """What ran, for a notification."""
    return f"chain {Path(chain.source).name or chain.source}"


def _mask_of_items(table: pa.Table, results: pa.Table) -> pa.Array:
    import pyarrow as pa

    item_ids = set(results[ID].to_pylist())
    return pa.array([item_id in item_ids for item_id in table[ID].to_pylist()], pa.bool_())


def _merge_in_order(done: pa.Table, skipped: pa.Table, before: pa.Table | None) -> pa.Table:
    """The rows that a step did and those it skipped, in their earlier order; its columns are null in skipped rows."""
    import pyarrow as pa

    merged = pa.concat_tables([done, skipped], promote_options="default")
    position = {item_id: n for n, item_id in enumerate(before[ID].to_pylist())} if before is not None else {}
    order = sorted(range(merged.num_rows), key=lambda n: position.get(merged[ID][n].as_py(), n))
    return merged.take(pa.array(order, pa.int64()))


def _load_locations(folder: Path) -> dict[str, str | None]:
    journal = open_existing(folder)
    try:
        return journal.outcomes.find_locations()
    finally:
        journal.close()


def _to_stored_chain(chain: Chain) -> dict[str, Any]:
    """A chain as its record keeps it."""
    fields = chain.model_dump(mode="json", exclude_defaults=True, exclude={"moved", "copied", "confirmed", "notify"})
    for step in fields["steps"]:
        if "task" in step:
            step["task"] = to_stored_job(step["task"])
        if "parallel" in step:
            step["parallel"] = {name: to_stored_job(task) for name, task in step["parallel"].items()}
    return fields
