"""mediamill describe-video: videos to words."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.options import build_job, job_options, param_options, run_options
from mediamill.flows.running import run_job

_PARAMS = (
    *("prompt", "system", "frames", "every", "scenes", "window", "detail", "whole", "with_audio", "audio_model"),
    *("language", "max_tokens", "temperature"),
)


@click.command("describe-video")
@click.argument("source", required=False)
@param_options("describe-video", *_PARAMS)
@click.option("--schema", "json_schema", metavar="FILE", help="JSON Schema of the answers; its fields become columns")
@job_options
@run_options
def command(source: str | None, **options: Any) -> int:
    """Describe every video of SOURCE, or answer any prompt about it.

    SOURCE is a folder, a glob, a file, a URL, a manifest (.csv .tsv .jsonl .parquet), or - for a list on stdin.
    Endpoints that take videos get them whole; others are shown frames with their times, long videos in windows that
    are summed up at the end. --with-audio transcribes the sound with the same provider and tells the model.
    """
    names = (*_PARAMS, "json_schema")
    return run_job(build_job("describe-video", source, options, {name: options[name] for name in names}), options)
