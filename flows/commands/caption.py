"""mediamill caption: pictures to words."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.options import build_job, job_options, param_options, run_options
from mediamill.flows.running import run_job

_PARAMS = ("prompt", "system", "detail", "max_tokens", "temperature", "reasoning_effort", "fetch", "dedup")


@click.command("caption")
@click.argument("source", required=False)
@param_options("caption", *_PARAMS)
@click.option("--schema", "json_schema", metavar="FILE", help="JSON Schema of the answers; its fields become columns")
@job_options
@run_options
def command(source: str | None, **options: Any) -> int:
    """Caption every picture of SOURCE, or answer any prompt about it.

    SOURCE is a folder, a glob, a file, a URL, a manifest (.csv .tsv .jsonl .parquet), or - for a list on stdin.
    The prompt is a template over the manifest's columns: --prompt "Describe {{ product }} for a shop." Ready prompts
    for alt texts, tags, OCR and more: configs/jobs. Without any key the built-in provider measures and describes.
    """
    names = (*_PARAMS, "json_schema")
    return run_job(build_job("caption", source, options, {name: options[name] for name in names}), options)
