"""mediamill up: start a local Prefect server with its UI."""

from __future__ import annotations

import os
import shlex
import webbrowser
from typing import TYPE_CHECKING

import click

from mediamill.flows.cli.console import print_line, print_note
from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.flows.prefect_runtime.api_endpoint import AUTH_VARIABLE, describe_version_mismatch, make_up_endpoint

if TYPE_CHECKING:
    from mediamill.flows.prefect_runtime.api_endpoint import PrefectApi
    from mediamill.flows.prefect_runtime.up_state import UpState


@click.command("up", cls=HelpfulCommand)
@click.option("--port", type=click.IntRange(1, 65535), help="port to listen on; default: 4200, or the next free one")
@click.option("--worker", is_flag=True, help="also start a process worker for the pool")
@click.option("--pool", default="mediamill", show_default=True, help="work pool of the worker")
@click.option("--open", "open_ui", is_flag=True, help="open the UI in the browser, logged in")
@click.option("--show-password", is_flag=True, help="print the password to type into the UI")
@click.option("--print-env", is_flag=True, help="print shell lines that set Prefect's address and password, for eval")
@click.option("--debug", is_flag=True, expose_value=False, help="print tracebacks")
def command(*, port: int | None, worker: bool, pool: str, open_ui: bool, show_password: bool, print_env: bool) -> int:
    """Start a local Prefect server in the background; runs report to it until `mediamill down`.

    It listens on this machine alone and asks everyone for a password that only this user can read: web pages and
    other users are refused. Its database is its own, beside its logs in ~/.local/state/mediamill. The worker takes its
    keys from this shell's environment, as it is now: after a new key, `mediamill down` and `up --worker` again.
    """
    from mediamill.flows.prefect_runtime.server import close_prefect_home, write_login_page

    say = print_note if print_env else print_line
    if closed := close_prefect_home():
        say(f"other users could read {closed}: it is this user's alone now")
    database_notes = _describe_other_databases()
    state, state_text = _start_or_find_server(port)
    prefect = make_up_endpoint(state)
    say(f"Prefect {state_text}: {prefect.ui}")
    mismatch = describe_version_mismatch(prefect)
    for line in (*database_notes, *([f"  {mismatch}"] if mismatch else ()), *_report_missed_ends(prefect)):
        say(line)
    if worker or state.has_worker():
        for line in _ensure_worker(state, pool if worker else None):
            say(line)
    if open_ui:
        page = write_login_page(state.api).as_uri()
        if not webbrowser.open(page):
            say(f"no browser was found here; open it yourself: {page}")
    if show_password:
        say(f"password: {prefect.password}")
    if not (open_ui or show_password or print_env):
        say("to see the UI: mediamill up --open (or log in with what --show-password prints)")
        say('for Prefect\'s own commands: eval "$(mediamill up --print-env)"')
    if print_env:
        _print_environment(prefect)
    return 0


def _start_or_find_server(port: int | None) -> tuple[UpState, str]:
    """Start the server where none is up; return it, and what to say of it.

    Raises:
        UsageError: when one is up that has no password.
    """
    from mediamill.flows.prefect_runtime.server import is_api_up, start_server
    from mediamill.flows.prefect_runtime.up_state import load_up_state
    from mediamill.tasks.errors import UsageError

    state = load_up_state()
    if state is None or not state.is_running() or not is_api_up(state.api):
        print_note("mediamill: starting Prefect's server; its first start takes up to a minute")
        return start_server(port), "is up"
    if not state.guarded:
        raise UsageError(
            f"Prefect at {state.api} was started without a password, so any web page can give it commands",
            hint="start it again: mediamill down, then mediamill up",
        )
    since = f" since {state.started[:16].replace('T', ' ')}" if state.started else ""
    return state, f"is up already{since}, version {state.version} of {state.python or 'another environment'}"


def _describe_other_databases() -> list[str]:
    """What is in other databases of Prefect that one may expect here; before the server makes its own."""
    from mediamill.flows.prefect_runtime.guarded_server import DATABASE_VARIABLES
    from mediamill.flows.prefect_runtime.server import find_earlier_deployments

    lines = [
        f"  {name} is not used: this server's database is its own" for name in DATABASE_VARIABLES & os.environ.keys()
    ]
    if earlier := find_earlier_deployments():
        lines.append(f"  deployed before, in Prefect's usual database, and not scheduled here: {', '.join(earlier)}")
        lines.append("  deploy them again: mediamill deploy JOB.yaml")
    return lines


def _ensure_worker(state: UpState, pool: str | None) -> list[str]:
    """Start the server's worker where none runs; return what to say of it, a line each.

    Raises:
        UsageError: when one runs that serves another pool than ``pool``.
    """
    from mediamill.flows.prefect_runtime.server import POOL, start_worker
    from mediamill.tasks.errors import UsageError

    if not state.has_worker():
        assert pool is not None
        return [f"a worker serves the pool {pool!r} (process {start_worker(state, pool).worker})"]
    if pool is not None and state.pool not in (None, pool):
        raise UsageError(
            f"the worker that is up serves the pool {state.pool!r}, not {pool!r}",
            hint=f"mediamill down, then mediamill up --worker --pool {shlex.quote(pool)}",
        )
    first = f"a worker serves the pool {state.pool or POOL!r} (process {state.worker})"
    return [first, *(f"  {line}" for line in _describe_worker_environment(state))]


def _describe_worker_environment(state: UpState) -> list[str]:
    """Which keys a worker that was running before has, and how it gets those of this shell."""
    from mediamill.tasks.providers.registry import iter_usable_configs

    if state.worker_variables is None:
        return ["its environment is not known; mediamill down, then mediamill up --worker gives it this shell's"]
    names = {config.key_env for _, config in iter_usable_configs() if config.key_env}
    worker_keys, own_keys = names & {*state.worker_variables}, names & {*os.environ}
    lines = [f"it has the environment of its start, with {', '.join(sorted(worker_keys)) or 'no key'}"]
    if missing := own_keys - worker_keys:
        lines.append(f"{', '.join(sorted(missing))} of this shell is not in it")
    return [*lines, "to give it this shell's environment: mediamill down, then mediamill up --worker"]


def _report_missed_ends(prefect: PrefectApi) -> list[str]:
    """Tell the server how runs ended while it was away; return what was corrected, a line each."""
    from mediamill.flows.prefect_runtime.server import UNREPORTED_FOLDER
    from mediamill.flows.prefect_runtime.up_state import get_state_path

    unreported = get_state_path().with_name(UNREPORTED_FOLDER)
    if not any(unreported.glob("*.json")):
        return []
    prefect.configure_client()
    from prefect.client.orchestration import get_client

    from mediamill.flows.prefect_runtime.flow_run_ends import EndCorrector, EndRecords

    try:
        with get_client(sync_client=True) as client:
            return EndCorrector(client, EndRecords.unreported()).correct_recorded()
    except Exception as error:  # noqa: BLE001 (they stay on record)
        return [f"the ends of earlier runs could not be reported: {type(error).__name__}"]


def _print_environment(prefect: PrefectApi) -> None:
    for name, value in (("PREFECT_API_URL", prefect.api), (AUTH_VARIABLE, prefect.password or "")):
        print_line(f"export {name}={shlex.quote(value)}")
