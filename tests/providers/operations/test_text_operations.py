"""Rerank, embeddings and code: requests for every listed model, and replies of every shape."""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.calls.request_key import request_key
from mediamill.tasks.domain import Ask
from mediamill.tasks.errors import BadInput, BadReply, UsageError
from mediamill.tasks.providers.operations.rerank import RerankModel
from mediamill.tasks.wire import Parsed, Reply
from tests.helpers.hypothesis_profile import make_repeatable
from tests.providers.builders import (
    SAMPLES,
    SECRET_KEY,
    build_ask,
    build_body,
    build_provider,
    build_reply,
    list_models,
)

OPERATIONS = ("rerank", "embeddings", "code_interpreter")
DOCUMENTS = SAMPLES["rerank"].params["documents"]
MODELS = list_models(*OPERATIONS)


def test_every_provider_with_a_text_operation_is_tested() -> None:
    assert {name for name, _, _ in MODELS} == {"local", "together", "openai", "cohere", "compatible"}


@pytest.mark.parametrize(("name", "operation", "model"), MODELS)
def test_every_models_wire_is_deterministic_and_without_the_key(name: str, operation: str, model: str) -> None:
    provider, ask = build_provider(name), build_ask(operation, model)
    wire = provider.to_wire(ask)
    request = provider.build_request(wire, [ask])
    assert (request.method, request.path) == ("POST", wire.path)
    assert SECRET_KEY not in repr((wire, request, provider))
    assert request_key(name, ask, wire) == request_key(
        name, ask, build_provider(name).to_wire(build_ask(operation, model))
    )
    assert wire.repeatable == (operation != "code_interpreter")
    sent: Any = request.json
    if operation != "code_interpreter":
        assert sent["model"] == model
    (parsed,) = parse_replies(name, ask, SAMPLES[operation].reply)
    assert parsed.data


def parse_replies(name: str, ask: Ask, body: Any, count: int = 1) -> list[Parsed]:
    reply = build_reply(body)
    provider = build_provider(name)
    problem = provider.classify(reply, ask.operation)
    assert problem is None, problem
    return list(provider.parse(reply, [ask] * count))


@pytest.mark.parametrize(
    ("name", "api_style", "path", "field"),
    [
        ("together", None, "/v1/rerank", "documents"),
        ("cohere", None, "/v2/rerank", "documents"),
        ("cohere", "cohere-v1", "/v1/rerank", "documents"),
        ("compatible", None, "/v1/rerank", "documents"),
        ("compatible", "cohere", "/v2/rerank", "documents"),
        ("compatible", "tei", "/rerank", "texts"),
    ],
)
def test_each_api_style_has_its_own_path_and_fields(name: str, api_style: str | None, path: str, field: str) -> None:
    params: dict[str, Any] = {"spelling": api_style} if api_style else {}
    ask = build_ask("rerank", "m", rank_fields=["title"], **params)
    body = build_body(name, ask)
    assert build_provider(name).to_wire(ask).path == path
    objects = name == "together" or api_style == "cohere-v1"
    assert body[field] == (DOCUMENTS if objects else ["a river", "title: b", "title: e"])
    assert ("rank_fields" in body, body.get("return_documents")) == (objects, False if objects else None)
    assert ("model" in body) == (api_style != "tei")
    assert "top_n" not in body


def test_an_api_style_that_the_provider_lacks_is_refused() -> None:
    with pytest.raises(BadInput, match="together has no api_style tei"):
        build_provider("together").to_wire(build_ask("rerank", spelling="tei"))
    with pytest.raises(UsageError):
        build_provider("groq").model_facts("rerank", "m", RerankModel)


def test_objects_become_one_line_per_field() -> None:
    documents = [{"b": 1, "a": ["x"], "c": None}]
    assert build_body("cohere", build_ask("rerank", documents=documents))["documents"] == ['b: 1\na: ["x"]']
    assert build_body("cohere", build_ask("rerank", documents=documents, rank_fields=["a", "b"]))["documents"] == [
        'a: ["x"]\nb: 1'
    ]


def test_scores_are_in_the_documents_order_and_usage_is_parsed() -> None:
    results = [
        {"index": 2, "relevance_score": 9.5},
        {"index": 0, "relevance_score": -3},
        {"index": 1, "relevance_score": 0},
    ]
    ask = build_ask("rerank")
    (units,) = parse_replies("cohere", ask, {"results": results, "meta": {"billed_units": {"search_units": 1}}})
    assert (units.data["scores"], units.usage.searches, units.usage.input_tokens) == ([-3.0, 0.0, 9.5], 1, None)
    (tokens,) = parse_replies("cohere", ask, {"results": results, "meta": {"billed_units": {"input_tokens": 7.0}}})
    assert (tokens.usage.searches, tokens.usage.input_tokens) == (None, 7)
    (listed,) = parse_replies("compatible", ask, [{"index": n, "score": n / 4} for n in range(3)])
    assert listed.data["scores"] == [0, 0.25, 0.5]


