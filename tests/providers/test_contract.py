"""What every registered provider keeps; a new one is tested as soon as it is registered."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.calls.request_key import request_key
from mediamill.tasks.domain import Input
from mediamill.tasks.errors import BadReply, UsageError
from mediamill.tasks.providers.operations.tts_reply import holds_audio
from mediamill.tasks.providers.registry import load_config
from tests.providers.making import BY_URL, KEY, NAMES, WAV, ask, make, model_of, parsed, reply

every = pytest.mark.parametrize("name", NAMES)

WORDS: dict[str, Any] = {"text": "Hello there", "duration": 1.5, "language": "en"}


def test_the_tests_know_every_provider() -> None:
    assert set(NAMES) >= {"local", "together", "openai", "groq", "compatible", "xai"}


@every
def test_wire_is_the_same_every_time_and_is_json(name: str) -> None:
    first, second = (make(name), make(name))
    wires = [p.to_wire(ask(p, language="en", words=True, segments=True)) for p in (first, second, first)]
    assert wires[0] == wires[1] == wires[2]
    told = asdict(wires[0])
    assert orjson.loads(orjson.dumps(told["params"])) == told["params"]
    assert None not in told["params"].values()


@every
def test_no_request_holds_the_key_or_names_its_variable(name: str) -> None:
    provider = make(name)
    made = ask(provider, language="en")
    wire = provider.to_wire(made)
    shown = repr((provider.build_request(wire, [made]), wire, vars(provider)))
    assert KEY not in shown
    headers = {header.lower() for header in provider.build_request(wire, [made]).headers}
    assert not headers & {"authorization", "x-api-key"}


@every
def test_the_model_goes_in_the_first_field_and_the_file_last(name: str) -> None:
    provider = make(name)
    made = ask(provider)
    request = provider.build_request(provider.to_wire(made), [made])
    assert request.fields[0] == ("model", made.model)
    assert request.files == [("file", WAV)]
    assert (request.method, request.json) == ("POST", None)


@every
def test_the_key_of_an_ask_depends_on_what_is_bought_only(name: str) -> None:
    provider = make(name)
    made = ask(provider)
    other_bytes = replace(made, inputs=(Input("ab" * 32, payload=BY_URL),), item_id="other")
    again, longer = (request_key(name, a, provider.to_wire(a)) for a in (made, other_bytes))
    assert again == longer
    louder = replace(made, params={"language": "de"} if name == "xai" else {"temperature": 0.5})
    assert request_key(name, louder, provider.to_wire(louder)) != again


@every
def test_longer_recordings_get_longer_deadlines(name: str) -> None:
    provider = make(name)
    short, long = (provider.to_wire(ask(provider, seconds=s)).timeout for s in ("5", "10800"))
    hosted = 10800 / 10 + 60
    assert short == 120
    assert long == (10800 * 4 + 60 if name == "local" else hosted)  # an engine on this machine may have a queue


@every
def test_an_answer_is_text_and_seconds(name: str) -> None:
    told = parsed(WORDS, name)
    assert told.data["text"] == "Hello there"
    assert told.data["language"] == "en"
    assert str(told.usage.audio_seconds) == "1.5"
    assert told.data["segments"] is None
    assert told.data["words"] is None
    assert set(told.data) == {"text", "language", "duration_s", "segments", "words", "speakers"}


@every
def test_the_built_in_servers_headers_name_the_engine(name: str) -> None:
    told = parsed(WORDS, name, x_mediamill_engine="echo-1", x_mediamill_simulated="true")
    assert (told.engine, told.simulated) == ("echo-1", True)
    assert (parsed(WORDS, name).engine, parsed(WORDS, name).simulated) == (None, False)


@every
def test_an_operation_it_does_not_have_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="no levitation"):
        make(name).choose_model("levitation", None)


@every
def test_limits_of_media_and_pace_are_stated(name: str) -> None:
    provider = make(name)
    limits = provider.audio_limits("transcription", model_of(provider))
    assert limits.formats
    assert limits.max_bytes > 1_000_000
    assert provider.quota("transcription", model_of(provider)).concurrency > 0


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
SPOKEN = [(name, operation) for name in NAMES for operation in ("", *load_config(name).operations)]
"""Every operation of every provider, and questions that are none."""
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "x-should-retry", "x-ratelimit-reset", "x-ratelimit-limit"]),
    st.sampled_from(["true", "false", "-1", "nan", "1e309", "7", "Wed, 21 Oct 2099 07:28:00 GMT", ""]),
    max_size=3,
)


@given(
    which=st.sampled_from(SPOKEN),
    status=st.integers(200, 599),
    body=BODIES,
    headers=HEADERS,
)
def test_every_reply_is_an_answer_or_a_problem_with_a_verdict(
    which: tuple[str, str], status: int, body: bytes, headers: dict[str, str]
) -> None:
    name, operation = which
    provider = make(name)
    told = replace(reply(body, status), headers=headers)
    provider.parse_rate_limits(told)
    problem = provider.classify(told, operation)
    if problem is None:
        assert status < 300
        if not holds_audio(told):
            orjson.loads(body)
        return
    assert problem.verdict in ("retry", "fail", "stop", "unknown")
    assert problem.kind.isidentifier()
    assert len(problem.message) < 300
    assert not {"\n", "\r", "\x1b", "\u2028", "\u202e"} & set(problem.message)
    assert problem.wait is None or 0 <= problem.wait <= 120


@given(body=BODIES | st.builds(lambda more, text: orjson.dumps({**more, "text": text}), st.fixed_dictionaries(
    {}, optional={
        "segments": JSONS, "words": JSONS, "speaker_segments": JSONS, "usage": JSONS, "duration": JSONS,
        "language": JSONS,
    }), st.text()))  # fmt: skip
def test_any_answer_is_parsed_or_refused_in_one_line(body: bytes) -> None:
    provider = make("together")
    refusal = ""
    try:
        (told,) = provider.parse(reply(body), [ask(provider)])
    except BadReply as error:
        refusal = str(error)
    if refusal:
        assert len(refusal) < 300
        assert "\n" not in refusal
        return
    for part in [*(told.data["segments"] or []), *(told.data["words"] or [])]:
        assert part["speaker"] is None or isinstance(part["speaker"], str)
        assert all(part[side] is None or 0 <= part[side] < 1_000_000 for side in ("start", "end"))
        assert 0 <= part.get("id", 0) < 2**31
