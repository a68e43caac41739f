"""Text to speech: requests for each provider, and replies of every shape."""

from __future__ import annotations

import base64
import io
import json
import wave
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.calls.request_key import request_key
from mediamill.tasks.domain import Usage
from mediamill.tasks.errors import BadInput, BadReply, UsageError
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.providers.operations import find_meter, find_priced_as
from mediamill.tasks.providers.operations.tts import TTS, TtsModel
from mediamill.tasks.wire import Parsed, Wire
from tests.providers.builders import (
    UNLISTED_MODEL,
    build_ask,
    build_ask_for,
    build_provider,
    build_reply,
    list_models,
    parse_reply,
)

PCM = b"\x01\x00\xff\xff" * 600
TTS_MODELS = [(name, model) for name, _, model in list_models("tts") if model != UNLISTED_MODEL]
TTS_MODELS.append(("compatible", "any/voice"))


def build_speech_wire(name: str, model: str, **params: Any) -> Wire:
    return build_provider(name).to_wire(build_ask("tts", model, **params))


def pcm_wav(rate: int = 24_000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(PCM)
    return buffer.getvalue()


def parse_speech(body: bytes, kind: str = "audio/wav", *, name: str = "together", form: str = "wav") -> Parsed:
    provider = build_provider(name)
    return parse_reply(provider, build_ask_for(provider, "tts", format=form), build_reply(body, content_type=kind))


def encode_events(*events: Any, end: bytes = b"data: [DONE]\n") -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + end


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(("name", "model"), TTS_MODELS)
def test_unset_parameters_are_not_sent(name: str, model: str) -> None:
    provider = build_provider(name)
    wire = provider.to_wire(build_ask("tts", model))
    known = {"model", "input", "voice", "response_format", "text", "output_format", "language"}
    assert set(wire.params) <= known
    assert wire.params.get("input", wire.params.get("text")) == "Hello there."
    assert ("language" in wire.params) == (name == "xai")
    assert wire.encoding == "json"
    assert wire.repeatable == (name == "local")
    request = provider.build_request(wire, [build_ask("tts", model)])
    assert (request.method, request.json, request.files, request.fields) == ("POST", dict(wire.params), (), ())
    assert provider.model_facts(TTS, model, TtsModel).max_characters <= 15_000


@pytest.mark.parametrize(("name", "model"), TTS_MODELS)
def test_text_voice_and_format_change_the_request_key(name: str, model: str) -> None:
    provider = build_provider(name)
    voices = [
        build_ask("tts", model),
        build_ask("tts", model, text="Hello."),
        build_ask("tts", model, voice="x"),
        build_ask("tts", model, format=list(list_formats(name, model))[-1]),
    ]
    keys = {request_key(name, a, provider.to_wire(a)) for a in voices}
    assert len(keys) == 4 if len(list_formats(name, model)) > 1 else 3


def list_formats(name: str, model: str) -> tuple[str, ...]:
    return tuple(build_provider(name).model_facts(TTS, model, TtsModel).formats)


def test_parameters_have_each_providers_field_names() -> None:
    together = build_speech_wire(
        "together", "cartesia/sonic-3", format="pcm", voice="v", sample_rate=8000, language="de"
    )
    assert together.params == {
        "model": "cartesia/sonic-3",
        "input": "Hello there.",
        "voice": "v",
        "response_format": "raw",
        "language": "de",
        "sample_rate": 8000,
    }
    orpheus = build_speech_wire(
        "together", "canopylabs/orpheus-3b-0.1-ft", format="pcm", sample_rate=8000, stream=True
    ).params
    assert (orpheus["stream"], orpheus["response_encoding"], orpheus["voice"]) == (True, "pcm_s16le", "tara")
    assert "sample_rate" not in orpheus
    openai = build_speech_wire(
        "openai", "gpt-4o-mini-tts", format="pcm", stream=True, instructions="slowly", speed=2
    ).params
    assert (openai["stream_format"], openai["instructions"], openai["speed"]) == ("sse", "slowly", 2)
    xai = build_speech_wire(
        "xai", "grok-voice-tts-1.0", format="mp3", voice="ara", sample_rate=44100, speed=1.5, language="pt-BR"
    )
    assert xai.path == "/v1/tts"
    assert xai.params == {
        "text": "Hello there.",
        "voice_id": "ara",
        "output_format": {"codec": "mp3", "sample_rate": 44100},
        "speed": 1.5,
        "language": "pt-BR",
    }


@pytest.mark.parametrize(
    ("name", "model", "params"),
    [
        ("together", "hexgrad/Kokoro-82M", {"speed": 1.5}),
        ("openai", "tts-1", {"instructions": "cheerfully"}),
        ("openai", "tts-1", {"speed": 5}),
        ("groq", "canopylabs/orpheus-v1-english", {"language": "en"}),
        ("xai", "grok-voice-tts-1.0", {"speed": 0.1}),
    ],
)
def test_a_parameter_that_the_model_lacks_is_refused_before_sending(
    name: str, model: str, params: dict[str, Any]
) -> None:
    with pytest.raises(BadInput) as refused:
        build_speech_wire(name, model, **params)
    assert refused.value.hint


def test_an_operation_that_the_provider_lacks_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="has no realtime"):
        build_provider("groq").choose_model("realtime", None)


