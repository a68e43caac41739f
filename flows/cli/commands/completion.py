"""mediamill completion: the script that completes commands, options and values in a shell."""

from __future__ import annotations

import click

from mediamill.flows.cli.console import print_line
from mediamill.flows.cli.help_layout import HelpfulCommand

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=HelpfulCommand)
@click.argument("shell", type=click.Choice(SHELLS))
@click.option("--debug", is_flag=True, expose_value=False, help="print tracebacks")
def command(shell: str) -> int:
    """Print the script with which Tab completes commands, options and values in SHELL.

    Values too: providers, models, the OUTs there are, and the kinds of failures in one.
    """
    from click.shell_completion import get_completion_class

    from mediamill.flows.cli.main import cli

    completion = get_completion_class(shell)
    assert completion is not None
    for line in completion(cli, {}, "mediamill", "_MEDIAMILL_COMPLETE").source().splitlines():
        print_line(line)
    return 0
