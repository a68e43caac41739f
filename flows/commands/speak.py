"""mediamill speak: texts to audio files."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.options import build_job, job_options, param_options, run_options
from mediamill.flows.running import run_job

_PARAMS = ("voice", "format", "speed", "language", "instructions", "sample_rate")


@click.command("speak")
@click.argument("source", required=False)
@param_options("speak", *_PARAMS)
@job_options
@run_options
def command(source: str | None, **options: Any) -> int:
    """Say every text of SOURCE, each into an audio file under OUT/media.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of texts, a folder of .txt files, a file, a
    URL, or - for a text on each line of stdin. Long texts are cut at sentences and joined without clicks. What
    may have been billed without an answer is told as `unknown` and not bought again unasked.
    """
    return run_job(build_job("speak", source, options, {name: options[name] for name in _PARAMS}), options)
