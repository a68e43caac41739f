"""Rerank, embeddings and code: what goes out for every listed model, and every shape of what comes back."""

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
from tests.helpers.hypothesis_profile import repeatable
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


def test_every_provider_that_has_one_is_here() -> None:
    assert {name for name, _, _ in MODELS} == {"local", "together", "openai", "cohere", "compatible"}


@pytest.mark.parametrize(("name", "operation", "model"), MODELS)
def test_every_model_is_wired_without_the_key_and_the_same_each_time(name: str, operation: str, model: str) -> None:
    provider, one = build_provider(name), build_ask(operation, model)
    wire = provider.to_wire(one)
    request = provider.build_request(wire, [one])
    assert (request.method, request.path) == ("POST", wire.path)
    assert SECRET_KEY not in repr((wire, request, provider))
    assert request_key(name, one, wire) == request_key(
        name, one, build_provider(name).to_wire(build_ask(operation, model))
    )
    assert wire.repeatable == (operation != "code_interpreter")
    sent: Any = request.json
    if operation != "code_interpreter":
        assert sent["model"] == model
    (parsed,) = parse_replies(name, one, SAMPLES[operation].reply)
    assert parsed.data


def parse_replies(name: str, one: Ask, told: Any, count: int = 1) -> list[Parsed]:
    reply = build_reply(told)
    provider = build_provider(name)
    problem = provider.classify(reply, one.operation)
    assert problem is None, problem
    return list(provider.parse(reply, [one] * count))


@pytest.mark.parametrize(
    ("name", "spelling", "path", "field"),
    [
        ("together", None, "/v1/rerank", "documents"),
        ("cohere", None, "/v2/rerank", "documents"),
        ("cohere", "cohere-v1", "/v1/rerank", "documents"),
        ("compatible", None, "/v1/rerank", "documents"),
        ("compatible", "cohere", "/v2/rerank", "documents"),
        ("compatible", "tei", "/rerank", "texts"),
    ],
)
def test_each_spelling_has_its_own_fields(name: str, spelling: str | None, path: str, field: str) -> None:
    style: dict[str, Any] = {"spelling": spelling} if spelling else {}
    one = build_ask("rerank", "m", rank_fields=["title"], **style)
    told = build_body(name, one)
    assert build_provider(name).to_wire(one).path == path
    objects = name == "together" or spelling == "cohere-v1"
    assert told[field] == (DOCUMENTS if objects else ["a river", "title: b", "title: e"])
    assert ("rank_fields" in told, told.get("return_documents")) == (objects, False if objects else None)
    assert ("model" in told) == (spelling != "tei")
    assert "top_n" not in told


def test_a_spelling_that_is_not_spoken_is_refused_here() -> None:
    with pytest.raises(BadInput, match="together does not speak tei"):
        build_provider("together").to_wire(build_ask("rerank", spelling="tei"))
    with pytest.raises(UsageError):
        build_provider("groq").model_facts("rerank", "m", RerankModel)


def test_objects_become_a_line_for_each_field() -> None:
    documents = [{"b": 1, "a": ["x"], "c": None}]
    assert build_body("cohere", build_ask("rerank", documents=documents))["documents"] == ['b: 1\na: ["x"]']
    assert build_body("cohere", build_ask("rerank", documents=documents, rank_fields=["a", "b"]))["documents"] == [
        'a: ["x"]\nb: 1'
    ]


