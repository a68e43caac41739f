"""Asks before money is spent, and only at a terminal; --yes or a budget answers beforehand."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mediamill.flows.cli.console import print_note
from mediamill.flows.cli.formatting import pluralize
from mediamill.flows.cli.output import format_quote
from mediamill.tasks.errors import UsageError

if TYPE_CHECKING:
    from mediamill.tasks.resolved_job import ResolvedJob


def confirm_run(resolved: ResolvedJob, n_items: int | None) -> None:
    """Show what a paid run would cost, or how many items a retry does again, and ask for a yes.

    Raises:
        UsageError: when the answer is no.
    """
    if resolved.job.budget is not None or resolved.is_local or not is_at_terminal():
        return
    not_taken = None
    if n_items is not None:
        provider = resolved.provider.name
        line, n_todo = f"retry: {pluralize(n_items, 'item')} at {provider}, paid for like new ones", n_items
    else:
        from mediamill.tasks.quote import quote

        quoted = quote(resolved)
        line, n_todo = format_quote(quoted), quoted.items - quoted.finished
        not_taken = quoted.not_taken
    print_note(line)
    for reason in not_taken.describe() if not_taken else ():
        print_note(f"  not taken: {reason}")
    if n_todo:
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
