"""The contract of every provider; a new provider, model or operation is tested as soon as it is registered."""

from __future__ import annotations

from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.calls.request_key import request_key
from mediamill.tasks.domain import Input, Usage
from mediamill.tasks.errors import BadReply, UsageError
from mediamill.tasks.providers import operations
from mediamill.tasks.providers.errors.lenient_json import read_json
from mediamill.tasks.providers.operations.answer_forms import read_transcript
from mediamill.tasks.providers.operations.tts_reply import holds_audio
from mediamill.tasks.providers.registry import load_config, providers_with
from mediamill.tasks.retry_after import MAX_HINT
from tests.providers.builders import (
    PROVIDERS,
    RECORDING,
    RECORDING_URL,
    SAMPLES,
    SECRET_KEY,
    build_ask,
    build_ask_for,
    build_provider,
    build_reply,
    build_request,
    choose_model,
    list_models,
    parse_body,
    parse_reply,
)

MODELS = list_models()
OPERATIONS = [(name, operation) for name in PROVIDERS for operation in load_config(name).operations]
every_model = pytest.mark.parametrize(("name", "operation", "model"), MODELS)
every_operation = pytest.mark.parametrize(("name", "operation"), OPERATIONS)
every_provider = pytest.mark.parametrize("name", PROVIDERS)
every_transcriber = pytest.mark.parametrize("name", providers_with("transcription"))

TRANSCRIPT: dict[str, Any] = {"text": "Hello there", "duration": 1.5, "language": "en"}


def test_every_provider_and_operation_has_a_sample() -> None:
    assert set(PROVIDERS) >= {"local", "together", "openai", "groq", "compatible", "xai", "cohere"}
    known = {operation for _, operation in OPERATIONS} | set(operations.BUILT_IN)
    assert not known - set(SAMPLES), "add what an Ask for it holds to SAMPLES in tests/providers/builders.py"


@every_model
def test_the_wire_is_deterministic_json(name: str, operation: str, model: str) -> None:
    wires = [build_provider(name).to_wire(build_ask(operation, model)) for _ in range(2)]
    assert wires[0] == wires[1]
    wire = asdict(wires[0])
    assert orjson.loads(orjson.dumps(wire["params"])) == wire["params"]
    assert None not in wire["params"].values()


@every_model
def test_no_request_holds_the_key_or_names_its_variable(name: str, operation: str, model: str) -> None:
    provider, ask = build_provider(name), build_ask(operation, model)
    request = build_request(provider, ask)
    assert SECRET_KEY not in repr((request, provider.to_wire(ask), provider, vars(provider)))
    assert not {header.lower() for header in request.headers} & {"authorization", "x-api-key"}


@every_model
def test_the_request_key_depends_on_the_sample_but_not_on_the_item(name: str, operation: str, model: str) -> None:
    provider, ask = build_provider(name), build_ask(operation, model)
    key = request_key(name, ask, provider.to_wire(ask))
    elsewhere = replace(ask, item_id="other")
    assert request_key(name, elsewhere, provider.to_wire(elsewhere)) == key
    again = replace(ask, sample=1)
    assert request_key(name, again, provider.to_wire(again)) != key


@pytest.mark.parametrize(("name", "operation"), [case for case in OPERATIONS if SAMPLES[case[1]].reply is not None])
def test_a_sample_reply_is_parsed(name: str, operation: str) -> None:
    sample = SAMPLES[operation]
    provider = build_provider(name)
    ask = build_ask_for(provider, operation)
    parsed = parse_reply(provider, ask, build_reply(sample.reply, content_type=sample.content_type))
    assert parsed.data
    assert parsed.usage.requests in (None, 1)


@every_operation
@pytest.mark.parametrize(("status", "verdict"), [(401, "stop"), (429, "retry"), (503, "retry")])
def test_an_error_has_the_same_verdict_for_every_operation(
    name: str, operation: str, status: int, verdict: str
) -> None:
    problem = build_provider(name).classify(build_reply({"error": {"message": "no"}}, status), operation)
    assert problem is not None
    assert problem.verdict == verdict
    assert SECRET_KEY not in repr(problem)


@every_operation
def test_a_concurrency_is_stated(name: str, operation: str) -> None:
    provider = build_provider(name)
    assert provider.quota(operation, choose_model(provider, operation)).concurrency > 0


@every_provider
def test_an_operation_that_the_provider_lacks_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} has no levitation"):
        build_provider(name).choose_model("levitation", None)


@every_transcriber
def test_the_model_goes_in_the_first_field_and_the_file_last(name: str) -> None:
    provider = build_provider(name)
    ask = build_ask_for(provider, "transcription")
    request = build_request(provider, ask)
    assert request.fields[0] == ("model", ask.model)
    assert request.files == [("file", RECORDING)]
    assert (request.method, request.json) == ("POST", None)


