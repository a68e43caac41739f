"""Speaking: what each provider is sent, and every shape of what comes back."""

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
from mediamill.tasks.domain import Ask, Usage
from mediamill.tasks.errors import BadInput, BadReply, UsageError
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.providers.operations import find_meter, find_price_fallback
from mediamill.tasks.providers.operations.tts import TTS, TtsModel
from mediamill.tasks.providers.registry import load_config
from mediamill.tasks.wire import Parsed, Reply, Wire
from tests.providers.making import NAMES, make

PCM = b"\x01\x00\xff\xff" * 600
SPEAKING = [
    (n, m) for n in NAMES if "tts" in load_config(n).operations for m in load_config(n).operations["tts"].models
]
SPEAKING.append(("compatible", "any/voice"))


def ask(model: str, text: str = "Hello there.", form: str = "wav", **params: Any) -> Ask:
    ceiling = Usage(characters=len(text), requests=1)
    return Ask("speak", "tts", model, {"text": text, "format": form, **params}, ceiling=ceiling)


def wire(name: str, model: str, **params: Any) -> Wire:
    return make(name).to_wire(ask(model, **params))


def wav(rate: int = 24_000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(PCM)
    return buffer.getvalue()


def reply(body: bytes, kind: str = "audio/wav", status: int = 200) -> Reply:
    return Reply(status, {"content-type": kind}, body)


def heard(body: bytes, kind: str = "audio/wav", *, name: str = "together", form: str = "wav") -> Parsed:
    provider = make(name)
    made = reply(body, kind)
    assert provider.classify(made, TTS) is None
    (only,) = provider.parse(made, [ask(provider.choose_model("tts", None), form=form)])
    return only


def stream(*told: Any, end: bytes = b"data: [DONE]\n") -> bytes:
    return b"".join(b"data: " + json.dumps(t).encode() + b"\n\n" for t in told) + end


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(("name", "model"), SPEAKING)
def test_what_is_unset_is_not_sent(name: str, model: str) -> None:
    provider = make(name)
    made = provider.to_wire(ask(model))
    known = {"model", "input", "voice", "response_format", "text", "output_format", "language"}
    assert set(made.params) <= known
    assert made.params.get("input", made.params.get("text")) == "Hello there."
    assert ("language" in made.params) == (name == "xai")
    assert made.encoding == "json"
    assert made.repeatable == (name == "local")
    request = provider.build_request(made, [ask(model)])
    assert (request.method, request.json, request.files, request.fields) == ("POST", dict(made.params), (), ())
    assert provider.model_facts(TTS, model, TtsModel).max_characters <= 15_000


@pytest.mark.parametrize(("name", "model"), SPEAKING)
def test_other_texts_and_voices_are_other_purchases(name: str, model: str) -> None:
    provider = make(name)
    voices = [ask(model), ask(model, "Hello."), ask(model, voice="x"), ask(model, form=list(_formats(name, model))[-1])]
    keys = {request_key(name, a, provider.to_wire(a)) for a in voices}
    assert len(keys) == 4 if len(_formats(name, model)) > 1 else 3


def _formats(name: str, model: str) -> tuple[str, ...]:
    return tuple(make(name).model_facts(TTS, model, TtsModel).formats)


def test_every_provider_has_its_own_names() -> None:
    together = wire("together", "cartesia/sonic-3", form="pcm", voice="v", sample_rate=8000, language="de")
    assert together.params == {
        "model": "cartesia/sonic-3",
        "input": "Hello there.",
        "voice": "v",
        "response_format": "raw",
        "language": "de",
        "sample_rate": 8000,
    }
    orpheus = wire("together", "canopylabs/orpheus-3b-0.1-ft", form="pcm", sample_rate=8000, stream=True).params
    assert (orpheus["stream"], orpheus["response_encoding"], orpheus["voice"]) == (True, "pcm_s16le", "tara")
    assert "sample_rate" not in orpheus
    openai = wire("openai", "gpt-4o-mini-tts", form="pcm", stream=True, instructions="slowly", speed=2).params
    assert (openai["stream_format"], openai["instructions"], openai["speed"]) == ("sse", "slowly", 2)
    xai = wire("xai", "grok-voice-tts-1.0", form="mp3", voice="ara", sample_rate=44100, speed=1.5, language="pt-BR")
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
def test_what_a_model_lacks_is_refused_before_it_costs(name: str, model: str, params: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as refused:
        wire(name, model, **params)
    assert refused.value.hint


def test_a_model_that_hears_does_not_speak() -> None:
    with pytest.raises(UsageError, match="has no realtime"):
        make("groq").choose_model("realtime", None)


SHAPES = {
    "delta": stream(
        {"type": "delta", "audio": coded(PCM[:6])},
        {"type": "delta", "audio": coded(PCM[6:])},
        {"type": "done"},
        end=b"",
    ),
    "chunk": stream({"object": "audio.tts.chunk", "model": "m", "b64": coded(PCM)}),
    "item": stream(
        {"type": "conversation.item.audio_output.delta", "item_id": "1", "delta": coded(PCM)},
        {"type": "conversation.item.word_timestamps", "words": ["a"], "start_seconds": [0], "end_seconds": [1]},
    ),
    "openai": stream(
        {"type": "speech.audio.delta", "audio": coded(PCM)},
        {"type": "speech.audio.done", "usage": {"input_tokens": 3, "output_tokens": 9}},
        end=b"",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_a_stream(shape: str) -> None:
    told = heard(SHAPES[shape], "text/event-stream; charset=utf-8", form="pcm")
    assert (told.data.audio, told.data.format, told.data.rate) == (PCM, "pcm", 24_000)
    assert told.usage.characters == 12
    if shape == "openai":
        assert (told.usage.input_tokens, told.usage.output_tokens) == (3, 9)


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    provider = make("together")
    for body, why in (
        (stream({"type": "delta", "audio": coded(PCM)}, end=b""), "broke off"),
        (b"data: {\n\n", "not JSON"),
        (stream({"type": "delta", "audio": "?"}), "base64"),
        (stream({"type": "speech.audio.done"}, end=b""), "no sound"),
    ):
        with pytest.raises(BadReply, match=why) as refused:
            provider.parse(reply(body, "text/event-stream"), [ask(provider.choose_model("tts", None), form="pcm")])
        assert refused.value.hint


def test_an_error_in_a_stream_is_judged_by_whether_sound_came_first() -> None:
    error = {"error": {"message": "The engine is overloaded", "code": "overloaded", "type": "server_error"}}
    before = make("together").classify(reply(stream(error), "text/event-stream"), TTS)
    assert before is not None
    assert (before.verdict, before.billed) == ("retry", False)
    some = stream({"type": "delta", "audio": coded(PCM)}, error)
    after = make("together").classify(reply(some, "text/event-stream"), TTS)
    assert after is not None
    assert (after.verdict, after.billed) == ("unknown", True)


def test_content_is_believed_rather_than_names() -> None:
    assert heard(wav(), "audio/mpeg", form="mp3").data.format == "wav"
    assert heard(wav(), "audio/mpeg", form="mp3").data.warnings == ("asked for mp3, got wav",)
    assert heard(wav(), "application/json").data.format == "wav"
    for head, form in ((b"ID3\x04", "mp3"), (b"\xff\xfb\x90\x00", "mp3"), (b"fLaC", "flac"), (b"OggS", "ogg")):
        assert heard(head + bytes(64), "application/octet-stream", form="mp3").data.format == form


def test_headerless_pcm_is_taken_where_its_type_says_so() -> None:
    bare = heard(PCM + b"\x07", "audio/pcm;rate=16000", form="wav").data
    assert (bare.format, bare.rate, bare.audio) == ("pcm", 16_000, PCM)
    assert bare.warnings == ("asked for wav, got PCM without a header",)
    loud = b"\xff\xfb\x90\x00" * 50
    assert heard(loud, "audio/pcm", form="pcm").data.format == "pcm"
    with pytest.raises(BadReply, match="no sound in a known format"):
        heard(b"<html>busy</html>", "audio/wav")


def test_an_empty_answer_may_have_been_billed() -> None:
    problem = make("openai").classify(reply(b""), TTS)
    assert problem is not None
    assert (problem.verdict, problem.billed) == ("unknown", True)


@given(st.binary(max_size=400), st.sampled_from(["audio/wav", "text/event-stream", "application/octet-stream", "x"]))
def test_any_reply_is_sound_or_a_told_failure(body: bytes, kind: str) -> None:
    provider = make("together")
    made = reply(body, kind)
    if provider.classify(made, TTS) is None:
        try:
            (told,) = provider.parse(made, [ask(provider.choose_model("tts", None), form="mp3")])
        except BadReply as error:
            assert error.message  # noqa: PT017
        else:
            assert told.data.audio


def test_what_speech_costs() -> None:
    names = ("together", "openai", "groq", "xai")
    pricing = {name: Pricing.load(name, make(name).billing, find_meter, find_price_fallback) for name in names}
    usage = Usage(characters=1_000_000, requests=1)
    most = {n: p.ceiling(make(n).choose_model("tts", None), "tts", usage) for n, p in pricing.items() if n != "openai"}
    assert {n: int(usd or 0) for n, usd in most.items()} == {"together": 15, "groq": 22, "xai": 15}
    mini = pricing["openai"]
    tokens = mini.cost(
        "gpt-4o-mini-tts", "tts", Usage(characters=9, input_tokens=1_000_000, output_tokens=1_000_000), None
    )
    assert (tokens.usd, tokens.basis) == (
        12 + mini.price_book.find("openai", "gpt-4o-mini-tts", "tts")[1].usd,
        "metered",
    )
    parsed = heard(wav(), name="openai")
    assert float(parsed.usage.speech_seconds or 0) == pytest.approx(1200 / 24_000)
    assert mini.cost("gpt-4o-mini-tts", "tts", parsed.usage, None).basis == "metered"
    kokoro = pricing["together"].ceiling("hexgrad/Kokoro-82M", "tts", usage)
    assert kokoro == 10, "the dearest source guards the budget"
    assert pricing["together"].ceiling("nobody/knows", "tts", usage) is None


@pytest.mark.parametrize("kind", [[], {}, 5, None, ["done"]])
def test_an_event_of_no_known_type_is_passed_over(kind: Any) -> None:
    odd = {"type": kind, "audio": coded(b"\x02\x00")}
    told = heard(stream(odd, {"type": "delta", "audio": coded(PCM)}), "text/event-stream", form="pcm")
    assert told.data.audio == PCM