def test_scores_are_put_in_the_documents_order_and_usage_is_kept() -> None:
    results = [
        {"index": 2, "relevance_score": 9.5},
        {"index": 0, "relevance_score": -3},
        {"index": 1, "relevance_score": 0},
    ]
    one = build_ask("rerank")
    (units,) = parse_replies("cohere", one, {"results": results, "meta": {"billed_units": {"search_units": 1}}})
    assert (units.data["scores"], units.usage.searches, units.usage.input_tokens) == ([-3.0, 0.0, 9.5], 1, None)
    (tokens,) = parse_replies("cohere", one, {"results": results, "meta": {"billed_units": {"input_tokens": 7.0}}})
    assert (tokens.usage.searches, tokens.usage.input_tokens) == (None, 7)
    (bare,) = parse_replies("compatible", one, [{"index": n, "score": n / 4} for n in range(3)])
    assert bare.data["scores"] == [0, 0.25, 0.5]


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
def test_a_ranking_with_a_hole_is_no_answer(results: Any) -> None:
    with pytest.raises(BadReply):
        parse_replies("together", build_ask("rerank"), {"results": results})


def test_texts_of_one_kind_share_a_pack_and_others_do_not() -> None:
    packs = [
        build_provider("openai").to_wire(build_ask("embeddings", "text-embedding-3-small", **p)).batching
        for p in ({}, {"text": "b"}, {"dimensions": 8})
    ]
    assert all(pack is not None for pack in packs)
    one, same, other = (pack for pack in packs if pack is not None)
    assert one.group == same.group != other.group
    assert (one.max_asks, one.max_weight) == (2048, 300_000)
    again = (
        build_provider("openai").to_wire(replace(build_ask("embeddings", "text-embedding-3-small"), sample=1)).batching
    )
    assert again is not None
    assert again.group != one.group


def test_dimensions_go_only_where_the_model_takes_them() -> None:
    assert build_body("openai", build_ask("embeddings", "text-embedding-3-small", dimensions=64))["dimensions"] == 64
    assert "dimensions" not in build_body("openai", build_ask("embeddings", "text-embedding-3-small", dimensions=1536))
    with pytest.raises(BadInput, match="has vectors of 1024 numbers, not 64"):
        build_provider("together").to_wire(
            build_ask("embeddings", "intfloat/multilingual-e5-large-instruct", dimensions=64)
        )
    assert "encoding_format" not in build_body("together", build_ask("embeddings"))
    assert build_body("openai", build_ask("embeddings", "text-embedding-3-small"))["encoding_format"] == "base64"


def test_vectors_come_back_by_index_as_numbers_or_base64() -> None:
    floats = np.array([0.1, -2.5], "<f4")
    told = {
        "data": [
            {"index": 1, "embedding": base64.b64encode(floats.tobytes()).decode()},
            {"index": 0, "embedding": [1, 0.5, 3]},
        ],
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    }
    first, second = parse_replies("openai", build_ask("embeddings", "text-embedding-3-small"), told, 2)
    assert np.frombuffer(base64.b64decode(second.data["vector"]), "<f4").tolist() == floats.tolist()
    assert (first.data["dimensions"], second.data["dimensions"]) == (3, 2)
    assert [one.usage.input_tokens for one in (first, second)] == [3, 2]


@pytest.mark.parametrize(
    "vector", [[], None, "", "abc", "AAA=", ["a"], [[1.0]], [1e40], [None], base64.b64encode(b"\0\0\xc0\x7f").decode()]
)
def test_what_is_no_vector_is_no_answer(vector: Any) -> None:
    with pytest.raises(BadReply):
        parse_replies(
            "openai", build_ask("embeddings", "text-embedding-3-small"), {"data": [{"index": 0, "embedding": vector}]}
        )


def test_indexes_that_are_doubled_or_missing_are_no_answer() -> None:
    for places in ([0, 0], [0, 2], ["0", 1]):
        with pytest.raises(BadReply):
            parse_replies(
                "together", build_ask("embeddings"), {"data": [{"index": n, "embedding": [1]} for n in places]}, 2
            )
    with pytest.raises(BadReply):
        parse_replies("together", build_ask("embeddings"), {"data": [{"index": 0, "embedding": [1]}]}, 2)


