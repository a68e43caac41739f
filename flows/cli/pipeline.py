"""Runs a chain from the command line: its steps one after another, each with its opening line and its counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mediamill.flows.cli.confirm import ask_to_continue, is_at_terminal
from mediamill.flows.cli.console import print_json, print_line, print_note, report_unprintable_end
from mediamill.flows.cli.formatting import format_dollars, pluralize
from mediamill.flows.cli.log_output import configure_logging
from mediamill.flows.cli.output import (
    format_opening_line,
    format_quote,
    format_total_spent,
    print_failures,
    print_not_taken,
    to_relative_path,
)
from mediamill.flows.cli.run_command import execute_job
from mediamill.flows.prefect_runtime.api_endpoint import choose_prefect
from mediamill.tasks.job import Job
from mediamill.tasks.pipeline.result import ChainResult
from mediamill.tasks.pipeline.run import ChainRun, build_task_job
from mediamill.tasks.pipeline.spec import Chain
from mediamill.tasks.resolved_job import resolve_job
from mediamill.tasks.summary import Summary


def run_chain(chain: Chain, options: Mapping[str, Any]) -> int:
    """Run a chain and print its outcome; return the exit code."""
    as_json = bool(options.get("as_json"))
    quiet = bool(options.get("quiet")) or as_json
    configure_logging(options)
    if options.get("quote_only"):
        _print_chain_quote(chain, as_json=as_json)
        return 0
    if not options.get("yes"):
        _confirm_chain(chain)
    prefect, how = choose_prefect(requested=options.get("prefect"))
    signals: list[int] = []

    def run_step(name: str, job: Job) -> Summary:
        resolved = resolve_job(job)
        if not quiet:
            print_note(f"{name}: {format_opening_line(resolved, how)}")
        outcome = execute_job(resolved, prefect, options)
        summary = outcome.summary
        signals.extend(outcome.signals)
        if not quiet:
            print_note(f"{name}: {summary.done} done, {summary.failed} failed, {summary.skipped} done before")
        return summary

    result = ChainRun(chain, run_step).execute()
    with report_unprintable_end():
        if as_json:
            print_json(result.as_dict())
        else:
            _print_chain_end(result)
    return 128 + signals[0] if signals and result.exit_code not in (0, 3) else result.exit_code


def _print_chain_end(end: ChainResult) -> None:
    print_line(f"chain: {pluralize(end.rows, 'row')} at the end; {format_total_spent(end)}")
    for step in end.steps:
        passed_text = f", {step.passed} passed through unchanged" if step.passed else ""
        n_failed = sum(group.count for summary in step.runs.values() for group in summary.failures)
        failures_text = f", {n_failed} failed" if n_failed else ""
        print_line(f"  {step.name}: {step.rows} in, {step.out} out{passed_text}{failures_text}")
        for problem in step.problems[:3]:
            print_line(f"    {problem}")
        for summary in step.runs.values():
            print_failures(summary)
            print_not_taken(summary.not_taken, indent="  ")
            if summary.failures:
                print_line(f"  again:   mediamill retry {to_relative_path(Path(summary.out))}, then run the same file")
    if end.unknown_max_usd:
        print_line(f"  up to {format_dollars(end.unknown_max_usd)} more for calls that may have been billed")
    if end.message:
        print_line(f"stopped: {end.message}")
    print_line(f"results: {end.out / 'results'}")
    if end.exit_code not in (0, 3):
        print_line("again:   run the same file to go on where it stopped")


def _print_chain_quote(chain: Chain, *, as_json: bool) -> None:
    from mediamill.tasks.pipeline.quote import quote_chain

    quoted = quote_chain(chain)
    if as_json:
        quotes = {name: quote.as_dict() for name, quote in quoted.known.items()}
        high = None if quoted.high_usd is None else str(quoted.high_usd)
        print_line(
            json.dumps({"steps": quotes, "unknown": quoted.unknown, "low_usd": str(quoted.low_usd), "high_usd": high})
        )
        return
    for name, one in quoted.known.items():
        print_line(f"{name}: {format_quote(one)}")
    for name, reason in quoted.unknown.items():
        print_line(f"{name}: cost unknown: {reason}")
    low, high = format_dollars(quoted.low_usd), format_dollars(quoted.high_usd)
    print_line(f"chain: at least {low}, at most {high}; --budget bounds all steps together")


def _confirm_chain(chain: Chain) -> None:
    """Show the quote of a paid chain and ask, at a terminal and without a budget."""
    if chain.budget is not None or not is_at_terminal():
        return
    jobs = (build_task_job(chain, task, chain.out_path, None) for _, _, task in chain.tasks())
    if all(resolve_job(job).is_local for job in jobs):
        return
    _print_chain_quote(chain, as_json=False)
    ask_to_continue()
