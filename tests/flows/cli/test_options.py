"""Options, job files and their schema have the same fields and descriptions."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

from mediamill.flows.cli.job_schema import make_job_schema
from mediamill.flows.cli.main import cli
from mediamill.flows.cli.options import to_job_fields
from mediamill.tasks import capabilities
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import load_job, make_job
from tests.helpers.paths import ROOT

JOBS = sorted((ROOT / "configs" / "jobs").glob("*.yaml"))
FIELDS_WITHOUT_OPTION = {"capability", "source", "params", "columns", "allow_hosts", "schedule", "confirmed", "notify"}
"""Job's fields that are the command, its argument, another command, or options with another name."""


def get_options(name: str) -> dict[str, click.Option]:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return {p.name: p for p in command.params if isinstance(p, click.Option) and p.name}


@pytest.mark.parametrize("name", ["quote", "run"])
def test_every_field_of_a_job_is_an_option_with_its_own_help(name: str) -> None:
    options = get_options(name)
    for field, info in Job.model_fields.items():
        if field not in FIELDS_WITHOUT_OPTION:
            assert options[field].help == info.description
            assert options[field].opts[-1] == "--" + field.replace("_", "-")


def test_options_of_a_capability_are_its_parameters_with_their_own_help() -> None:
    fields = capabilities.get("transcribe").params.model_fields
    options = get_options("transcribe")
    for name in ("language", "prompt", "words", "diarize"):
        assert options[name].help == fields[name].description


def test_every_command_has_help_and_knows_debug() -> None:
    for name in cli.list_commands(click.Context(cli)):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.help
        assert "--debug" in {flag for param in command.params for flag in param.opts}


def test_settings_are_yaml_and_override_the_file(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "capability: transcribe\nsource: a\nbudget: 5\nparams: {language: de, words: true}\n"
        "columns: {id: key, path: file, types: {n: int64}}\n"
    )
    given = to_job_fields(
        {"budget": "7.5", "settings": ("words=false", "min-speakers=2", "prompt=a=b"), "id_column": "nr"}
    )
    job = load_job(path, **given)
    assert str(job.budget) == "7.5"
    assert job.params == {"language": "de", "words": False, "min_speakers": 2, "prompt": "a=b"}
    assert (job.columns.id, job.columns.path, job.columns.types) == ("nr", "file", {"n": "int64"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("params: fast", "params"),
        ("params: [1]", "params"),
        ("params: {1: en}", "params"),
        ("columns: x", "columns"),
        ("columns: {idd: x}", "'idd'"),
        ("1: x", "'1'"),
        ("where: x", "'where'"),
        ("source: [a]", "source"),
        ("limit: 0", "limit"),
        ("budget: .nan", "budget"),
        ("run_deadline: soon", "run_deadline"),
        ("run_deadline: .inf", "run_deadline"),
        ("wait_for_provider: soon", "wait_for_provider"),
        ("wait_for_provider: -1", "wait_for_provider"),
        ("api_key_env: not a name", "api_key_env"),
        ("[", "YAML"),
        ("\x00", "YAML"),
        ("- a", "mapping"),
    ],
)
def test_a_wrong_job_file_is_named_with_what_is_wrong(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    lines = {"capability": "capability: transcribe", "source": "source: a", text.split(":", maxsplit=1)[0]: text}
    path.write_text("\n".join(lines.values()) if ":" in text else text)
    with pytest.raises(UsageError) as caught:
        load_job(path)
    assert str(path) in caught.value.message
    assert expected in caught.value.message
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("given", "seconds"), [("0", 0), ("0s", 0), (0, 0), ("1h", 3600), (2.5, 2.5), (None, None)])
def test_a_run_may_wait_no_time_for_a_provider(given: str | float | None, seconds: float | None) -> None:
    assert make_job(capability="embed", source="a", wait_for_provider=given).wait_for_provider == seconds


def test_a_job_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_bytes(b"\xff\xfe\x00source")
    with pytest.raises(UsageError, match="UTF-8"):
        load_job(tmp_path / "job.yaml")


def test_a_misspelt_option_gets_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("capability: transcribe\nsource: a\nconcurency: 3\n")
    with pytest.raises(NoSuchOption) as caught:
        load_job(tmp_path / "job.yaml")
    assert caught.value.hint == "did you mean 'concurrency'?"


@pytest.fixture(scope="module")
def is_valid() -> Any:
    """Whether a job fits the schema."""
    schema = json.loads(json.dumps(make_job_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema).is_valid


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_the_example_jobs_fit_the_schema(path: Path, is_valid: Any) -> None:
    assert is_valid(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    "wrong", [{"bugdet": 5}, {"params": {"langage": "en"}}, {"params": {"words": "maybe"}}, {"capability": "transcrib"}]
)
def test_the_schema_refuses_what_a_run_refuses(wrong: dict[str, Any], is_valid: Any) -> None:
    job = {"capability": "transcribe", "source": "a"}
    assert is_valid(job)
    assert not is_valid({**job, **wrong})


def test_every_listed_command_is_in_the_file_of_its_name() -> None:
    from mediamill.flows.cli.main import COMMANDS

    files = {path.stem for path in (ROOT / "flows" / "cli" / "commands").glob("[!_]*.py")}
    assert files == set(COMMANDS)
    for name, about in COMMANDS.items():
        assert importlib.import_module(f"mediamill.flows.cli.commands.{name}").command.name == name
        assert about.endswith(".")