def test_the_group_of_a_cell_is_bought_apart_but_never_sent() -> None:
    one, other = build_ask("code_interpreter", group="a#0.0"), build_ask("code_interpreter", group="b#0.0")
    wires = [build_provider("together").to_wire(each) for each in (one, other)]
    assert request_key("together", one, wires[0]) != request_key("together", other, wires[1])
    assert build_body("together", one) == build_body("together", other) == {"language": "python", "code": "1 + 1"}


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"errors": None}, None),
        ({"errors": ["NameError: x"]}, "NameError: x"),
        ({"data": {"errors": [{"name": "E"}]}}, '{"name":"E"}'),
        ({"data": {"outputs": [{"type": "error", "data": "Traceback"}]}}, "Traceback"),
    ],
)
def test_code_that_failed_is_an_answer(told: dict[str, Any], error: str | None) -> None:
    data = {"session_id": "s", **told.get("data", {})}
    (parsed,) = parse_replies("together", build_ask("code_interpreter"), {**told, "data": data})
    assert (parsed.data["error"], parsed.usage.sessions) == (error, 1)
    (later,) = parse_replies("together", build_ask("code_interpreter", session_id="s"), {**told, "data": data})
    assert later.usage.sessions == 0


def test_a_session_that_is_refused_is_no_answer() -> None:
    reply = Reply(200, {}, orjson.dumps({"data": None, "errors": ["Session not found"]}))
    problem = build_provider("together").classify(reply, "code_interpreter")
    if problem is None:
        with pytest.raises(BadReply):
            build_provider("together").parse(reply, [build_ask("code_interpreter")])
    spoken = Reply(400, {}, orjson.dumps({"id": "1", "message": "too many documents"}))
    refused = build_provider("cohere").classify(spoken, "rerank")
    assert refused
    assert (refused.verdict, "too many documents" in refused.message) == ("fail", True)


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
def test_the_request_key_ignores_nothing_that_is_bought(operation: str, change: dict[str, Any]) -> None:
    name, model = ("openai", "text-embedding-3-small") if operation == "embeddings" else ("together", "m")
    one, other = build_ask(operation, model), build_ask(operation, model, **change)
    keys = {
        request_key(name, each, build_provider(name).to_wire(each)) for each in (one, other, replace(one, sample=1))
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


def check_any_reply(told: Any, operation: str) -> None:
    """Any body is an answer, a problem or a BadReply."""
    reply = build_reply(told)
    provider = build_provider("together")
    if provider.classify(reply, operation) is not None:
        return
    with contextlib.suppress(BadReply):
        (parsed,) = provider.parse(reply, [build_ask(operation)])
        for count in (parsed.usage.input_tokens, parsed.usage.searches, parsed.usage.sessions):
            assert count is None or count >= 0
        if operation == "rerank":
            assert all(map(math.isfinite, parsed.data["scores"]))


@repeatable
@given(st.sampled_from(OPERATIONS), SHAPED)
def test_any_reply_is_an_answer_or_an_error(operation: str, told: Any) -> None:
    check_any_reply(told, operation)


@repeatable
@given(st.sampled_from(OPERATIONS), st.sampled_from(["usage", "meta", "data", "results", "errors"]), SHAPED)
def test_so_is_a_good_one_with_a_bad_part(operation: str, name: str, bad: Any) -> None:
    check_any_reply({**GOOD[operation], name: bad}, operation)
    usage = {"usage": {"prompt_tokens": bad}, "meta": {"billed_units": {"search_units": bad, "input_tokens": bad}}}
    check_any_reply({**GOOD[operation], **usage}, operation)
    if operation == "code_interpreter":
        check_any_reply({"data": {"session_id": "s", "outputs": bad, "errors": bad}}, operation)


@repeatable
@given(st.sampled_from(OPERATIONS), st.binary(max_size=40))
def test_so_are_bytes(operation: str, told: bytes) -> None:
    check_any_reply(told, operation)


def test_numbers_too_large_to_be_counts_are_none() -> None:
    told = b'{"results":[{"index":0,"relevance_score":1}],"usage":{"prompt_tokens":1e400}}'
    check_any_reply(told, "rerank")
