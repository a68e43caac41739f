"""mediamill translate: recordings to text in another language."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.options import build_job, job_options, param_options, run_options
from mediamill.flows.running import run_job

_PARAMS = ("to", "language", "prompt", "overlap", "normalize", "trim")


@click.command("translate")
@click.argument("source", required=False)
@param_options("translate", *_PARAMS)
@job_options
@run_options
def command(source: str | None, **options: Any) -> int:
    """Translate every recording of SOURCE to English, or with --to to another language.

    SOURCE is a folder, a glob, a file, a URL, a manifest (.csv .tsv .jsonl .parquet), or - for a list on stdin.
    OpenAI and Groq translate to English; Together and self-hosted servers take other targets. The built-in
    recogniser does not translate.
    """
    return run_job(build_job("translate", source, options, {name: options[name] for name in _PARAMS}), options)
