"""The command that runs a job again makes the same job when it is typed in a shell."""

from __future__ import annotations

import shlex
from typing import Any

import click
import pytest

from mediamill.flows.cli.main import cli
from mediamill.flows.cli.options import build_job
from mediamill.tasks.explain.job_command import format_job_command, list_settings_of_files
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import make_job

TEXTS = ["plain", "", " a ", "true", "1", "a: b", "{{ x }} is 'it'", "- x", "# x", "a\nb", "ä😀", "\x1b\x7f"]
JOBS: list[dict[str, Any]] = [
    {},
    {"provider": "together", "model": "m 1", "base_url": "http://127.0.0.1:1/v1", "api_key_env": "MY_KEY"},
    {"journal": "/a b/journal", "budget": "0.10", "endpoint_hourly": 2, "timeout": 90, "rpm": 0.5, "concurrency": 3},
    {"retries": 0, "shard_size": 7, "max_memory": 1000, "group": 2},
    {"allow_hosts": ["a:1", "b"], "subtitles": ["srt", "vtt"]},
    {"columns": {"id": "the id", "path": "p", "text": "t", "group": "g"}},
    {"params": {"n": 3, "temperature": 0.5, "stop": TEXTS, "json_schema": {"type": "object", "x": [None, False]}}},
    *({"params": {"prompt": text}} for text in TEXTS),
]


def parse_command(command: str) -> Job:
    """The job of a command, made as the shell and the command line make it."""
    program, capability, *arguments = shlex.split(command)
    assert program == "mediamill"
    found = cli.get_command(click.Context(cli), capability)
    assert found is not None
    options = found.make_context(capability, arguments).params
    return build_job(capability, options["source"], options, {})


@pytest.mark.parametrize("fields", JOBS)
def test_the_command_makes_the_same_job(fields: dict[str, Any]) -> None:
    job = make_job(capability="complete", source="/in it/p.csv", out="/out's", **fields)
    assert parse_command(format_job_command(job)) == job


def test_what_only_one_run_was_to_do_is_not_repeated() -> None:
    job = make_job(capability="embed", source="-", limit=3, run_deadline=5, replace=True, no_cache=True)
    assert format_job_command(job) == "mediamill embed -"


def test_settings_that_only_a_file_can_have_are_named() -> None:
    job = make_job(capability="embed", source="p.csv", columns={"id": "i", "types": {"x": "int64"}, "version": "v"})
    assert list_settings_of_files(job) == ["columns.version", "columns.types"]
