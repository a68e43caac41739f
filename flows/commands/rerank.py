"""mediamill rerank: documents in the order of how well they answer a query."""

from __future__ import annotations

from typing import Any

import click

from mediamill.flows.options import build_job, job_options, param_options, run_options
from mediamill.flows.running import run_job

_PARAMS = ("query", "corpus", "rank_fields", "top_n", "min_score", "return_documents")


@click.command("rerank")
@click.argument("source", required=False)
@param_options("rerank", *_PARAMS)
@job_options
@run_options
def command(source: str | None, **options: Any) -> int:
    """Rank documents for every query of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of queries and one of documents: lists of texts or
    of objects, or those as JSON. With --corpus all queries rank the same file. Results have one row a query, best
    document first; `mediamill export OUT --to FILE --long` makes it one row a document.
    """
    return run_job(build_job("rerank", source, options, {name: options[name] for name in _PARAMS}), options)
