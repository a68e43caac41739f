"""The built-in server knows every model that the provider configurations name, for every operation."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from mediamill.configs import CONFIGS_FOLDER
from mediamill.tasks.providers.registry import load_config
from tests.helpers import loopback
from tests.helpers.local_server import RunningServer

_NAMES = ("together", "openai", "groq", "xai", "cohere")
_FREE_NAMES = {"transcription": ("xai",), "translation": (), "tts": ("xai",)}
"""Providers whose endpoints take no model, so that its name is that of the price list alone."""


def _list_served_models(config: dict[str, Any], name: str, operation: str) -> set[str]:
    sections = {
        "transcription": [config["dialects"]],
        "translation": [config["translations"]],
        "tts": [config["speech"]],
        "chat": [config["chat"]],
        "vision_chat": [config["chat"]],
        "embeddings": [config["embeddings"]],
        "rerank": [config["rerank"]],
        "image": [config["images"]],
        "video": [config["videos"]],
    }.get(operation, [])
    if operation == "transcription":
        sections = [*sections, config["sockets"]]
    return {model for section in sections for model in section.get(name) or ()}


@pytest.mark.parametrize("name", _NAMES)
def test_every_configured_model_is_known(name: str) -> None:
    config = yaml.safe_load((CONFIGS_FOLDER / "server.yaml").read_text(encoding="utf-8"))
    for operation, facts in load_config(name).operations.items():
        if name in _FREE_NAMES.get(operation, ()) or operation == "code_interpreter":
            continue
        served = _list_served_models(config, name, operation)
        assert set(facts.models) <= served, (name, operation, set(facts.models) - served)


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"job_seconds": "0", "price": ["pixverse/pixverse-v5=0.3"]}


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/together/v1/rerank", "Salesforce/Llama-Rank-V1"),
        ("/cohere/v1/rerank", "rerank-v4.0-fast"),
        ("/cohere/v2/rerank", "rerank-v5.0-pro"),
    ],
)
def test_default_models_rank(path: str, model: str, local_server: RunningServer) -> None:
    fields = {"model": model, "query": "river", "documents": ["a river", "winter"]}
    reply = loopback.post(f"{local_server.origin}{path}", json=fields)
    assert reply.status_code == 200, reply.text
    assert ("document" in reply.json()["results"][0]) == path.startswith("/together")


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("chat/completions", "meta-llama/Llama-4-Maverick-17B-128E-Instruct"),
        ("chat/completions", "zai-org/GLM-4.5-Air-FP8"),
        ("completions", "togethercomputer/llama-2-7b-chat"),
        ("images/generations", "stabilityai/stable-diffusion-xl-base-1.0"),
    ],
)
def test_models_that_only_guides_name_are_served(path: str, model: str, local_server: RunningServer) -> None:
    fields = {"messages": [{"role": "user", "content": "hello"}]} if path.startswith("chat") else {"prompt": "hello"}
    reply = loopback.post(f"{local_server.origin}/together/v1/{path}", json={"model": model, **fields})
    assert reply.status_code == 200, reply.text


def test_together_takes_an_encoding_format(local_server: RunningServer) -> None:
    model = "togethercomputer/m2-bert-80M-8k-retrieval"
    fields = {"model": model, "input": "a cat", "encoding_format": "float"}
    reply = loopback.post(f"{local_server.origin}/together/v1/embeddings", json=fields)
    assert reply.status_code == 200, reply.text
    assert len(reply.json()["data"][0]["embedding"]) == 768


def test_a_doubled_slash_is_one(local_server: RunningServer) -> None:
    paths = (
        "/together/v1//models",
        "/v1//models",
        "/together/v2//supported-models",
        "//together//v1/models",
        "//v1/models",
    )
    for path in paths:
        assert loopback.get(f"{local_server.origin}{path}").status_code == 200, path
    fields = {"model": "meta-llama/Llama-3.3-70B-Instruct-Turbo", "messages": [{"role": "user", "content": "hello"}]}
    for path in ("/together/v1//chat/completions", "//together//v1///chat/completions"):
        local_server.reset()
        reply = loopback.post(f"{local_server.origin}{path}", json=fields)
        assert reply.status_code == 200, reply.text
        assert local_server.bill()["billed"] == 1
    wrong = loopback.get(f"{local_server.origin}//together//nothing")
    assert (wrong.status_code, "error" in wrong.json()) == (404, True)


def test_together_shows_one_model(local_server: RunningServer) -> None:
    models = loopback.get(f"{local_server.origin}/together/v1/models").json()
    assert loopback.get(f"{local_server.origin}/together/v1/models/{models[0]['id']}").json() == models[0]


def test_a_stream_of_speech_needs_no_format(local_server: RunningServer) -> None:
    fields = {"model": "canopylabs/orpheus-3b-0.1-ft", "input": "hello", "voice": "tara", "stream": True}
    reply = loopback.post(f"{local_server.origin}/together/v1/audio/speech", json=fields)
    assert reply.status_code == 200, reply.text
    assert reply.text.rstrip().endswith("[DONE]")


def test_the_voices_of_a_model_are_also_at_the_top(local_server: RunningServer) -> None:
    params = {"model": "canopylabs/orpheus-3b-0.1-ft"}
    found = loopback.get(f"{local_server.origin}/together/v1/voices", params=params).json()
    assert found["voices"] == found["data"][0]["voices"] != []


@pytest.mark.parametrize(
    ("model", "usd"), [("pixverse/pixverse-v5", 0.3), ("minimax/hailuo-02", 0.49), ("openai/sora-2", None)]
)
def test_a_video_states_its_cost_only_where_it_has_a_price(
    model: str, usd: float | None, local_server: RunningServer
) -> None:
    folder = f"{local_server.origin}/together/v2/videos"
    created = loopback.post(folder, json={"model": model, "prompt": "a cat"}).json()
    job = loopback.get(f"{folder}/{created['id']}").json()
    assert job["status"] == "completed"
    assert job["outputs"].get("cost") == usd
    assert isinstance(job["created_at"], int)
