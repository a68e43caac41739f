"""mediamill down: stop the Prefect server and worker that ``mediamill up`` started."""

from __future__ import annotations

import click

from mediamill.flows.cli.console import print_line, print_note
from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.tasks.formatting import pluralize


@click.command("down", cls=HelpfulCommand)
@click.option("--debug", is_flag=True, expose_value=False, help="print tracebacks")
def command() -> int:
    """Stop the worker, its runs and the Prefect server that `mediamill up` started, within 30 seconds.

    Runs let their requests in flight end, and the next run goes on with them. A run that does not end in time is
    killed: what was paid is kept, and the next run goes on all the same. Runs that a command of yours started go on.
    """
    from mediamill.flows.prefect_runtime.shutdown import stop_all

    stopped = stop_all(tell=print_note)
    if stopped is None:
        print_line("nothing is up")
        return 0
    if stopped.drained:
        print_line(f"{pluralize(stopped.drained, 'run')} ended; the next run goes on where it was")
    if stopped.killed:
        print_line(f"{pluralize(stopped.killed, 'run')} did not end in time and was killed; the next run goes on")
    print_line(f"Prefect at {stopped.state.api.removesuffix('/api')} is down")
    return 0
