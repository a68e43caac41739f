"""mediamill settle: book what the provider billed for requests whose answer was lost."""

from __future__ import annotations

import shlex
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mediamill.flows.cli.completion import complete_out
from mediamill.flows.cli.confirm import ask_to_continue, is_at_terminal
from mediamill.flows.cli.console import print_json, print_line, print_note
from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.flows.cli.output import format_hold, to_relative_path
from mediamill.tasks.domain import format_decimal
from mediamill.tasks.errors import UsageError

if TYPE_CHECKING:
    from mediamill.tasks.out.settle import Settlement


_TOO_MUCH = Decimal(1_000_000_000)
_FINEST = Decimal("0.000000000001")


@click.command("settle", cls=HelpfulCommand)
@click.argument("out", type=click.Path(path_type=Path), shell_complete=complete_out)
@click.option("--billed", metavar="USD", help="what the provider's usage page says they cost in all, like 0.0123")
@click.option("--unbilled", is_flag=True, help="the usage page says that none of them was billed")
@click.option("--run", "runs", multiple=True, metavar="RUN", help="only those that this run sent; may be repeated")
@click.option("--above-maximum", is_flag=True, help="book it even where it is more than they can have cost")
@click.option("-y", "--yes", is_flag=True, help="book it without asking first; needed where nobody can be asked")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object instead of text")
@click.option("--debug", is_flag=True, expose_value=False, help="print tracebacks")
def command(
    out: Path,
    *,
    billed: str | None,
    unbilled: bool,
    runs: tuple[str, ...],
    above_maximum: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Book what was billed for requests of OUT whose answer was lost, and free what they hold of the budget.

    A request whose answer was lost, in a crash for example, may have been billed, so the most that it can have cost
    stays in the budget. The provider's usage page knows what it was. Without --billed or --unbilled this prints when
    the requests were sent, to look them up there. The amount is booked with the basis `stated` and today's date, a
    share for each request by its maximum; what is settled once stays so. The items stay as they are:
    `mediamill retry OUT --only unknown` requests lost answers again.
    """
    from mediamill.tasks.out.settle import find_lost_requests, refuse_while_busy, settle

    usd = _parse_billed(billed, unbilled=unbilled)
    found = find_lost_requests(out, runs)
    if usd is None:
        _print_lost(found, as_json=as_json)
        return 0
    refuse_while_busy(out)
    if found.requests and not yes:
        if not is_at_terminal():
            raise UsageError(
                f"{_format(usd)} would be booked for good, and nobody is there to be asked", hint="-y books it"
            )
        print_note(f"{_format(usd)} is booked for {found.words}, which hold {_format_hold(found)}")
        ask_to_continue()
    settled = settle(out, usd, runs, above_maximum=above_maximum)
    if as_json:
        print_json(settled.as_dict())
    elif settled.billed_usd is None:
        print_line("nothing to settle: no answer was lost, or all are settled")
    else:
        print_line(f"settled: {settled.words}; booked {_format(settled.billed_usd)}{_describe_rest(settled)}")
    return 0


def _format_hold(found: Settlement) -> str:
    return format_hold(found.held_usd, found.requests, found.without_maximum).rstrip(",")


def _describe_rest(settled: Settlement) -> str:
    """What became of what they held; nothing where that was not known."""
    rest = settled.held_usd - (settled.billed_usd or 0)
    if settled.without_maximum:
        return ""
    return f", freed {_format(rest)}" if rest >= 0 else f", {_format(-rest)} more than they held"


def _parse_billed(billed: str | None, *, unbilled: bool) -> Decimal | None:
    """The amount that is stated; None when none is.

    Raises:
        UsageError: when it is no amount, or both options are given.
    """
    if billed is not None and unbilled:
        raise UsageError("--billed and --unbilled say two things", hint="give one of them")
    if billed is None:
        return Decimal(0) if unbilled else None
    try:
        usd = Decimal(billed.removeprefix("$"))
    except InvalidOperation:
        usd = Decimal("NaN")
    if not usd.is_finite() or not 0 <= usd < _TOO_MUCH or usd != usd.quantize(_FINEST):
        raise UsageError(f"--billed: {billed!r} is no amount in US dollars, zero or more", hint="write it like 0.0123")
    return usd


def _print_lost(found: Settlement, *, as_json: bool) -> None:
    if as_json:
        print_json(found.as_dict())
        return
    print_line(f"{found.words}: {found.provider}, {found.model}")
    if not found.requests:
        return
    print_line(f"  sent between {found.first_sent} and {found.last_sent}, in {', '.join(found.runs)}")
    print_line(f"  what they hold of a budget: {_format_hold(found)}")
    name = shlex.quote(to_relative_path(Path(found.out)))
    print_line(f"  mediamill settle {name} --billed USD    books what the provider's usage page says they cost")
    print_line(f"  mediamill settle {name} --unbilled      where it says that they cost nothing")


def _format(usd: Decimal) -> str:
    """Exact, because whoever reads it compares it with a bill."""
    return f"${format_decimal(usd)}"
