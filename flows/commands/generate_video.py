"""mediamill generate-video: prompts to videos."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.options import build_job, job_options, param_options, run_options
from mediamill.flows.running import run_job

_PARAMS = (
    *(
        "prompt",
        "size",
        "resolution",
        "aspect_ratio",
        "seconds",
        "fps",
        "steps",
        "seed",
        "negative_prompt",
        "guidance_scale",
    ),
    *("keyframes", "reference_images", "output_format", "preview"),
)


@click.command("generate-video")
@click.argument("source", required=False)
@param_options("generate-video", *_PARAMS)
@job_options
@run_options
def command(source: str | None, **options: Any) -> int:
    """Make a video of every prompt of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of prompts, a folder of .txt files, a file, or - for
    a prompt on each line of stdin. Columns called like a parameter (model, size, seconds, seed, negative_prompt,
    keyframes, reference_images ...) hold it for their row. Parameters are checked before anything is paid. A job is
    created once: a run that was killed looks it up, and one whose creation got no answer is reported, never repeated
    unasked. With --preview the cheapest version of each is made; `mediamill retry OUT --promote` then makes the final
    one of those whose file still stands in OUT/media.
    """
    return run_job(build_job("generate-video", source, options, {name: options[name] for name in _PARAMS}), options)
