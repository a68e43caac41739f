"""mediamill serve: the built-in provider as a server."""

from __future__ import annotations

import click


@click.command(
    "serve",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> int:
    """Serve the providers' wire formats on a loopback port; see `mediamill serve --help`."""
    from mediamill.tasks.local.server.process import main

    return int(main(list(arguments)) or 0)
