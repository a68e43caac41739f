"""Runs a chain from the command line: its steps one after another, each with its opening line and its counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mediamill.flows.cli.chain_end import print_chain_end
from mediamill.flows.cli.confirm import ask_to_spend, refuse_unpriced
from mediamill.flows.cli.console import print_json, print_line, print_note, report_unprintable_end
from mediamill.flows.cli.library_noise import catch_library_noise
from mediamill.flows.cli.log_output import configure_logging
from mediamill.flows.cli.output import (
    format_opening_line,
    print_missing_keys,
    to_relative_path,
)
from mediamill.flows.cli.run_command import execute_job, notify_command_end, print_nothing_yet, wait_for_new_files
from mediamill.flows.cli.signals import end_on_signal
from mediamill.flows.prefect_runtime.api_endpoint import choose_prefect
from mediamill.tasks.errors import EmptySource
from mediamill.tasks.formatting import pluralize
from mediamill.tasks.job import Job
from mediamill.tasks.pipeline.chain_out import check_steps, choose_chain_out
from mediamill.tasks.pipeline.quote import format_chain_quote, quote_chain
from mediamill.tasks.pipeline.run import ChainRun, describe_chain
from mediamill.tasks.pipeline.spec import Chain
from mediamill.tasks.run.notify import RunEnd
from mediamill.tasks.run.resolved_job import resolve_job
from mediamill.tasks.sources.stdin import keep_stdin
from mediamill.tasks.summary import Summary


def run_chain(chain: Chain, options: Mapping[str, Any]) -> int:
    """Run a chain and print its outcome; return the exit code. With a schedule an empty source is no error."""
    with notify_command_end(chain.notify, describe_chain(chain)) as tell:
        try:
            return _run(chain, options, tell)
        except EmptySource as error:
            if chain.schedule is None or not print_nothing_yet(
                error, chain.out_path, as_json=bool(options.get("as_json"))
            ):
                raise
            return 0


def _run(chain: Chain, options: Mapping[str, Any], tell: Callable[[RunEnd], None]) -> int:
    as_json = bool(options.get("as_json"))
    quiet = bool(options.get("quiet")) or as_json
    configure_logging(options)
    chain, note = choose_chain_out(chain)
    if not quiet and not options.get("quote_only"):
        out = to_relative_path(chain.out_path)
        line = f"mediamill run: {pluralize(len(chain.steps), 'step')}; {chain.source} -> {out}"
        print_note(f"{line} ({note})" if note else line)
    if options.get("quote_only"):
        with catch_library_noise(enabled=not options.get("debug")):
            print_chain_quote(chain, as_json=as_json)
        return 0
    with end_on_signal():
        _confirm_chain(chain, options)
    prefect, how = choose_prefect(requested=options.get("prefect"))
    signals: list[int] = []

    def run_step(name: str, job: Job) -> Summary:
        resolved = resolve_job(job)
        if not quiet:
            print_note(f"{name}: {format_opening_line(resolved, how)}")
        outcome = execute_job(resolved, prefect, options, title=f"{name}: {resolved.capability.name}")
        summary = outcome.summary
        signals.extend(outcome.signals)
        if not quiet:
            print_note(f"{name}: {summary.done} done, {summary.failed} failed, {summary.skipped} unchanged")
        return summary

    result = ChainRun(chain, run_step).execute()
    tell(result.to_run_end())
    with report_unprintable_end():
        if as_json:
            print_json(result.as_dict())
        else:
            print_chain_end(result)
    return 128 + signals[0] if signals and result.exit_code not in (0, 3) else result.exit_code


def print_chain_quote(chain: Chain, *, as_json: bool) -> None:
    """Print what a chain would cost, step by step.

    Raises:
        UsageError: when no run could go on with it.
    """
    chain, note = choose_chain_out(chain)
    check_steps(chain, needs_key=False)
    quoted = quote_chain(chain)
    if as_json:
        quotes = {name: quote.as_dict() for name, quote in quoted.known.items()}
        high = None if quoted.high_usd is None else str(quoted.high_usd)
        low, out = str(quoted.low_usd), str(chain.out_path)
        print_json({"steps": quotes, "unknown": quoted.unknown, "low_usd": low, "high_usd": high, "out": out})
        return
    for line in format_chain_quote(quoted, chain.budget):
        print_line(line)
    out_line = f"  OUT: {to_relative_path(chain.out_path)}"
    print_line(f"{out_line}: {note}" if note else out_line)
    print_missing_keys(quoted.known.values())


def _confirm_chain(chain: Chain, options: Mapping[str, Any]) -> None:
    """Show the quote of a paid chain, and have it confirmed.

    Raises:
        UsageError: when a step cannot start, the answer is no, or nobody can be asked.
    """
    is_confirmed = bool(options.get("yes")) or chain.confirmed or chain.budget is not None
    jobs = check_steps(chain)
    if not any(resolved.is_paid for resolved in jobs):
        return
    wait_for_new_files(jobs[0], quiet=bool(options.get("quiet")))
    with keep_stdin(is_read=chain.source == "-"), catch_library_noise(enabled=not options.get("debug")):
        quoted = quote_chain(chain)
    for name, one in quoted.known.items() if chain.budget is not None else ():
        refuse_unpriced(one, where=f"step {name}: ")
    lines = format_chain_quote(quoted, chain.budget)
    for line in lines[-1:] if is_confirmed and options.get("quiet") else lines:
        print_note(line)
    if not is_confirmed and (quoted.unknown or any(one.items > one.finished for one in quoted.known.values())):
        ask_to_spend()
