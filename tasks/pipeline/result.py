"""The results of a chain and of each of its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from mediamill.tasks.formatting import format_dollars, pluralize
from mediamill.tasks.run.notify import RunEnd
from mediamill.tasks.summary import Summary

FINISHED_EXIT_CODES = (0, 3)
"""The exit codes of a run after which the next step may run."""
_MAX_RECORDED_PROBLEMS = 20
"""Maximum problems of a step that are recorded."""


@dataclass(slots=True)
class StepResult:
    """The result of one step: rows in, rows out, and the summaries of its runs.

    Of the rows ``out``, those that ``passed`` are as they were. The others were ``dropped`` by ``keep``, are ``left``
    where the step was stopped, or ``failed``. Rows whose expression could not be evaluated are dropped, too;
    ``problems`` says why.
    """

    name: str
    rows: int = 0
    passed: int = 0
    out: int = 0
    dropped: int = 0
    left: int = 0
    runs: dict[str, Summary] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def failed(self) -> int:
        """The rows that the step lost, as one of its tasks failed."""
        return max(self.rows - self.out - self.dropped - self.left, 0)

    @property
    def cost_usd(self) -> Decimal:
        """The known cost of the step's tasks over all runs."""
        return sum((summary.out_cost_usd for summary in self.runs.values()), Decimal(0))

    def stop(self, summary: Summary, *, is_repeat: bool) -> None:
        """Count what is there where one of the step's runs was stopped."""
        self.rows = self.rows or summary.out_total
        self.left = min(summary.out_left, self.rows)
        self.out = max(self.rows - self.left - (0 if is_repeat else summary.out_failed), 0)


@dataclass(slots=True)
class ChainResult:
    """The result of a chain. ``exit_code`` is that of the step it ended in, or 3 where items failed on the way.

    The costs are those of all runs of all steps: ``spent_usd`` is known, ``unknown_max_usd`` the maximum that may be
    added, and ``unstated`` requests have no known price.
    """

    out: Path
    exit_code: int = 0
    rows: int = 0
    spent_usd: Decimal = Decimal(0)
    unknown_max_usd: Decimal = Decimal(0)
    unstated: int = 0
    steps: list[StepResult] = field(default_factory=list)
    message: str | None = None
    hint: str | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the chain came to its end, so that there are results of all steps."""
        return self.exit_code in FINISHED_EXIT_CODES

    @property
    def stopped_by(self) -> str | None:
        """What stopped the step it ended in; None where nothing did."""
        runs = [summary for step in self.steps for summary in step.runs.values()]
        return next((summary.stopped_by for summary in reversed(runs) if summary.stopped_by), None)

    @property
    def results_folder(self) -> Path:
        """The results of the chain; where it was stopped, those of the last step that has some."""
        runs = [summary for step in self.steps for summary in step.runs.values() if summary.out_done]
        return Path(runs[-1].out if runs and not self.is_finished else self.out) / "results"

    def to_run_end(self) -> RunEnd:
        """What a notification tells of it."""
        rows = f"{pluralize(self.rows, 'row')} at the end" if self.is_finished else f"stopped in {self.steps[-1].name}"
        cost = f"{rows}, {format_dollars(self.spent_usd)} in all runs"
        lines = (cost, *map(format_step, self.steps), f"results: {self.results_folder}")
        is_idle = all(summary.state == "nothing" for step in self.steps for summary in step.runs.values())
        why = f"{self.message} - {self.hint}" if self.message and self.hint else self.message
        return RunEnd.of_chain(self.exit_code, self.stopped_by, lines, why, is_idle=is_idle)

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON values; money as text."""
        return {
            "out": str(self.out),
            "exit_code": self.exit_code,
            "rows": self.rows,
            "spent_usd": str(self.spent_usd),
            "unknown_max_usd": str(self.unknown_max_usd),
            "unstated": self.unstated,
            "message": self.message,
            "hint": self.hint,
            "steps": [
                {
                    "name": step.name,
                    "rows": step.rows,
                    "passed": step.passed,
                    "out": step.out,
                    "dropped": step.dropped,
                    "left": step.left,
                    "failed": step.failed,
                    "problems": list(step.problems[:_MAX_RECORDED_PROBLEMS]),
                    "runs": {name: summary.as_dict() for name, summary in step.runs.items()},
                }
                for step in self.steps
            ],
        }


def format_step(step: StepResult) -> str:
    """The rows of a step in one line: those that are not zero."""
    more = {"passed through unchanged": step.passed, "failed": step.failed, "dropped": step.dropped, "left": step.left}
    counts = "".join(f", {number:,} {word}" for word, number in more.items() if number)
    return f"{step.name}: {step.rows:,} in, {step.out:,} out{counts}"
