"""mediamill down: stop the Prefect server and worker that ``mediamill up`` started."""

from __future__ import annotations

import click

from mediamill.flows.cli.console import print_line


@click.command("down")
@click.option("--debug", is_flag=True, expose_value=False, help="print tracebacks")
def command() -> int:
    """Stop the worker and the Prefect server that `mediamill up` started. Its runs drain and can be resumed."""
    from mediamill.flows.prefect_runtime.server import stop_server

    state = stop_server()
    print_line(f"Prefect at {state.api.removesuffix('/api')} is down" if state else "nothing is up")
    return 0
