"""mediamill embed: texts to vectors."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.options import build_job, job_options, param_options, run_options
from mediamill.flows.running import run_job

_PARAMS = ("template", "dimensions")


@click.command("embed")
@click.argument("source", required=False)
@param_options("embed", *_PARAMS)
@job_options
@run_options
def command(source: str | None, **options: Any) -> int:
    """Embed every text of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of texts, a folder of .txt files, a file, a URL,
    or - for a text on each line of stdin. Texts share requests as far as the provider allows. The built-in provider
    hashes words into vectors: texts with the same words are near each other, texts of the same meaning are not.
    """
    return run_job(build_job("embed", source, options, {name: options[name] for name in _PARAMS}), options)
