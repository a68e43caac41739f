"""The built-in server reranks, embeds and runs code as each provider does, and bills it."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from mediamill.tasks.local.endpoints.embeddings import embed_text
from tests.helpers import loopback
from tests.helpers.local_server import JSON_TYPE, RunningServer, running_server

DOCUMENTS = ["a river", "a bridge over the river", "winter", "the"]


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    prices = ["rerank-v3.5=0.002", "rerank-v5.0-pro=0.05/0", "m=0.1/0", "text-embedding-3-small=0.02/0"]
    return {"engine": "bm25s", "price": prices}


def post_json(server: RunningServer, path: str, fields: Any) -> httpx.Response:
    return loopback.post(f"{server.origin}{path}", json=fields, timeout=60)


RERANK_PATHS = [
    ("/v1/rerank", "m"),
    ("/v2/rerank", "m"),
    ("/together/v1/rerank", "m"),
    ("/cohere/v1/rerank", "rerank-v3.5"),
    ("/cohere/v2/rerank", "rerank-v3.5"),
    ("/compatible/v1/rerank", "m"),
    ("/compatible/v2/rerank", "m"),
    ("/compatible/rerank", "m"),
]


@pytest.mark.parametrize(("path", "model"), RERANK_PATHS)
def test_every_rerank_api_ranks_the_best_document_first(path: str, model: str, local_server: RunningServer) -> None:
    name = "texts" if path == "/compatible/rerank" else "documents"
    fields = {"query": "bridge river", name: DOCUMENTS} | ({} if name == "texts" else {"model": model})
    reply = post_json(local_server, path, fields)
    assert reply.status_code == 200, reply.text
    body = reply.json()
    results = body if isinstance(body, list) else body["results"]
    assert [one["index"] for one in results] == [1, 0, 2, 3]
    assert ("document" in results[0]) == (
        path in ("/v1/rerank", "/together/v1/rerank", "/compatible/v1/rerank", "/compatible/v2/rerank")
    )
    (call,) = local_server.bill()["calls"]
    assert call["billed"]
    assert (call["searches"] == 1) == path.startswith("/cohere")
    if name == "documents":
        best = post_json(local_server, path, {**fields, "top_n": 2}).json()
        assert [one["index"] for one in best["results"]] == [1, 0]


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/together/v1/rerank", {"model": "m", "query": "q", "documents": []}, 400),
        ("/together/v1/rerank", {"model": "m", "query": "q"}, 400),
        ("/together/v1/rerank", {"model": "m", "documents": ["a"]}, 400),
        ("/together/v1/rerank", {"model": "m", "query": "q", "documents": ["a"], "more": 1}, 400),
        ("/together/v1/rerank", {"model": "nobody", "query": "q", "documents": ["a"]}, 400),
        ("/together/v1/rerank", {"model": "m", "query": "q", "documents": ["a"], "top_n": 0}, 400),
        ("/cohere/v2/rerank", {"model": "rerank-v3.5", "query": "q", "documents": [{"text": "a"}]}, 400),
        ("/cohere/v1/rerank", {"query": "q", "documents": ["a"]}, 400),
        ("/cohere/v2/rerank", {"query": "q", "documents": ["a"]}, 400),
        ("/openai-api/v1/embeddings", {"model": "text-embedding-3-small"}, 400),
        ("/openai-api/v1/embeddings", {"model": "text-embedding-3-small", "input": []}, 400),
        ("/openai-api/v1/embeddings", {"model": "text-embedding-3-small", "input": ""}, 400),
        ("/openai-api/v1/embeddings", {"model": "text-embedding-3-small", "input": ["a"] * 2049}, 400),
        ("/openai-api/v1/embeddings", {"model": "text-embedding-3-small", "input": "w " * 20_000}, 400),
        ("/openai-api/v1/embeddings", {"model": "text-embedding-3-small", "input": "a", "dimensions": 0}, 400),
        ("/openai-api/v1/embeddings", {"model": "gpt-9", "input": "a"}, 404),
        ("/together/tci/execute", {"language": "python"}, 400),
        ("/together/tci/execute", {"language": "perl", "code": "1"}, 400),
        ("/together/tci/execute", {"language": "python", "code": "1", "session_id": "ses_none"}, 400),
        ("/together/tci/execute", {"language": "python", "code": "1"}, 400),
    ],
)
def test_refused_requests_are_free(path: str, fields: Any, status: int, local_server: RunningServer) -> None:
    reply = post_json(local_server, path, fields)
    assert reply.status_code == status, reply.text
    assert local_server.bill()["billed"] == 0
    if path.startswith("/cohere"):
        assert set(reply.json()) == {"id", "message"}


@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/embeddings", "/v1/tci/execute"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_body_that_is_not_a_json_object_is_refused(path: str, body: bytes, local_server: RunningServer) -> None:
    assert loopback.post(f"{local_server.origin}{path}", content=body, headers=JSON_TYPE).status_code == 400


def test_long_documents_count_as_several_searches(local_server: RunningServer) -> None:
    fields = {"model": "rerank-v3.5", "query": "w", "documents": ["word " * 900] * 60}
    units = post_json(local_server, "/cohere/v2/rerank", fields).json()["meta"]["billed_units"]
    assert units == {"search_units": 2}
    assert local_server.bill()["usd"] == "0.004"
    tokens = post_json(local_server, "/cohere/v2/rerank", {**fields, "model": "rerank-v5.0-pro"}).json()["meta"][
        "billed_units"
    ]
    assert set(tokens) == {"input_tokens"}


def test_vectors_have_norm_one_and_are_equal_in_both_encodings(local_server: RunningServer) -> None:
    texts = ["a river", "a river runs"]
    fields = {"model": "text-embedding-3-small", "input": texts, "dimensions": 64}
    floats = post_json(local_server, "/openai-api/v1/embeddings", fields).json()
    packed = post_json(local_server, "/openai-api/v1/embeddings", {**fields, "encoding_format": "base64"}).json()
    for one, other, text in zip(floats["data"], packed["data"], texts, strict=True):
        decoded = np.frombuffer(base64.b64decode(other["embedding"]), "<f4")
        np.testing.assert_array_equal(np.array(one["embedding"], "float32"), decoded)
        np.testing.assert_array_equal(decoded, embed_text(text, 64))
        assert float(np.linalg.norm(decoded)) == pytest.approx(1, abs=1e-6)
    assert floats["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert local_server.bill()["usd"] == "0.0000002"
    together = post_json(
        local_server, "/together/v1/embeddings", {"model": "intfloat/multilingual-e5-large-instruct", "input": "a"}
    )
    assert ("usage" in together.json(), len(together.json()["data"][0]["embedding"])) == (False, 1024)


def test_fault_rules_apply_to_rerank_too(local_server: RunningServer) -> None:
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "status", "status": 503}})
    fields = {"model": "m", "query": "q", "documents": DOCUMENTS}
    assert [post_json(local_server, "/together/v1/rerank", fields).status_code for _ in range(3)] == [503, 200, 200]
    bill = local_server.bill()
    assert (bill["billed"], bill["billed_again"]) == (2, 1)


def test_the_echo_engine_simulates_running_code() -> None:
    with running_server(engine="echo", price=["code-interpreter=0.03"]) as server:
        first = post_json(server, "/together/tci/execute", {"language": "python", "code": "print(1)"})
        assert first.headers["x-mediamill-simulated"] == "true"
        data = first.json()["data"]
        assert data["outputs"] == [{"type": "stdout", "data": "print(1)\n"}]
        fields = {"language": "python", "code": "raise ValueError", "session_id": data["session_id"]}
        assert post_json(server, "/together/v1/tci/execute", fields).json()["data"]["outputs"][0]["type"] == "error"
        assert server.bill()["usd"] == "0.03"


def test_the_superset_ranks_objects_as_together_does(local_server: RunningServer) -> None:
    documents = [{"text": "winter"}, {"text": "a river"}]
    reply = post_json(local_server, "/v1/rerank", {"model": "m", "query": "river", "documents": documents})
    assert [one["index"] for one in reply.json()["results"]] == [1, 0]


def test_one_model_is_shown_as_its_list_has_it(local_server: RunningServer) -> None:
    url = f"{local_server.origin}/openai/v1/models"
    first = loopback.get(url, timeout=60).json()["data"][0]
    assert loopback.get(f"{url}/{first['id']}", timeout=60).json() == first
    unknown = loopback.get(f"{url}/no/such-model", timeout=60)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