@pytest.mark.parametrize(
    "results",
    [
        [{"index": 0, "relevance_score": 1}],
        [{"index": n, "relevance_score": 1} for n in (0, 1, 1)],
        [{"index": n, "relevance_score": 1} for n in (0, 1, 3)],
        [{"index": n, "relevance_score": 1} for n in (0, 1, -1)],
        [{"index": n, "relevance_score": None} for n in range(3)],
        [{"index": n} for n in range(3)],
        "no list",
    ],
)
def test_an_incomplete_ranking_is_a_bad_reply(results: Any) -> None:
    with pytest.raises(BadReply):
        parse_replies("together", build_ask("rerank"), {"results": results})


def test_texts_with_the_same_model_and_dimensions_share_a_batch() -> None:
    batchings = [
        build_provider("openai").to_wire(build_ask("embeddings", "text-embedding-3-small", **p)).batching
        for p in ({}, {"text": "b"}, {"dimensions": 8})
    ]
    assert all(batching is not None for batching in batchings)
    first, same, other = (batching for batching in batchings if batching is not None)
    assert first.group == same.group != other.group
    assert (first.max_asks, first.max_weight) == (2048, 300_000)
    again = (
        build_provider("openai").to_wire(replace(build_ask("embeddings", "text-embedding-3-small"), sample=1)).batching
    )
    assert again is not None
    assert again.group != first.group


def test_dimensions_are_sent_only_to_models_that_accept_them() -> None:
    assert build_body("openai", build_ask("embeddings", "text-embedding-3-small", dimensions=64))["dimensions"] == 64
    assert "dimensions" not in build_body("openai", build_ask("embeddings", "text-embedding-3-small", dimensions=1536))
    with pytest.raises(BadInput, match="has vectors of 1024 numbers, not 64"):
        build_provider("together").to_wire(
            build_ask("embeddings", "intfloat/multilingual-e5-large-instruct", dimensions=64)
        )
    assert "encoding_format" not in build_body("together", build_ask("embeddings"))
    assert build_body("openai", build_ask("embeddings", "text-embedding-3-small"))["encoding_format"] == "base64"


def test_vectors_are_parsed_by_index_from_numbers_or_base64() -> None:
    floats = np.array([0.1, -2.5], "<f4")
    body = {
        "data": [
            {"index": 1, "embedding": base64.b64encode(floats.tobytes()).decode()},
            {"index": 0, "embedding": [1, 0.5, 3]},
        ],
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    }
    first, second = parse_replies("openai", build_ask("embeddings", "text-embedding-3-small"), body, 2)
    assert np.frombuffer(base64.b64decode(second.data["vector"]), "<f4").tolist() == floats.tolist()
    assert (first.data["dimensions"], second.data["dimensions"]) == (3, 2)
    assert [parsed.usage.input_tokens for parsed in (first, second)] == [3, 2]


@pytest.mark.parametrize(
    "vector",
    [[], None, "", "abc", "AAA=", ["a"], [[1.0], [2.0]], [1e40], [None], base64.b64encode(b"\0\0\xc0\x7f").decode()],
)
def test_an_invalid_vector_is_a_bad_reply(vector: Any) -> None:
    with pytest.raises(BadReply):
        parse_replies(
            "openai", build_ask("embeddings", "text-embedding-3-small"), {"data": [{"index": 0, "embedding": vector}]}
        )


def test_repeated_or_missing_indexes_are_a_bad_reply() -> None:
    for indexes in ([0, 0], [0, 2], ["0", 1]):
        with pytest.raises(BadReply):
            parse_replies(
                "together", build_ask("embeddings"), {"data": [{"index": n, "embedding": [1]} for n in indexes]}, 2
            )
    with pytest.raises(BadReply):
        parse_replies("together", build_ask("embeddings"), {"data": [{"index": 0, "embedding": [1]}]}, 2)


def test_the_group_of_a_cell_changes_its_key_but_is_never_sent() -> None:
    ask, other = build_ask("code_interpreter", group="a#0.0"), build_ask("code_interpreter", group="b#0.0")
    wires = [build_provider("together").to_wire(each) for each in (ask, other)]
    assert request_key("together", ask, wires[0]) != request_key("together", other, wires[1])
    assert build_body("together", ask) == build_body("together", other) == {"language": "python", "code": "1 + 1"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"errors": None}, None),
        ({"errors": ["NameError: x"]}, "NameError: x"),
        ({"data": {"errors": [{"name": "E"}]}}, '{"name":"E"}'),
        ({"data": {"outputs": [{"type": "error", "data": "Traceback"}]}}, "Traceback"),
    ],
)
def test_failed_code_is_a_parsed_reply_with_its_error(body: dict[str, Any], error: str | None) -> None:
    data = {"session_id": "s", **body.get("data", {})}
    (parsed,) = parse_replies("together", build_ask("code_interpreter"), {**body, "data": data})
    assert (parsed.data["error"], parsed.usage.sessions) == (error, 1)
    (later,) = parse_replies("together", build_ask("code_interpreter", session_id="s"), {**body, "data": data})
    assert later.usage.sessions == 0


