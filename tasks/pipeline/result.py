"""What came of a chain and of each of its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from mediamill.tasks.summary import Summary

_MAX_RECORDED_PROBLEMS = 20
"""Problems of a step that are recorded."""


@dataclass(slots=True)
class StepResult:
    """What came of one step: rows that came in, ``passed`` it by, went out, and what its runs told.

    Rows whose expression could not be worked out go no further; ``problems`` says why.
    """

    name: str
    rows: int = 0
    passed: int = 0
    out: int = 0
    runs: dict[str, Summary] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class ChainResult:
    """What came of a chain. ``exit_code`` is that of the step it ended in, or 3 where items failed on the way.

    Money is that of all the steps' runs: ``spent_usd`` for sure, ``unknown_max_usd`` more at the most, and ``unstated``
    requests that have no known price.
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
        """Plain values; money as text."""
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
