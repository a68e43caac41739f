"""The parameter form of a flow: descriptions, choices, and conversion from a job and back."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import load_flow_from_entrypoint
from prefect.types.entrypoint import EntrypointType

from mediamill.flows import capability_flows
from mediamill.flows.prefect_runtime.flow_factory import _parse_form, make_capability_flow, to_flow_parameters
from mediamill.flows.prefect_runtime.task_runs import make_batches
from mediamill.flows.transcribe import transcribe
from mediamill.tasks import capabilities
from mediamill.tasks.job import Job
from mediamill.tasks.job_loading import make_job
from mediamill.tasks.journal.items import ShardWork
from mediamill.tasks.plugins import CAPABILITY_GROUP
from mediamill.tasks.providers.registry import provider_names

FORM_PARAMETERS = {"source", "provider", "model", "out", "budget", "limit", "params", "options"}


def test_every_field_of_the_form_has_a_description() -> None:
    schema = transcribe.parameters.model_dump()
    assert schema["required"] == ["source"]
    assert set(schema["properties"]) == FORM_PARAMETERS
    assert schema["properties"]["provider"]["enum"] == list(provider_names())
    assert schema["properties"]["budget"]["type"] == "number"
    fields = [*schema["properties"].items()]
    for model in ("TranscribeParams", "RunOptions"):
        fields += schema["definitions"][model]["properties"].items()
    assert [name for name, field in fields if not field.get("description")] == []
    keys = {name for name, _ in fields if "key" in name}
    assert keys == {"api_key_env", "api_key_block"}  # names of where a key is stored, never a key


def test_every_capability_has_a_flow_that_its_entrypoint_finds() -> None:
    assert capabilities.BUILT_IN
    for name in capabilities.BUILT_IN:
        flow = make_capability_flow(name)
        assert (flow.name, flow.fn.__name__) == (name, name.replace("-", "_"))
        assert getattr(importlib.import_module(flow.fn.__module__), flow.fn.__name__) is flow


def test_a_flow_with_its_own_file_is_imported_from_there() -> None:
    assert make_capability_flow("describe-video").fn.__module__ == "mediamill.flows.describe_video"
    assert make_capability_flow("transcribe") is transcribe
    assert transcribe.fn.__module__ == "mediamill.flows.transcribe"


def test_a_capability_of_another_package_has_a_flow_that_a_worker_finds(
    install_entry_points: Callable[[Mapping[str, Mapping[str, str]]], None],
) -> None:
    install_entry_points({CAPABILITY_GROUP: {"pieces": "tests.calls.call_patterns.capabilities:PiecesCapability"}})
    entrypoint = "mediamill.flows.capability_flows.pieces"
    assert load_flow_from_entrypoint(entrypoint).name == "pieces"
    deployment = make_capability_flow("pieces").to_deployment("nightly", entrypoint_type=EntrypointType.MODULE_PATH)
    assert isinstance(deployment, RunnerDeployment)
    assert deployment.entrypoint == entrypoint


def test_an_unknown_capability_has_no_flow() -> None:
    with pytest.raises(AttributeError, match="no_such_capability"):
        capability_flows.no_such_capability  # noqa: B018


@settings(deadline=None)
@given(work=st.integers(0, 3000), at_once=st.integers(1, 10_000))
def test_shard_tasks_are_few_in_all_and_few_of_them_fill_the_pipeline(work: int, at_once: int) -> None:
    batches = make_batches([ShardWork(shard, 7) for shard in range(work)], at_once)
    assert [shard for batch in batches for shard in batch.shards] == list(range(work))
    assert sum(batch.items for batch in batches) == 7 * work
    assert len(batches) <= 498
    assert not batches or 24 * len(batches[0].shards) >= min(at_once, work)


@given(
    provider=st.sampled_from([None, "local", "together"]),
    budget=st.none() | st.decimals(0, 1000, places=2),
    limit=st.none() | st.integers(1, 10**6),
    timeout=st.none() | st.sampled_from([90.0, "15m", "1h30m"]),
    no_cache=st.booleans(),
    hosts=st.lists(st.sampled_from(["media.lan:8080", "10.0.0.7"]), unique=True),
    language=st.none() | st.sampled_from(["en", "de"]),
    columns=st.none() | st.just({"id": "name"}),
)
def test_a_job_becomes_a_form_and_the_same_job_again(
    provider: str | None,
    budget: Any,
    limit: int | None,
    timeout: Any,
    no_cache: bool,
    hosts: list[str],
    language: str | None,
    columns: dict[str, str] | None,
) -> None:
    given_fields = {
        "provider": provider,
        "budget": budget,
        "limit": limit,
        "timeout": timeout,
        "params": {"language": language} if language else {},
        "no_cache": no_cache,
        "allow_hosts": hosts,
        "columns": columns or {},
    }
    job = make_job(capability="transcribe", source="in", **{k: v for k, v in given_fields.items() if v is not None})
    bound = transcribe.validate_parameters(to_flow_parameters(job))
    source = bound.pop("source")
    assert _parse_form("transcribe", source, bound).model_dump() == job.model_dump()


def test_a_key_in_place_of_its_name_is_refused() -> None:
    with pytest.raises(Exception, match="never the key itself"):
        Job(capability="transcribe", source="in", api_key_env="tgp_v1_abc-def")
