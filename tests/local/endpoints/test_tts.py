"""The built-in server generates speech in every provider's wire format, and bills by character."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from typing import Any

import av
import httpx
import pytest

from tests.helpers import loopback
from tests.helpers.local_server import JSON_TYPE, RunningServer, running_server
from tests.helpers.transcription_requests import tone_wav

TEXT = "Hello there, my friend."
MODELS = {
    "/v1": "any",
    "/together/v1": "canopylabs/orpheus-3b-0.1-ft",
    "/openai-api/v1": "tts-1",
    "/groq/openai/v1": "canopylabs/orpheus-v1-english",
    "/compatible/v1": "any",
}


def speak(origin: str, prefix: str, **fields: Any) -> httpx.Response:
    body = {"model": MODELS.get(prefix), "input": TEXT, "voice": "tara", "response_format": "wav", **fields}
    path = "/tts" if prefix == "/xai/v1" else "/audio/speech"
    sent = {name: value for name, value in body.items() if value is not None}
    return loopback.post(f"{origin}{prefix}{path}", json=sent, timeout=60)


def decode_audio(body: bytes) -> tuple[str, int, float]:
    """Codec, rate and seconds."""
    with av.open(io.BytesIO(body), "r") as container:
        stream = container.streams.audio[0]
        samples = sum(frame.samples for frame in container.decode(audio=0))
        rate = stream.codec_context.sample_rate
        return stream.codec_context.name, rate, samples / rate


@pytest.mark.parametrize("prefix", MODELS)
def test_every_dialect_generates_speech(prefix: str, local_server: RunningServer) -> None:
    reply = speak(local_server.origin, prefix)
    assert reply.status_code == 200, reply.text
    codec, rate, seconds = decode_audio(reply.content)
    assert (codec, rate) == ("pcm_s16le", 24_000)
    assert 1 < seconds < 5
    assert reply.headers["x-mediamill-simulated"] == "true"
    (call,) = local_server.bill()["calls"]
    assert (call["billed"], call["characters"], call["seconds"]) == (True, len(TEXT), None)


@pytest.mark.parametrize(
    ("form", "codec"), [("mp3", "mp3float"), ("flac", "flac"), ("opus", "opus"), ("aac", "aac"), ("wav", "pcm_s16le")]
)
def test_every_audio_format_decodes(form: str, codec: str, local_server: RunningServer) -> None:
    reply = speak(local_server.origin, "/openai-api/v1", response_format=form)
    found, _, seconds = decode_audio(reply.content)
    assert found.removeprefix("lib") == codec
    assert 1 < seconds < 5


def test_pcm_has_no_header_and_twice_the_speed_half_the_length(local_server: RunningServer) -> None:
    slow, fast = (
        speak(local_server.origin, "/openai-api/v1", response_format="pcm", speed=s).content for s in (1.0, 2.0)
    )
    assert len(slow) / len(fast) == pytest.approx(2, rel=0.01)
    assert not slow.startswith(b"RIFF")
    raw = speak(local_server.origin, "/together/v1", response_format="raw")
    assert raw.headers["content-type"] == "audio/pcm;rate=24000"


def test_xai_has_its_own_paths_and_fields(local_server: RunningServer) -> None:
    fields = {"text": TEXT, "language": "en", "output_format": {"codec": "mp3", "sample_rate": 44100}}
    none = {"model": None, "input": None, "voice": None, "response_format": None}
    reply = speak(local_server.origin, "/xai/v1", **fields, **none)
    assert decode_audio(reply.content)[:2] == ("mp3float", 44_100)
    assert local_server.bill()["calls"][0]["model"] == "grok-voice-tts-1.0"
    refused = speak(local_server.origin, "/xai/v1", text=TEXT, **none)
    assert refused.status_code == 400
    assert set(refused.json()) == {"code", "error"}
    voices = loopback.get(f"{local_server.origin}/xai/v1/tts/voices").json()
    assert voices["voices"][0]["voice_id"]
    form = {"language": "en", "format": "true", "diarize": "true"}
    files = {"file": ("a.wav", tone_wav(3.0))}
    transcript = loopback.post(f"{local_server.origin}/xai/v1/stt", data=form, files=files, timeout=60).json()
    assert transcript["duration"] == 3.0
    assert {"text", "start", "end", "speaker", "confidence"} == set(transcript["words"][0])
    bad = loopback.post(f"{local_server.origin}/xai/v1/stt", data={"format": "true"}, files=files, timeout=60)
    assert bad.status_code == 400


@pytest.mark.parametrize(
    ("prefix", "fields", "status"),
    [
        ("/together/v1", {"voice": None}, 400),
        ("/together/v1", {"input": ""}, 400),
        ("/together/v1", {"response_format": "flac"}, 400),
        ("/together/v1", {"stream": True, "response_format": "mp3"}, 400),
        ("/together/v1", {"model": "nobody/knows"}, 400),
        ("/openai-api/v1", {"input": "x" * 4097}, 400),
        ("/openai-api/v1", {"model": "whisper-1"}, 404),
        ("/openai-api/v1", {"speed": 9}, 400),
        ("/groq/openai/v1", {"response_format": "mp3"}, 400),
        ("/groq/openai/v1", {"input": "x" * 201}, 400),
        ("/compatible/v1", {"input": 7}, 422),
        ("/v1", {"sample_rate": 10}, 400),
    ],
)
def test_requests_that_the_provider_refuses_are_refused_and_free(
    prefix: str, fields: dict[str, Any], status: int, local_server: RunningServer
) -> None:
    assert speak(local_server.origin, prefix, **fields).status_code == status
    bill = local_server.bill()
    assert (bill["requests"], bill["billed"]) == (1, 0)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null"])
def test_a_body_that_is_not_a_json_object_is_refused(body: bytes, local_server: RunningServer) -> None:
    reply = loopback.post(f"{local_server.origin}/v1/audio/speech", content=body, headers=JSON_TYPE)
    assert reply.status_code == 400
    assert local_server.bill()["billed"] == 0


def test_voices_are_listed_in_togethers_form(local_server: RunningServer) -> None:
    entries = loopback.get(f"{local_server.origin}/together/v1/voices").json()["data"]
    assert {entry["model"] for entry in entries} >= {"hexgrad/Kokoro-82M"}
    assert all(voice["name"] for entry in entries for voice in entry["voices"])


def test_fault_rules_and_prices_apply_to_speech() -> None:
    with running_server(price={"canopylabs/orpheus-3b-0.1-ft": "15"}) as server:
        server.faults({"match": {"nth": 1}, "fault": {"kind": "status", "status": 503}})
        assert speak(server.origin, "/together/v1").status_code == 503
        assert speak(server.origin, "/together/v1").status_code == 200
        assert speak(server.origin, "/together/v1").status_code == 200
        bill = server.bill()
        assert (bill["billed"], bill["usd"], bill["billed_again"]) == (
            2,
            f"{len(TEXT) * 2 * 15 / 1e6:f}".rstrip("0"),
            1,
        )


@pytest.fixture(scope="module", params=["flite", "espeak-ng"])
def speaking_server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not on PATH")
    with running_server(engine=request.param, workers=1) as running:
        yield running


def test_installed_voices_generate_speech(speaking_server: RunningServer) -> None:
    reply = loopback.post(f"{speaking_server.origin}/v1/audio/speech", json={"model": "x", "input": TEXT})
    assert reply.headers["x-mediamill-simulated"] == "false"
    assert reply.headers["x-mediamill-engine"].startswith(("flite-2", "espeak-ng-1"))
    assert 0.8 < decode_audio(reply.content)[2] < 5
    unknown = {"model": "x", "input": TEXT, "voice": "nobody"}
    refused = loopback.post(f"{speaking_server.origin}/v1/audio/speech", json=unknown)
    assert refused.status_code == 400
    odd = {"model": "x", "input": "$(reboot) `ls` -- \u4f60\u597d <speak>"}
    assert loopback.post(f"{speaking_server.origin}/v1/audio/speech", json=odd, timeout=60).status_code == 200


def test_an_engine_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from mediamill.tasks.errors import UsageError
    from mediamill.tasks.local.tts_engines.registry import make_tts_engine

    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="needs the program flite"):
        make_tts_engine("flite", 1)
    assert make_tts_engine("local", 1).simulated
    assert json.dumps(make_tts_engine("local", 1).identity) == '"tones-1"'
