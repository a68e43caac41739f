"""The parameter form: descriptions, choices, and the way from a job to a form and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.flows.prefect_runtime.flow_factory import _job, parameters_of
from mediamill.flows.transcribe import transcribe
from mediamill.tasks import capabilities
from mediamill.tasks.job import Job, make_job
from mediamill.tasks.providers.registry import provider_names

FIRST = {"source", "provider", "model", "out", "budget", "limit", "params", "options"}


def test_every_field_of_the_form_says_what_it_is() -> None:
    schema = transcribe.parameters.model_dump()
    assert schema["required"] == ["source"]
    assert set(schema["properties"]) == FIRST
    assert schema["properties"]["provider"]["enum"] == list(provider_names())
    assert schema["properties"]["budget"]["type"] == "number"
    fields = [*schema["properties"].items()]
    for model in ("TranscribeParams", "RunOptions"):
        fields += schema["definitions"][model]["properties"].items()
    assert [name for name, field in fields if not field.get("description")] == []
    keys = {name for name, _ in fields if "key" in name}
    assert keys == {"api_key_env", "api_key_block"}  # names of where a key lies, never a key


def test_every_capability_has_a_flow_in_the_file_of_its_name() -> None:
    from mediamill.flows.prefect_runtime.runner import flow_of

    assert capabilities.BUILT_IN
    for name in capabilities.BUILT_IN:
        assert flow_of(name).name == name


@given(
    provider=st.sampled_from([None, "local", "together"]),
    budget=st.none() | st.decimals(0, 1000, places=2),
    limit=st.none() | st.integers(1, 10**6),
    deadline=st.none() | st.sampled_from([90.0, "15m", "1h30m"]),
    refresh=st.booleans(),
    hosts=st.lists(st.sampled_from(["media.lan:8080", "10.0.0.7"]), unique=True),
    language=st.none() | st.sampled_from(["en", "de"]),
    columns=st.none() | st.just({"id": "name"}),
)
def test_a_job_goes_into_a_form_and_comes_back(
    provider: str | None,
    budget: Any,
    limit: int | None,
    deadline: Any,
    refresh: bool,
    hosts: list[str],
    language: str | None,
    columns: dict[str, str] | None,
) -> None:
    given_fields = {
        "provider": provider,
        "budget": budget,
        "limit": limit,
        "deadline": deadline,
        "params": {"language": language} if language else {},
        "refresh": refresh,
        "allow_hosts": hosts,
        "columns": columns or {},
    }
    job = make_job(capability="transcribe", source="in", **{k: v for k, v in given_fields.items() if v is not None})
    bound = transcribe.validate_parameters(parameters_of(job))
    source = bound.pop("source")
    assert _job("transcribe", source, bound).model_dump() == job.model_dump()


def test_a_key_is_never_a_value() -> None:
    with pytest.raises(Exception, match="never the key itself"):
        Job(capability="transcribe", source="in", api_key_env="tgp_v1_abc-def")
