"""The results of a chain and of each of its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from mediamill.tasks.summary import Summary

_MAX_RECORDED_PROBLEMS = 20
"""Maximum problems of a step that are recorded."""


@dataclass(slots=True)
class StepResult:
    """The result of one step: rows in, rows that ``passed`` it unchanged, rows out, and the summaries of its runs.

    Rows whose expression could not be evaluated are dropped; ``problems`` says why.
    """

    name: str
    rows: int = 0
    passed: int = 0
    out: int = 0
    runs: dict[str, Summary] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


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
            "steps": [
                {
                    "name": step.name,
                    "rows": step.rows,
                    "passed": step.passed,
                    "out": step.out,
                    "problems": list(step.problems[:_MAX_RECORDED_PROBLEMS]),
                    "runs": {name: summary.as_dict() for name, summary in step.runs.items()},
                }
                for step in self.steps
            ],
        }