SHAPES = {
    "delta": encode_events(
        {"type": "delta", "audio": encode_base64(PCM[:6])},
        {"type": "delta", "audio": encode_base64(PCM[6:])},
        {"type": "done"},
        end=b"",
    ),
    "chunk": encode_events({"object": "audio.tts.chunk", "model": "m", "b64": encode_base64(PCM)}),
    "item": encode_events(
        {"type": "conversation.item.audio_output.delta", "item_id": "1", "delta": encode_base64(PCM)},
        {"type": "conversation.item.word_timestamps", "words": ["a"], "start_seconds": [0], "end_seconds": [1]},
    ),
    "openai": encode_events(
        {"type": "speech.audio.delta", "audio": encode_base64(PCM)},
        {"type": "speech.audio.done", "usage": {"input_tokens": 3, "output_tokens": 9}},
        end=b"",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_stream_is_parsed(shape: str) -> None:
    parsed = parse_speech(SHAPES[shape], "text/event-stream; charset=utf-8", form="pcm")
    assert (parsed.data.audio, parsed.data.format, parsed.data.rate) == (PCM, "pcm", 24_000)
    assert parsed.usage.characters == 12
    if shape == "openai":
        assert (parsed.usage.input_tokens, parsed.usage.output_tokens) == (3, 9)


def test_an_incomplete_stream_is_a_bad_reply() -> None:
    provider = build_provider("together")
    for body, why in (
        (encode_events({"type": "delta", "audio": encode_base64(PCM)}, end=b""), "ended before the audio was complete"),
        (b"data: {\n\n", "not JSON"),
        (encode_events({"type": "delta", "audio": "?"}), "base64"),
        (encode_events({"type": "speech.audio.done"}, end=b""), "no audio"),
    ):
        with pytest.raises(BadReply, match=why) as refused:
            provider.parse(
                build_reply(body, content_type="text/event-stream"), [build_ask_for(provider, "tts", format="pcm")]
            )
        assert refused.value.hint


def test_an_error_in_a_stream_is_billed_only_after_audio() -> None:
    error = {"error": {"message": "The engine is overloaded", "code": "overloaded", "type": "server_error"}}
    before = build_provider("together").classify(
        build_reply(encode_events(error), content_type="text/event-stream"), TTS
    )
    assert before is not None
    assert (before.verdict, before.billed) == ("retry", False)
    some = encode_events({"type": "delta", "audio": encode_base64(PCM)}, error)
    after = build_provider("together").classify(build_reply(some, content_type="text/event-stream"), TTS)
    assert after is not None
    assert (after.verdict, after.billed) == ("unknown", True)


def test_the_format_is_detected_from_the_content() -> None:
    assert parse_speech(pcm_wav(), "audio/mpeg", form="mp3").data.format == "wav"
    assert parse_speech(pcm_wav(), "audio/mpeg", form="mp3").data.warnings == ("requested mp3, got wav",)
    assert parse_speech(pcm_wav(), "application/json").data.format == "wav"
    for head, form in ((b"ID3\x04", "mp3"), (b"\xff\xfb\x90\x00", "mp3"), (b"fLaC", "flac"), (b"OggS", "ogg")):
        assert parse_speech(head + bytes(64), "application/octet-stream", form="mp3").data.format == form


def test_headerless_pcm_is_accepted_by_its_media_type() -> None:
    speech = parse_speech(PCM + b"\x07", "audio/pcm;rate=16000", form="wav").data
    assert (speech.format, speech.rate, speech.audio) == ("pcm", 16_000, PCM)
    assert speech.warnings == ("requested wav, got PCM without a header",)
    mp3_like = b"\xff\xfb\x90\x00" * 50
    assert parse_speech(mp3_like, "audio/pcm", form="pcm").data.format == "pcm"
    with pytest.raises(BadReply, match="not audio in a known format"):
        parse_speech(b"\x00\x01 no header", "audio/wav")


@pytest.mark.parametrize(
    ("body", "verdict", "kind"),
    [
        (b'{"error": {"message": "Rate limit exceeded", "code": 429}}', "retry", "rate_limit"),
        (b'{"error": {"message": "Unknown voice", "code": 400}}', "fail", "bad_request"),
        (b"429 Too Many Requests", "retry", "rate_limit"),
        (b"<html>busy</html>", "unknown", "bad_body"),
    ],
)
@pytest.mark.parametrize("kind_of_reply", ["audio/wav", "audio/pcm", "application/octet-stream"])
def test_an_error_that_is_called_audio_is_an_error(body: bytes, verdict: str, kind: str, kind_of_reply: str) -> None:
    problem = build_provider("openai").classify(build_reply(body, content_type=kind_of_reply), TTS)
    assert problem is not None
    assert (problem.verdict, problem.kind) == (verdict, kind)


@pytest.mark.parametrize(
    "body",
    [
        {"audio": "@"},
        {"audioContent": "@"},
        {"data": {"audio": "#", "status": 2}, "base_resp": {"status_code": 0, "status_msg": "success"}},
        {"audio": {"data": "data:audio/wav;base64,@", "expires_at": 1}},
        {"choices": [{"message": {"audio": {"data": "@", "transcript": "hi"}}}], "usage": {"output_tokens": 5}},
    ],
)
def test_audio_inside_json_was_paid_for_and_is_audio(body: Any) -> None:
    text = json.dumps(body).replace("@", encode_base64(pcm_wav())).replace("#", pcm_wav().hex())
    parsed = parse_speech(text.encode(), "application/json")
    assert (parsed.data.format, parsed.data.audio) == ("wav", pcm_wav())
    assert parsed.usage.output_tokens == (5 if "usage" in body else None)


def test_an_empty_reply_may_have_been_billed() -> None:
    problem = build_provider("openai").classify(build_reply(b"", content_type="audio/wav"), TTS)
    assert problem is not None
    assert (problem.verdict, problem.billed) == ("unknown", True)


@given(st.binary(max_size=400), st.sampled_from(["audio/wav", "text/event-stream", "application/octet-stream", "x"]))
def test_any_reply_has_audio_or_is_a_bad_reply(body: bytes, kind: str) -> None:
    provider = build_provider("together")
    reply = build_reply(body, content_type=kind)
    if provider.classify(reply, TTS) is None:
        try:
            (parsed,) = provider.parse(reply, [build_ask_for(provider, "tts", format="mp3")])
        except BadReply as error:
            assert error.message  # noqa: PT017
        else:
            assert parsed.data.audio


def test_the_cost_of_speech_by_characters_tokens_and_minutes() -> None:
    names = ("together", "openai", "groq", "xai")
    pricing = {name: Pricing.load(name, build_provider(name).billing, find_meter, find_priced_as) for name in names}
    usage = Usage(characters=1_000_000, requests=1)
    ceilings = {
        n: p.ceiling(build_provider(n).choose_model("tts", None), "tts", usage)
        for n, p in pricing.items()
        if n != "openai"
    }
    assert {n: int(usd or 0) for n, usd in ceilings.items()} == {"together": 15, "groq": 22, "xai": 15}
    mini = pricing["openai"]
    tokens = mini.cost(
        "gpt-4o-mini-tts", "tts", Usage(characters=9, input_tokens=1_000_000, output_tokens=1_000_000), None
    )
    assert (tokens.usd, tokens.basis) == (
        12 + mini.price_book.find("openai", "gpt-4o-mini-tts", "tts")[1].usd,
        "metered",
    )
    parsed = parse_speech(pcm_wav(), name="openai")
    assert float(parsed.usage.speech_seconds or 0) == pytest.approx(1200 / 24_000)
    assert mini.cost("gpt-4o-mini-tts", "tts", parsed.usage, None).basis == "metered"
    kokoro = pricing["together"].ceiling("hexgrad/Kokoro-82M", "tts", usage)
    assert kokoro == 10, "the dearest source guards the budget"
    assert pricing["together"].ceiling("nobody/knows", "tts", usage) is None


@pytest.mark.parametrize("kind", [[], {}, 5, None, ["done"]])
def test_an_event_of_unknown_type_is_skipped(kind: Any) -> None:
    event = {"type": kind, "audio": encode_base64(b"\x02\x00")}
    parsed = parse_speech(
        encode_events(event, {"type": "delta", "audio": encode_base64(PCM)}), "text/event-stream", form="pcm"
    )
    assert parsed.data.audio == PCM
