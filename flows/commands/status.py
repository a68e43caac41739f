"""mediamill status: how an OUT stands."""

from __future__ import annotations

from pathlib import Path

import click

from flows.telling import tell_status


@click.command("status")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="one JSON object instead of text")
@click.option("--debug", is_flag=True, help="tracebacks")
def command(out: Path, *, as_json: bool, debug: bool) -> int:  # noqa: ARG001
    """Say what is done, failed and spent in OUT, also while a run works on it."""
    from tasks.status import status

    tell_status(status(out), as_json=as_json)
    return 0
