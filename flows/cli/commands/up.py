"""mediamill up: start a local Prefect server with its UI."""

from __future__ import annotations

import click

from mediamill.flows.cli.console import print_line
from mediamill.flows.prefect_runtime.api_endpoint import PrefectApi, describe_version_mismatch


@click.command("up")
@click.option("--port", type=click.IntRange(1, 65535), help="port to listen on; default: 4200, or the next free one")
@click.option("--worker", is_flag=True, help="also start a process worker for the pool")
@click.option("--pool", default="mediamill", show_default=True, help="work pool of the worker")
@click.option("--debug", is_flag=True, expose_value=False, help="print tracebacks")
def command(*, port: int | None, worker: bool, pool: str) -> int:
    """Start a local Prefect server in the background; runs report to it until `mediamill down`.

    Prefect keeps its database in its usual place (~/.prefect). The worker takes its keys from this shell's
    environment.
    """
    from mediamill.flows.prefect_runtime.server import is_api_up, is_prefect, load_up_state, start_server, start_worker

    state = load_up_state()
    if state is not None and state.is_running() and is_api_up(state.api):
        state_text = "is up already"
    else:
        state = start_server(port)
        state_text = "is up"
    prefect = PrefectApi(state.api, "mediamill up")
    print_line(f"Prefect {state_text}: {prefect.ui}")
    if mismatch := describe_version_mismatch(prefect):
        print_line(f"  {mismatch}")
    if worker:
        if state.worker is None or not is_prefect(state.worker):
            state = start_worker(state, pool)
        print_line(f"a worker serves the pool {pool!r} (process {state.worker})")
    print_line(f"for Prefect's own commands: export PREFECT_API_URL={state.api}")
    return 0
