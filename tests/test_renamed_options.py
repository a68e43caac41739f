"""Options under their old names: they go on working, hidden, and what an OUT stores keeps them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml

import mediamill
from mediamill.flows.cli.job_schema import make_job_schema
from mediamill.flows.cli.main import cli
from mediamill.flows.cli.options import build_job
from mediamill.flows.prefect_runtime.flow_factory import _parse_form, make_capability_flow, to_flow_parameters
from mediamill.tasks.errors import NoSuchOption, UsageError
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import load_job, make_job
from mediamill.tasks.pipeline.spec import make_chain
from mediamill.tasks.renamed_options import JOB_OPTIONS, get_renamed_params
from mediamill.tasks.run.resolved_job import resolve_job
from tests.capabilities.capability_runs import run_capability
from tests.helpers.cli_runs import make_wavs
from tests.helpers.cli_runs import mediamill as run_cli
from tests.helpers.local_server import RunningServer, running_server

OLD = {"deadline": "90s", "memory": 1_000_000, "refresh": True}
NEW = {"timeout": 90.0, "max_memory": 1_000_000, "no_cache": True}
BOTH = "deadline is the old name of timeout, and both are given; give timeout alone"


def options_of(name: str) -> dict[str, click.Option]:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return {flag: p for p in command.params if isinstance(p, click.Option) for flag in p.opts}


@pytest.mark.parametrize("name", ["transcribe", "rerank", "run", "quote", "retry"])
def test_the_help_shows_the_new_options_and_hides_the_old_ones(name: str) -> None:
    options = options_of(name)
    for old, new in {**JOB_OPTIONS, **get_renamed_params(name)}.items():
        hidden, shown = (options["--" + field.replace("_", "-")] for field in (old, new))
        assert (hidden.hidden, shown.hidden) == (True, False)
        assert hidden.help == shown.help


def test_an_old_option_sets_the_field_of_the_new_one() -> None:
    job = build_job("rerank", "in", {**OLD, "settings": ()}, {"spelling": "tei"})
    assert job.model_dump(include=set(NEW)) == NEW
    assert job.params == {"api_style": "tei"}


def test_an_option_under_both_of_its_names_is_refused(tmp_path: Path) -> None:
    done = run_cli("transcribe", tmp_path, "--deadline", "5s", "--timeout", "5s", home=tmp_path / "home")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "mediamill: --deadline is the old name of --timeout, and both are given",
        "  give --timeout alone",
    ]
    with pytest.raises(UsageError, match="--spelling is the old name of --api-style"):
        build_job("rerank", "in", {}, {"spelling": "tei", "api_style": "cohere"})
    for flag, setting in (("api_style", "spelling=tei"), ("spelling", "api_style=tei")):
        with pytest.raises(UsageError, match="--spelling is the old name of --api-style, and both are given") as caught:
            build_job("rerank", "in", {"settings": (setting,)}, {flag: "vllm"})
        assert caught.value.hint == "give --api-style alone"
    with pytest.raises(UsageError, match=BOTH):
        mediamill.transcribe(tmp_path, deadline=5, timeout=5)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="spelling is the old name of api_style"):
        resolve_job(make_job(capability="rerank", source="in", params={"spelling": "tei", "api_style": "tei"}))


def test_a_job_file_takes_the_old_names(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump({"capability": "rerank", "source": "in", "params": {"spelling": "tei"}, **OLD}))
    assert load_job(path).model_dump(include=set(NEW)) == NEW
    assert resolve_job(load_job(path)).params.api_style == "tei"
    over = load_job(path, timeout=5, params={"api_style": "cohere"})
    assert (over.timeout, over.params) == (5, {"api_style": "cohere"})
    path.write_text("capability: transcribe\nsource: in\ndeadline: 5\ntimeout: 6\n")
    with pytest.raises(UsageError) as caught:
        load_job(path)
    assert caught.value.message == f"{path}: {BOTH}"


def test_settings_and_a_files_parameter_are_one_parameter_under_either_name(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("capability: rerank\nsource: in\nparams: {spelling: tei, top_n: 3}\n")
    for settings, options in (
        (("api_style=cohere",), {"api_style": "vllm"}),
        (("spelling=cohere",), {}),
        ((), {"api_style": "cohere"}),
        ((), {"spelling": "cohere"}),
    ):
        job = build_job("rerank", None, {"config": path, "settings": settings}, options)
        params = resolve_job(job).params
        assert (params.api_style, params.top_n) == ("cohere", 3)


def test_a_misspelt_option_is_compared_with_the_new_names_alone() -> None:
    with pytest.raises(NoSuchOption) as caught:
        make_job(capability="transcribe", source="in", timeuot=5)
    assert caught.value.hint == "did you mean 'timeout'?"


def test_a_chain_takes_the_old_names_and_repeats_override_them() -> None:
    task = {"capability": "rerank", "deadline": "90s", "params": {"spelling": "tei"}}
    again = [{"timeout": 5, "params": {"api_style": "cohere"}}]
    step = {"name": "rank", "task": task, "until": "top_score > 1", "again": again}
    [(found, _, first)] = make_chain({"source": "in.jsonl", "steps": [step]}).tasks()
    assert (first.timeout, first.params) == ("90s", {"spelling": "tei"})
    repeat = first.with_changes(found.again[0])
    assert (repeat.timeout, repeat.params) == (5, {"api_style": "cohere"})
    with pytest.raises(UsageError, match=BOTH):
        make_chain({"source": "in", "steps": [{"name": "a", "task": {**task, "timeout": 5}}]})


def test_a_deployments_parameters_may_have_the_old_names_and_its_form_shows_the_new_ones() -> None:
    flow = make_capability_flow("rerank")
    parameters = {"source": "in", "params": {"spelling": "tei"}, "options": OLD}
    bound = flow.validate_parameters(parameters)
    job = _parse_form("rerank", bound.pop("source"), bound)
    assert job.model_dump(include=set(NEW)) == NEW
    assert job.params == {"api_style": "tei"}
    assert to_flow_parameters(job)["options"] == NEW
    shown = flow.parameters.model_dump()["definitions"]
    assert not {*OLD, "spelling"} & {*shown["RunOptions"]["properties"], *shown["RerankParams"]["properties"]}


def test_schemas_allow_the_old_names_and_do_not_show_them() -> None:
    schema = json.loads(json.dumps(make_job_schema()))
    is_valid = jsonschema.Draft202012Validator(schema).is_valid
    job = {"capability": "rerank", "source": "in"}
    assert is_valid({**job, **OLD, "params": {"spelling": "tei"}})
    assert is_valid({**job, **NEW, "params": {"api_style": "tei"}})
    assert not is_valid({**job, "deadlin": 5})
    assert not is_valid({**job, "memory": "much"})
    assert not {*OLD} & schema["$defs"]["Job"]["properties"].keys()


@pytest.fixture(scope="module")
def rerank_server() -> Iterator[RunningServer]:
    with running_server(engine="bm25s") as running:
        yield running


JOB_AS_STORED_BEFORE: dict[str, Any] = {
    "capability": "rerank",
    "provider": "compatible",
    "model": "any",
    "api_key_env": None,
    "params": {"spelling": "tei"},
    "journal": None,
    "budget": None,
    "endpoint_hourly": None,
    "concurrency": None,
    "columns": dict.fromkeys(("id", "path", "text", "version", "params", "group")) | {"types": {}},
    "rpm": None,
    "deadline": 90.0,
    "retries": 5,
    "shard_size": 500,
    "memory": 1_000_000,
    "replace": False,
    "refresh": False,
    "group": None,
    "allow_hosts": [],
    "subtitles": [],
}
"""A job as commit 0e41d98 stored it in the journal, without its paths."""
NEW_SINCE = {
    "allow_paths": False,
    "beside": False,
    "settle": 0.0,
    "wait_for_provider": None,
    "max_failures_in_a_row": None,
    **dict.fromkeys(("check", "check_model", "until", "escalate")),
    "columns": JOB_AS_STORED_BEFORE["columns"] | {"infer_types": False},
}


def test_an_out_created_under_the_old_names_continues_and_buys_nothing_again(
    rerank_server: RunningServer, tmp_path: Path
) -> None:
    source, out = tmp_path / "q.jsonl", tmp_path / "out"
    queries = ["stone", "garden"]
    source.write_text("\n".join(json.dumps({"query": q, "documents": ["a stone", "a garden"]}) for q in queries))
    common = ("--model", "any", "--retries", "5")

    def rank(*options: str) -> int:
        done = run_capability("rerank", source, out, rerank_server, *common, *options, provider="compatible")
        assert done.returncode == 0, done.stderr
        return int(rerank_server.bill()["requests"])

    rerank_server.reset()
    assert rank("--api-style", "tei", "--timeout", "90s", "--max-memory", "1000000") == 2
    record: dict[str, Any] = json.loads(next((out / "runs").glob("*.json")).read_text())["job"]
    assert record["params"] == {"spelling": "tei"}
    assert {"deadline", "memory"} <= record.keys()
    journal = sqlite3.connect(out / ".journal" / "journal.sqlite")
    params, job = journal.execute("select params, job from outs").fetchone()
    stored = json.loads(job)
    paths = {name: stored[name] for name in ("source", "out", "base_url")}
    assert (params, stored) == ('{"spelling":"tei"}', {**JOB_AS_STORED_BEFORE, **paths, **NEW_SINCE})
    journal.execute("update outs set job = ?", [json.dumps({**JOB_AS_STORED_BEFORE, **paths})])
    journal.execute("update items set state = 'pending'")  # as a run that was killed leaves them
    journal.commit()
    assert rank("--api-style", "tei", "--timeout", "30s") == 2
    assert rank("--spelling", "tei", "--deadline", "30s") == 2
    again = run_cli("retry", out, "--api-style", "cohere", "--yes", home=tmp_path / "home")
    assert again.returncode == 2  # a parameter is --set there
    again = run_cli("retry", out, "--set", "api_style=tei", "--timeout", "30s", "--yes", home=tmp_path / "home")
    assert again.returncode == 0, again.stderr
    assert rerank_server.bill()["requests"] == 2


def test_a_manifests_column_may_have_a_parameters_old_name(rerank_server: RunningServer, tmp_path: Path) -> None:
    source = tmp_path / "q.jsonl"
    source.write_text(json.dumps({"query": "stone", "documents": ["a stone"], "spelling": "together"}))
    done = run_capability(
        *("rerank", source, tmp_path / "out", rerank_server, "--model", "any", "--api-style", "tei"),
        provider="compatible",
    )
    assert done.returncode == 3  # the row's own value counts, and this provider does not take it
    assert "has no api_style together" in done.stdout


def test_python_calls_take_the_old_names(tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    run = mediamill.run("transcribe", tmp_path / "in", provider="local", out=tmp_path / "out", deadline=90)
    assert run.summary.done == 1
    assert Job(capability="transcribe", source="in", **OLD).timeout == 90
