"""The end of a chain: its steps, what each lost and why, what it cost, and one next step that is true."""

from __future__ import annotations

import sys
from pathlib import Path

from mediamill.flows.cli.console import print_line
from mediamill.flows.cli.end_table import align
from mediamill.flows.cli.hyperlinks import print_path
from mediamill.flows.cli.output import format_total_spent, print_failures, print_not_taken, to_relative_path
from mediamill.tasks.formatting import format_dollars, pluralize
from mediamill.tasks.pipeline.result import ChainResult, StepResult, format_step

_HEADINGS = ("", "in", "out", "failed", "dropped", "left", "cost", "passed unchanged")
_MAX_PROBLEMS = 3


def print_chain_end(end: ChainResult) -> None:
    """Print how a chain ended: on a terminal with a table of its steps, elsewhere in lines."""
    on_terminal = sys.stdout.isatty()
    heading = f"{pluralize(end.rows, 'row')} at the end" if end.is_finished else f"stopped in {end.steps[-1].name}"
    print_line(f"chain: {heading}; {format_total_spent(end)}")
    for line in format_chain_table(end) if on_terminal else ():
        print_line(f"  {line}")
    for step in end.steps:
        if not on_terminal:
            print_line(f"  {format_step(step)}")
        _print_step_details(step, named=on_terminal)
    if end.unknown_max_usd:
        print_line(f"  up to {format_dollars(end.unknown_max_usd)} more for calls that may have been billed")
    if end.message:
        print_line(f"stopped: {end.message}")
    print_path("results:", end.results_folder, to_relative_path(end.results_folder))
    if not end.is_finished:
        print_line(f"next:    {end.hint or 'run the same command to go on where it stopped'}")


def format_chain_table(end: ChainResult) -> list[str]:
    """A row for each step, and one for the chain. In each, what came in is out, failed, dropped or left."""
    rows = [
        (
            step.name,
            *(f"{number:,}" for number in (step.rows, step.out, step.failed, step.dropped, step.left)),
            "free" if _is_free(step) else format_dollars(step.cost_usd),
            f"{step.passed:,}",
        )
        for step in end.steps
    ]
    return align([_HEADINGS, *rows])


def _is_free(step: StepResult) -> bool:
    return not step.cost_usd and all(summary.is_free for summary in step.runs.values())


def _print_step_details(step: StepResult, *, named: bool) -> None:
    name = f"{step.name}: " if named else ""
    for problem in step.problems[:_MAX_PROBLEMS]:
        print_line(f"    {name}{problem}")
    for summary in step.runs.values():
        if named and summary.failures:
            print_line(f"  {step.name}:")
        print_failures(summary)
        print_not_taken(summary.not_taken, indent="  ")
        if any(group.retry_helps and not group.stands for group in summary.failures):
            print_line(f"  again:   mediamill retry {to_relative_path(Path(summary.out))}, then run the same command")
