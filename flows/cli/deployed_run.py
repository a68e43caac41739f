"""Starts a deployment's run on its worker, and follows it to its end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.flows.cli.console import print_json, print_line, print_note
from mediamill.flows.prefect_runtime.api_endpoint import choose_prefect
from mediamill.tasks.errors import NoSuchOption, RunStopped, UsageError
from mediamill.tasks.untrusted_text import to_single_line

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

_POLL_SECONDS = 1.0
_EXIT_LEFT_RUNNING = 130


def run_deployed(name: str, *, as_json: bool, quiet: bool) -> int:
    """Run a deployment; return the exit code that its job would have had as a command.

    Args:
        name: ``FLOW/NAME``, or the name alone where one deployment has it.
        as_json: print one JSON object at the end.
        quiet: print the end alone.

    Raises:
        UsageError: when there is no such deployment, or no worker to run it.
        RunStopped: when Prefect goes away.
    """
    prefect, _ = choose_prefect(requested=True)
    assert prefect is not None
    prefect.configure_client()
    import httpx
    from prefect.client.orchestration import get_client

    from mediamill.flows.prefect_runtime.deployment_checks import refuse_without_worker
    from mediamill.flows.prefect_runtime.states import find_exit_code

    with get_client(sync_client=True) as client:
        deployment, full_name = _find_deployment(client, name)
        refuse_without_worker(client, prefect, full_name, deployment.work_pool_name)
        started = client.create_flow_run_from_deployment(deployment.id)
        url = f"{prefect.ui}/runs/flow-run/{started.id}"
        if not quiet and not as_json:
            print_note(f"mediamill run: {full_name} -> {url}")
        try:
            flow_run = _follow(client, started, quiet=quiet or as_json)
        except KeyboardInterrupt:
            print_note(f"mediamill: it runs on; cancel it there: {url}")
            return _EXIT_LEFT_RUNNING
        except httpx.HTTPError as error:
            reason = f"Prefect does not answer any more ({type(error).__name__})"
            raise RunStopped(reason, hint=f"the run may go on without it: {url}") from None
    state = flow_run.state
    assert state is not None
    code, message = find_exit_code(state), to_single_line(state.message or "")
    if as_json:
        end: dict[str, Any] = {"flow_run": str(started.id), "name": flow_run.name, "state": state.name}
        print_json({**end, "exit_code": code, "message": message, "url": url})
    else:
        print_line(f"{to_single_line(flow_run.name)}: {state.name}: {message}")
        print_line(f"prefect: {url}")
        if out := _find_out(deployment.parameters or {}):
            print_line(f"results: {to_single_line(out)}/results")
    return code


def _find_deployment(client: SyncPrefectClient, name: str) -> tuple[DeploymentResponse, str]:
    """The deployment of this name, and its flow's name with its own.

    Raises:
        NoSuchOption: when there is none, with the nearest.
        UsageError: when several flows have one.
    """
    found: dict[str, DeploymentResponse] = {}
    while page := client.read_deployments(offset=len(found), limit=200):
        flow_names = {flow_id: client.read_flow(flow_id).name for flow_id in {each.flow_id for each in page}}
        found |= {f"{flow_names[each.flow_id]}/{each.name}": each for each in page}
    matching = [each for each in found if name in (each, each.partition("/")[2])]
    if not matching:
        raise NoSuchOption("deployment", name, found or {"none; mediamill deploy JOB.yaml makes one"})
    if len(matching) > 1:
        raise UsageError(f"{name} is the name of {len(matching)} deployments", hint=f"name one: {', '.join(matching)}")
    return found[matching[0]], matching[0]


def _find_out(parameters: Mapping[str, Any]) -> str | None:
    """OUT of a deployment's job or chain; None where it names none, or where it has no results on this machine."""
    out = parameters.get("out") or (parameters.get("chain") or parameters.get("job") or {}).get("out")
    return str(out) if out and (Path(str(out)) / "results").is_dir() else None


def _follow(client: SyncPrefectClient, flow_run: FlowRun, *, quiet: bool) -> FlowRun:
    """Wait until a flow run has ended, and say how its state changes; return it as it ended."""
    last_state = None
    while True:
        flow_run = client.read_flow_run(flow_run.id)
        state = flow_run.state
        if state is not None and state.is_final():
            return flow_run
        if state is not None and state.name != last_state:
            last_state = state.name
            if not quiet:
                print_note(f"  {to_single_line(flow_run.name)}: {state.name}")
        time.sleep(_POLL_SECONDS)
