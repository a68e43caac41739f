"""mediamill complete: prompts to answers."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.options import build_job, job_options, param_options, run_options
from mediamill.flows.running import run_job

_PARAMS = ("prompt", "system", "max_tokens", "temperature", "n", "reasoning_effort", "tools", "tool_choice")


@click.command("complete")
@click.argument("source", required=False)
@param_options("complete", *_PARAMS)
@click.option("--schema", "json_schema", metavar="FILE", help="JSON Schema of the answers; its fields become columns")
@job_options
@run_options
def command(source: str | None, **options: Any) -> int:
    """Answer every prompt of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of prompts, texts or messages, a folder of .txt
    files, a file, a URL, or - for a prompt on each line of stdin. With --prompt the text of each row is put into a
    template: {{ text }} and any other {{ column }}.
    """
    names = (*_PARAMS, "json_schema")
    return run_job(build_job("complete", source, options, {name: options[name] for name in names}), options)