@every_transcriber
def test_the_request_key_depends_only_on_what_is_bought(name: str) -> None:
    provider = build_provider(name)
    ask = build_ask_for(provider, "transcription")
    other_bytes = replace(ask, inputs=(Input("ab" * 32, payload=RECORDING_URL),), item_id="other")
    again, longer = (request_key(name, a, provider.to_wire(a)) for a in (ask, other_bytes))
    assert again == longer
    louder = replace(ask, params={"language": "de"} if name == "xai" else {"temperature": 0.5})
    assert request_key(name, louder, provider.to_wire(louder)) != again


@every_transcriber
def test_longer_recordings_get_longer_timeouts(name: str) -> None:
    provider = build_provider(name)
    ceilings = (Usage(audio_seconds=Decimal(seconds), requests=1) for seconds in (5, 10800))
    short, long = (
        provider.to_wire(build_ask_for(provider, "transcription", ceiling=ceiling)).timeout for ceiling in ceilings
    )
    hosted = 10800 / 10 + 60
    assert short == 120
    assert long == (10800 * 4 + 60 if name == "local" else hosted)  # an engine on this machine may have a queue


@every_transcriber
def test_a_transcript_has_text_language_and_seconds(name: str) -> None:
    parsed = parse_body(name, "transcription", TRANSCRIPT)
    assert parsed.data["text"] == "Hello there"
    assert parsed.data["language"] == "en"
    assert str(parsed.usage.audio_seconds) == "1.5"
    assert parsed.data["segments"] is None
    assert parsed.data["words"] is None
    assert set(parsed.data) == {"text", "language", "duration_s", "segments", "words", "speakers"}


@every_transcriber
def test_the_built_in_servers_headers_name_the_engine(name: str) -> None:
    parsed = parse_body(name, "transcription", TRANSCRIPT, x_mediamill_engine="echo-1", x_mediamill_simulated="true")
    assert (parsed.engine, parsed.simulated) == ("echo-1", True)
    plain = parse_body(name, "transcription", TRANSCRIPT)
    assert (plain.engine, plain.simulated) == (None, False)


@every_transcriber
def test_audio_limits_are_stated(name: str) -> None:
    provider = build_provider(name)
    limits = provider.audio_limits("transcription", choose_model(provider, "transcription"))
    assert limits.formats
    assert limits.max_bytes > 1_000_000


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("error", "message", "code", "type", "param", "detail", "errors", "object", "loc", "msg", "text"),
                    *("segments", "words", "speaker_segments", "start", "end", "speaker", "speaker_id", "word", "id"),
                    *("duration", "language", "usage", "seconds", "input_tokens", "output_tokens"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
BODIES = st.binary(max_size=80) | JSONS.map(orjson.dumps) | st.just(b"<html><title>502 Bad Gateway</title></html>")
REQUESTS = [*OPERATIONS, *((name, "") for name in PROVIDERS)]
"""Every operation of every provider, and requests without an operation, such as lists of models."""
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "x-should-retry", "x-ratelimit-reset", "x-ratelimit-limit"]),
    st.sampled_from(["true", "false", "-1", "nan", "1e309", "7", "Wed, 21 Oct 2099 07:28:00 GMT", ""]),
    max_size=3,
)


@given(
    which=st.sampled_from(REQUESTS),
    status=st.integers(200, 599),
    body=BODIES,
    headers=HEADERS,
)
def test_any_reply_is_a_success_or_a_problem_with_a_verdict(
    which: tuple[str, str], status: int, body: bytes, headers: dict[str, str]
) -> None:
    name, operation = which
    provider = build_provider(name)
    reply = build_reply(body, status, headers)
    provider.parse_rate_limits(reply)
    problem = provider.classify(reply, operation)
    if problem is None:
        assert status < 300
        if not holds_audio(reply) and read_transcript(reply) is None:
            read_json(body)
        return
    assert problem.verdict in ("retry", "fail", "stop", "unknown")
    assert problem.kind.isidentifier()
    assert len(problem.message) < 300
    assert not {"\n", "\r", "\x1b", "\u2028", "\u202e"} & set(problem.message)
    assert problem.wait is None or 0 <= problem.wait <= MAX_HINT


@given(body=BODIES | st.builds(lambda more, text: orjson.dumps({**more, "text": text}), st.fixed_dictionaries(
    {}, optional={
        "segments": JSONS, "words": JSONS, "speaker_segments": JSONS, "usage": JSONS, "duration": JSONS,
        "language": JSONS,
    }), st.text()))  # fmt: skip
def test_any_transcript_is_parsed_or_refused_in_one_line(body: bytes) -> None:
    provider = build_provider("together")
    refusal = ""
    try:
        parsed = provider.parse(build_reply(body), [build_ask_for(provider, "transcription")])[0]
    except BadReply as error:
        refusal = str(error)
    if refusal:
        assert len(refusal) < 300
        assert "\n" not in refusal
        return
    for part in [*(parsed.data["segments"] or []), *(parsed.data["words"] or [])]:
        assert part["speaker"] is None or isinstance(part["speaker"], str)
        assert all(part[side] is None or 0 <= part[side] < 1_000_000 for side in ("start", "end"))
        assert 0 <= part.get("id", 0) < 2**31
