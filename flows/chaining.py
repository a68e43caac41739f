"""A chain from the command line: its steps one after another, told as they go."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from mediamill.flows.stderr import note
from mediamill.flows.telling import opening_line, quote_line, short, tell_failures
from mediamill.flows.words import dollars, many
from mediamill.tasks.errors import UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.pipeline.result import ChainEnd
from mediamill.tasks.pipeline.run import ChainRun
from mediamill.tasks.pipeline.spec import Chain
from mediamill.tasks.summary import Summary


def run_chain(chain: Chain, options: Mapping[str, Any]) -> int:
    """Run a chain and tell what came of it; the exit code."""
    from mediamill.flows.running import do_job, log_for
    from mediamill.flows.which import choose
    from mediamill.tasks.open_run import choose_provider

    as_json = bool(options.get("as_json"))
    quiet = bool(options.get("quiet")) or as_json
    log_for(debug=bool(options.get("debug")))
    if options.get("quote_only"):
        _tell_quote(chain, as_json=as_json)
        return 0
    if not options.get("yes"):
        _agree(chain)
    prefect, how = choose(wanted=options.get("prefect"))
    caught: list[int] = []

    def do(name: str, job: Job) -> Summary:
        if not quiet:
            note(f"{name}: {opening_line(job, choose_provider(job), how)}")
        summary, signals, _ = do_job(job, prefect, options)
        caught.extend(signals)
        if not quiet:
            note(f"{name}: {summary.done} done, {summary.failed} failed, {summary.skipped} done before")
        return summary

    end = ChainRun(chain, do).execute()
    if as_json:
        click.echo(json.dumps(end.as_dict()))
    else:
        _tell(end)
    return 128 + caught[0] if caught and end.exit_code not in (0, 3) else end.exit_code


def _tell(end: ChainEnd) -> None:
    click.echo(f"chain: {many(end.rows, 'row')} at the end; {dollars(end.spent_usd)} in all")
    for step in end.steps:
        passed = f", {step.passed} passed it by" if step.passed else ""
        failed = sum(group.count for summary in step.runs.values() for group in summary.failures)
        told = f", {failed} failed" if failed else ""
        click.echo(f"  {step.name}: {step.rows} in, {step.out} out{passed}{told}")
        for problem in step.problems[:3]:
            click.echo(f"    {problem}")
        for summary in step.runs.values():
            tell_failures(summary)
            if summary.failures:
                click.echo(f"  again:   mediamill retry {short(Path(summary.out))}, then run the same file")
    if end.unknown_max_usd:
        click.echo(f"  up to {dollars(end.unknown_max_usd)} more for calls that may have been billed")
    if end.message:
        click.echo(f"stopped: {end.message}")
    click.echo(f"results: {end.out / 'results'}")
    if end.exit_code not in (0, 3):
        click.echo("again:   run the same file to go on where it stopped")


def _tell_quote(chain: Chain, *, as_json: bool) -> None:
    from mediamill.tasks.pipeline.quote import quote_chain

    told = quote_chain(chain)
    if as_json:
        quotes = {name: one.as_dict() for name, one in told.known.items()}
        high = None if told.high_usd is None else str(told.high_usd)
        click.echo(
            json.dumps({"steps": quotes, "unknown": told.unknown, "low_usd": str(told.low_usd), "high_usd": high})
        )
        return
    for name, one in told.known.items():
        click.echo(f"{name}: {quote_line(one)}")
    for name, why in told.unknown.items():
        click.echo(f"{name}: cost unknown: {why}")
    click.echo(
        f"chain: at least {dollars(told.low_usd)}, at most {dollars(told.high_usd)}; --budget bounds all steps together"
    )


def _agree(chain: Chain) -> None:
    """A paid chain on a terminal shows its quote and asks; a budget answers."""
    from mediamill.tasks.open_run import choose_provider
    from mediamill.tasks.pipeline.run import job_of

    if chain.budget is not None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    jobs = (job_of(chain, task, chain.out_path, None) for _, _, task in chain.tasks())
    if all(choose_provider(job).name == "local" for job in jobs):
        return
    _tell_quote(chain, as_json=False)
    if not click.confirm("Go on?", err=True):
        raise UsageError("not started", hint="--yes starts without asking, --budget USD bounds what it may cost")
