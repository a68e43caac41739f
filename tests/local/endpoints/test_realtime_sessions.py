"""Sessions on sockets tell and confirm what the provider's documents say; one in which nothing comes is ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.helpers.local_server import RunningServer

KOKORO, WHISPER = "hexgrad/Kokoro-82M", "openai/whisper-large-v3"
TURN_DETECTION = {
    "type": "server_vad",
    "threshold": 0.3,
    "min_silence_duration_ms": 500,
    "min_speech_duration_ms": 250,
    "max_speech_duration_s": 5.0,
    "speech_pad_ms": 250,
}


@pytest.fixture(scope="module")
def server_options() -> dict[str, Any]:
    return {"idle_seconds": "3s"}


@asynccontextmanager
async def connect(server: RunningServer, path: str, **query: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"{server.origin}/together/v1/{path}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, params=query) as socket:
        yield socket


@pytest.mark.long
async def test_a_session_of_speech_tells_its_model_and_voice_and_ends_when_idle(local_server: RunningServer) -> None:
    async with connect(local_server, "audio/speech/websocket", model=KOKORO, voice="af_heart") as socket:
        created = await socket.receive_json()
        assert created["event_id"]
        assert created["session"].pop("id")
        assert created["session"] == {
            "object": "realtime.tts.session",
            "modalities": ["text", "audio"],
            "model": KOKORO,
            "voice": "af_heart",
        }
        await socket.send_json({"type": "input_text_buffer.append", "text": "Hello."})
        await socket.send_json({"type": "input_text_buffer.commit"})
        kinds = [message.json()["type"] async for message in socket]
    assert kinds[0] == "conversation.item.input_text.received"
    assert kinds[-1] == "conversation.item.audio_output.done"
    assert socket.close_code == 1000


@pytest.mark.parametrize(
    ("given", "confirmed"),
    [
        ({"turn_detection": {"threshold": 0.1}}, {"turn_detection": {**TURN_DETECTION, "threshold": 0.1}}),
        ({"turn_detection": None}, {"turn_detection": None}),
        ({"prompt": "Ada"}, {"prompt": "Ada"}),
    ],
)
async def test_settings_of_a_transcription_are_confirmed_in_full(
    given: dict[str, Any], confirmed: dict[str, Any], local_server: RunningServer
) -> None:
    async with connect(local_server, "realtime", model=WHISPER) as socket:
        session = (await socket.receive_json())["session"]
        assert (session["modalities"], session["model"]) == (["audio"], WHISPER)
        await socket.send_json({"type": "transcription_session.updated", "session": given})
        assert await socket.receive_json() == {"type": "transcription_session.updated", "session": confirmed}