def test_a_refused_session_is_a_bad_reply() -> None:
    reply = Reply(200, {}, orjson.dumps({"data": None, "errors": ["Session not found"]}))
    problem = build_provider("together").classify(reply, "code_interpreter")
    if problem is None:
        with pytest.raises(BadReply):
            build_provider("together").parse(reply, [build_ask("code_interpreter")])
    error_reply = Reply(400, {}, orjson.dumps({"id": "1", "message": "too many documents"}))
    cohere_problem = build_provider("cohere").classify(error_reply, "rerank")
    assert cohere_problem
    assert (cohere_problem.verdict, "too many documents" in cohere_problem.message) == ("fail", True)


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("rerank", {"query": "p"}),
    ("rerank", {"documents": DOCUMENTS[::-1]}),
    ("rerank", {"documents": DOCUMENTS[:2]}),
    ("rerank", {"rank_fields": ["title"]}),
    ("embeddings", {"text": "another"}),
    ("embeddings", {"dimensions": 8}),
    ("code_interpreter", {"code": "2"}),
    ("code_interpreter", {"session_id": "s"}),
    ("code_interpreter", {"files": [{"name": "a", "encoding": "base64", "content": "QQ=="}]}),
]


@pytest.mark.parametrize(("operation", "change"), CHANGES)
def test_every_parameter_and_sample_changes_the_request_key(operation: str, change: dict[str, Any]) -> None:
    name, model = ("openai", "text-embedding-3-small") if operation == "embeddings" else ("together", "m")
    ask, other = build_ask(operation, model), build_ask(operation, model, **change)
    keys = {
        request_key(name, each, build_provider(name).to_wire(each)) for each in (ask, other, replace(ask, sample=1))
    }
    assert len(keys) == 3


JSON: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1e300, -1, 0, 1])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    *("data", "results", "index", "relevance_score", "score", "embedding", "usage", "prompt_tokens", "total_tokens"),
    *("meta", "billed_units", "search_units", "input_tokens", "session_id", "outputs", "type", "errors", "document"),
)
NAMES = st.sampled_from(FIELDS)
SHAPED: Any = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6), max_leaves=25
)
GOOD: Mapping[str, Any] = {
    "rerank": {"results": [{"index": n, "relevance_score": 1} for n in range(3)]},
    "embeddings": {"data": [{"index": 0, "embedding": [1.0]}]},
    "code_interpreter": {"data": {"session_id": "s", "outputs": []}},
}


def check_any_reply(body: Any, operation: str) -> None:
    """Check that a body is parsed, classified as a problem or refused as a BadReply."""
    reply = build_reply(body)
    provider = build_provider("together")
    if provider.classify(reply, operation) is not None:
        return
    with contextlib.suppress(BadReply):
        (parsed,) = provider.parse(reply, [build_ask(operation)])
        for count in (parsed.usage.input_tokens, parsed.usage.searches, parsed.usage.sessions):
            assert count is None or count >= 0
        if operation == "rerank":
            assert all(map(math.isfinite, parsed.data["scores"]))


@make_repeatable()
@given(st.sampled_from(OPERATIONS), SHAPED)
def test_any_json_reply_is_parsed_or_refused(operation: str, body: Any) -> None:
    check_any_reply(body, operation)


@make_repeatable()
@given(st.sampled_from(OPERATIONS), st.sampled_from(["usage", "meta", "data", "results", "errors"]), SHAPED)
def test_a_good_reply_with_a_bad_part_is_parsed_or_refused(operation: str, name: str, bad: Any) -> None:
    check_any_reply({**GOOD[operation], name: bad}, operation)
    usage = {"usage": {"prompt_tokens": bad}, "meta": {"billed_units": {"search_units": bad, "input_tokens": bad}}}
    check_any_reply({**GOOD[operation], **usage}, operation)
    if operation == "code_interpreter":
        check_any_reply({"data": {"session_id": "s", "outputs": bad, "errors": bad}}, operation)


@make_repeatable()
@given(st.sampled_from(OPERATIONS), st.binary(max_size=40))
def test_any_bytes_are_parsed_or_refused(operation: str, body: bytes) -> None:
    check_any_reply(body, operation)


def test_an_infinite_token_count_is_ignored() -> None:
    body = b'{"results":[{"index":0,"relevance_score":1}],"usage":{"prompt_tokens":1e400}}'
    check_any_reply(body, "rerank")
