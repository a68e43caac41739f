"""mediamill transcribe: recordings to transcripts."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.options import build_job, job_options, param_options, run_options
from mediamill.flows.running import run_job

_PARAMS = ("language", "prompt", "words", "diarize", "overlap", "normalize", "trim")


@click.command("transcribe")
@click.argument("source", required=False)
@param_options("transcribe", *_PARAMS)
@job_options
@run_options
def command(source: str | None, **options: Any) -> int:
    """Transcribe every recording of SOURCE.

    SOURCE is a folder, a glob, a file, a URL, a manifest (.csv .tsv .jsonl .parquet), or - for a list on
    stdin. Without any key the built-in provider does it, free and in draft quality.
    """
    return run_job(build_job("transcribe", source, options, {name: options[name] for name in _PARAMS}), options)
