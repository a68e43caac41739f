"""mediamill transcribe: recordings to transcripts."""

from __future__ import annotations

from typing import Any

import click

from flows.options import build_job, job_options, run_options
from flows.running import run_job


@click.command("transcribe")
@click.argument("source", required=False)
@click.option("--language", metavar="CODE", help="ISO-639-1 code, or auto to detect (the default)")
@click.option("--prompt", metavar="TEXT", help="names and terms the model should expect")
@click.option("--words/--no-words", default=None, help="words with times, where the model has them")
@click.option("--diarize", is_flag=True, default=None, help="who speaks when, where the model can tell")
@job_options
@run_options
def command(source: str | None, **options: Any) -> int:
    """Transcribe every recording of SOURCE.

    SOURCE is a folder, a glob, a file, a URL, a manifest (.csv .tsv .jsonl .parquet), or - for a list on
    stdin. Without any key the built-in provider does it, free and in draft quality.
    """
    params = {name: options[name] for name in ("language", "prompt", "words", "diarize")}
    return run_job(build_job("transcribe", source, options, params), options)
