"""The `together`, `openai` and `groq` SDKs generate speech with the built-in server."""

from __future__ import annotations

import base64
import io
import wave
from pathlib import Path
from typing import Any

import groq
import openai
import pytest
import together

from tests.helpers.local_server import RunningServer
from tests.local.clients.sdk_clients import make_together_client

pytestmark = pytest.mark.long

TEXT = "Hello there, my friend."
ORPHEUS: Any = "canopylabs/orpheus-3b-0.1-ft"


def seconds(data: bytes) -> float:
    with wave.open(io.BytesIO(data)) as file:
        return float(file.getnframes() / file.getframerate())


def test_together_speaks_to_a_file(local_server: RunningServer, tmp_path: Path) -> None:
    with make_together_client(local_server).audio.speech.with_streaming_response.create(
        model=ORPHEUS, input=TEXT, voice="tara", response_format="wav"
    ) as reply:
        reply.stream_to_file(tmp_path / "speech.wav")
    assert 1 < seconds((tmp_path / "speech.wav").read_bytes()) < 5


def test_together_streams_speech(local_server: RunningServer) -> None:
    stream = make_together_client(local_server).audio.speech.create(
        model=ORPHEUS, input=TEXT, voice="tara", response_format="raw", stream=True
    )
    chunks: list[Any] = list(stream)
    assert chunks[0].object == "audio.tts.chunk"
    assert sum(len(base64.b64decode(chunk.b64)) for chunk in chunks) > 24_000 * 2


def test_together_lists_voices_and_raises_its_exceptions(local_server: RunningServer) -> None:
    voices = make_together_client(local_server).audio.voices.list()
    assert ORPHEUS in [entry.model for entry in voices.data]
    assert voices.data[0].voices[0].name
    unknown: Any = "nobody/nothing"
    with pytest.raises(together.BadRequestError):
        make_together_client(local_server).audio.speech.create(model=unknown, input=TEXT, voice="tara")
    with pytest.raises(together.AuthenticationError):
        make_together_client(local_server, "wrong").audio.speech.create(model=ORPHEUS, input=TEXT, voice="tara")


def test_openai_speaks_and_streams(local_server: RunningServer) -> None:
    client = openai.OpenAI(
        api_key="some-key", base_url=f"{local_server.origin}/openai-api/v1", max_retries=0, timeout=60
    )
    reply = client.audio.speech.create(model="tts-1", input=TEXT, voice="alloy", response_format="wav")
    assert 1 < seconds(reply.content) < 5
    with client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", input=TEXT, voice="alloy", response_format="pcm", stream_format="sse"
    ) as stream:
        lines = [line for line in stream.iter_lines() if line.startswith("data:")]
    assert '"speech.audio.delta"' in lines[0]
    assert '"speech.audio.done"' in lines[-1]
    with pytest.raises(openai.BadRequestError):
        client.audio.speech.create(model="tts-1", input="x" * 5000, voice="alloy")


def test_groq_speaks_wav_only(local_server: RunningServer) -> None:
    client = groq.Groq(api_key="some-key", base_url=f"{local_server.origin}/groq", max_retries=0, timeout=60)
    model = "canopylabs/orpheus-v1-english"
    reply = client.audio.speech.create(model=model, input=TEXT, voice="troy", response_format="wav", sample_rate=16000)
    assert 1 < seconds(reply.read()) < 5
    with pytest.raises(groq.BadRequestError, match="one of"):
        client.audio.speech.create(model=model, input=TEXT, voice="troy", response_format="mp3")
