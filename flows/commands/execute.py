"""mediamill execute: cells of code to what they print, return and draw."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.options import build_job, job_options, param_options, run_options
from mediamill.flows.running import run_job

_PARAMS = ("session", "files", "allow_local_code")


@click.command("execute")
@click.argument("source", required=False)
@param_options("execute", *_PARAMS)
@job_options
@run_options
def command(source: str | None, **options: Any) -> int:
    """Run the code in every row of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of code, a folder of .txt files, or - for a line of
    code on each line of stdin. Rows with the same `session` run one after another in one session and share its
    variables. Code that fails is a result with ok = false, not a failure. The built-in provider runs code on this
    machine, without network and within limits, and only with --allow-local-code.
    """
    return run_job(build_job("execute", source, options, {name: options[name] for name in _PARAMS}), options)
