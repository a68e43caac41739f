"""The providers' SDKs rerank and embed with the built-in server."""

from __future__ import annotations

from typing import Any

import cohere
import numpy as np
import openai
import pytest
import together

from mediamill.tasks.local.endpoints.embeddings import embed_text
from tests.helpers.local_server import RunningServer

pytestmark = pytest.mark.long

E5, SMALL, RANKER = "intfloat/multilingual-e5-large-instruct", "text-embedding-3-small", "Salesforce/Llama-Rank-V1"
DOCUMENTS = ["a river", "a bridge over the river", "winter"]
QUERY = "bridge river"


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"engine": "bm25s", "price": [f"{RANKER}=0.1/0", "rerank-v3.5=0.002", f"{SMALL}=0.02/0"]}


def test_together_reranks_and_embeds(local_server: RunningServer) -> None:
    client = together.Together(api_key="some-key", base_url=f"{local_server.origin}/together", max_retries=0)
    reply = client.rerank.create(model=RANKER, query=QUERY, documents=DOCUMENTS, top_n=2, return_documents=True)
    assert [one.index for one in reply.results] == [1, 0]
    assert reply.results[0].document.text == DOCUMENTS[1]
    objects: list[dict[str, object]] = [{"title": text, "more": "river"} for text in DOCUMENTS]
    ranked = client.rerank.create(model=RANKER, query="bridge", documents=objects, rank_fields=["title"])
    assert ranked.results[0].index == 1
    embedded = client.embeddings.create(model=E5, input=DOCUMENTS)
    assert [one.index for one in embedded.data] == [0, 1, 2]
    np.testing.assert_array_equal(np.array(embedded.data[1].embedding, "float32"), embed_text(DOCUMENTS[1], 1024))
    with pytest.raises(together.BadRequestError):
        client.rerank.create(model="nobody/nothing", query=QUERY, documents=DOCUMENTS)


def test_openai_embeddings_are_base64_by_default_and_equal_the_floats(local_server: RunningServer) -> None:
    client = openai.OpenAI(api_key="some-key", base_url=f"{local_server.origin}/openai-api/v1", max_retries=0)
    packed = client.embeddings.create(model=SMALL, input=DOCUMENTS)
    plain = client.embeddings.create(model=SMALL, input=DOCUMENTS, encoding_format="float")
    assert [one.embedding for one in packed.data] == [one.embedding for one in plain.data]
    short = client.embeddings.create(model=SMALL, input="a river", dimensions=64)
    np.testing.assert_array_equal(np.array(short.data[0].embedding, "float32"), embed_text("a river", 64))
    assert packed.usage.prompt_tokens == local_server.bill()["calls"][0]["input_tokens"]
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.embeddings.create(model=SMALL, input="word " * 20_000)


def test_cohere_reranks_in_both_api_versions(local_server: RunningServer) -> None:
    fields: dict[str, Any] = {"model": "rerank-v3.5", "query": QUERY, "documents": DOCUMENTS}
    new = cohere.ClientV2("some-key", base_url=f"{local_server.origin}/cohere").rerank(**fields, top_n=2)
    assert [one.index for one in new.results] == [1, 0]
    assert new.meta
    assert new.meta.billed_units
    assert new.meta.billed_units.search_units == 1
    old = cohere.Client("some-key", base_url=f"{local_server.origin}/cohere").rerank(**fields, return_documents=True)
    assert [one.index for one in old.results] == [1, 0, 2]
    assert old.results[0].document
    assert old.results[0].document.text == DOCUMENTS[1]
    assert local_server.bill()["usd"] == "0.004"
    with pytest.raises(cohere.BadRequestError):
        cohere.ClientV2("some-key", base_url=f"{local_server.origin}/cohere").rerank(
            model="rerank-v3.5", query=QUERY, documents=[]
        )
