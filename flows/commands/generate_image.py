"""mediamill generate-image: prompts to pictures."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.options import build_job, job_options, param_options, run_options
from mediamill.flows.running import run_job

_PARAMS = (
    *("prompt", "n", "size", "width", "height", "aspect_ratio", "steps", "seed", "negative_prompt", "guidance_scale"),
    *("quality", "resolution", "output_format", "response_format", "reference_images"),
)


@click.command("generate-image")
@click.argument("source", required=False)
@param_options("generate-image", *_PARAMS)
@job_options
@run_options
def command(source: str | None, **options: Any) -> int:
    """Draw every prompt of SOURCE, each into picture files under OUT/media.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of prompts, a folder of .txt files, a file, a URL,
    or - for a prompt on each line of stdin; columns such as size, seed or n count for their row. Every picture is
    decoded to its end before it is published. What may have been billed without an answer is told as `unknown` and
    not bought again unasked.
    """
    return run_job(build_job("generate-image", source, options, {name: options[name] for name in _PARAMS}), options)
