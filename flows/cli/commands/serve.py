"""mediamill serve: run the built-in provider as a server."""

from __future__ import annotations

import click

from mediamill.flows.cli.help_layout import HelpfulCommand
from mediamill.tasks.local.server import options

command = HelpfulCommand(
    "serve",
    params=[
        *options.command.params,
        click.Option(["--debug"], is_flag=True, help="print tracebacks", expose_value=False),
    ],
    callback=options.command.callback,
    help=options.command.help,
    epilog=options.command.epilog,
    own_heading="Server",
    groups={
        "Limits and faults": "latency rpm tpm rpd audio_per_hour limiter burst fail seed faults",
        "What it serves": "max_bytes max_seconds model cell_seconds idle_seconds session_seconds job_seconds "
        "link_seconds stream_shape url_host",
        "Keys and bill": "key_env require_key price bill_file",
    },
)
