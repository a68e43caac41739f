"""Shows what a paid run costs before it starts, and has it confirmed: by a budget, by --yes, or at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from mediamill.flows.cli.console import print_note
from mediamill.flows.cli.library_noise import catch_library_noise
from mediamill.tasks.errors import UsageError

if TYPE_CHECKING:
    from mediamill.tasks.run.plan import Retry
    from mediamill.tasks.run.resolved_job import ResolvedJob
    from mediamill.tasks.summary import Quote


def confirm_run(resolved: ResolvedJob, retry: Retry | None, options: Mapping[str, Any]) -> None:
    """Show what a paid run or retry would cost, and have it confirmed.

    A run that nobody pays for is never asked, nor one that has nothing to do. A budget for a model without a known
    price is refused in a rehearsal, too.

    Args:
        resolved: the job.
        retry: what a retry does again; None for a run that is none.
        options: ``yes``. A run that is ``quiet`` shows its quote, too: one line.

    Raises:
        UsageError: when the answer is no, or nobody can be asked.
    """
    job = resolved.job
    is_confirmed = bool(options.get("yes")) or job.confirmed or job.budget is not None
    if not resolved.is_paid and not _may_be_unpriced(resolved):
        return
    from mediamill.tasks.run.quote import quote
    from mediamill.tasks.run.quote_text import describe_limit, format_quote
    from mediamill.tasks.sources.stdin import keep_stdin

    with keep_stdin(is_read=retry is None and job.source == "-"), catch_library_noise(enabled=not options.get("debug")):
        quoted = quote(resolved, retry)
    line, n_todo = format_quote(quoted), quoted.items - quoted.finished
    if _may_be_unpriced(resolved):
        unlisted = resolved.provider.describe_unlisted_model(resolved.capability.operation, resolved.model)
        refuse_unpriced(quoted, unlisted=unlisted)
    if not resolved.is_paid:
        return
    if n_todo or retry is None:
        print_note(f"{line}; {describe_limit(job.budget)}" if n_todo else line)
    if is_confirmed or not n_todo:
        return
    for reason in quoted.not_taken.describe() if quoted.not_taken else ():
        print_note(f"  not taken: {reason}")
    ask_to_spend()


def refuse_unpriced(quoted: Quote, *, where: str = "", unlisted: str | None = None) -> None:
    """Refuse a budget where no item has a known price: nothing could be sent, and every item would fail.

    Args:
        quoted: what is to have a budget.
        where: what the message begins with.
        unlisted: that the provider's list lacks the model.

    Raises:
        UsageError: naming the model.
    """
    n_usable = quoted.items - quoted.finished - quoted.bad_items
    if quoted.price_source is not None or not quoted.unpriced or quoted.unpriced < n_usable:
        return  # with a price it is a length that is not known yet
    raise UsageError(
        f"{where}no price is known for {quoted.model}, so no budget can hold{f'; {unlisted}' if unlisted else ''}",
        hint="--yes without a budget sends at any price; a file that MEDIAMILL_PRICES names can give its price",
    )


def _may_be_unpriced(resolved: ResolvedJob) -> bool:
    """Whether a budget is to hold for a model without a known price. Rows may name other models."""
    job, operation = resolved.job, resolved.capability.operation
    has_budget = job.budget is not None and job.endpoint_hourly is None and not resolved.provider.billing.free
    return has_budget and resolved.pricing.source(resolved.model, operation) is None


def ask_to_spend() -> None:
    """Ask whether a paid run may start.

    Raises:
        UsageError: when the answer is no, or nobody can be asked.
    """
    if not is_at_terminal():
        raise UsageError(
            "this run costs money, and nobody is there to be asked",
            hint="--budget USD starts it with a limit, --yes without one; in a job file budget, or confirmed: true",
        )
    ask_to_continue()


def is_at_terminal() -> bool:
    """Whether a user at a terminal can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def ask_to_continue() -> None:
    """Ask the user whether to continue.

    Raises:
        UsageError: when the answer is no.
    """
    if not click.confirm("Go on?", err=True):
        raise UsageError("not started", hint="--yes starts without asking, --budget USD limits the cost")
