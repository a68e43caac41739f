"""The `together` SDK's realtime client, and for speech a plain websocket client, against the built-in server."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.helpers.local_server import RunningServer
from tests.helpers.transcription_requests import tone_wav
from tests.local.clients.sdk_clients import make_async_together_client

pytestmark = pytest.mark.long

MODEL = "nvidia/nemotron-3-asr-streaming-0.6b"
SOUND = tone_wav(3.0)[44:]


async def test_a_session_without_turn_detection_transcribes_at_the_commit(local_server: RunningServer) -> None:
    kinds, deltas, completed = [], [], []
    async with make_async_together_client(local_server).beta.realtime.connect(
        model=MODEL, turn_detection={"type": "none"}, prompt="Ada"
    ) as connection:
        for at in range(0, len(SOUND), 32_000):
            await connection.input_audio_buffer.append(SOUND[at : at + 32_000])
        await connection.input_audio_buffer.commit()
        await connection.echo("ping")
        event: Any
        async for event in connection:
            kinds.append(event.type)
            if event.type.endswith("transcription.delta"):
                deltas.append(event.delta)
            if event.type.endswith("completed"):
                completed.append(event)
            if event.type == "echo.response":
                assert event.echo_id == "ping"
                break
    assert kinds[:2] == ["session.created", "transcription_session.updated"]
    assert len(completed) == 1
    assert len(completed[0].transcript.split()) == 7
    assert (completed[0].start, completed[0].duration) == (0.0, 3.0)
    assert deltas[-1] == completed[0].transcript, "a delta replaces the one before"
    (call,) = local_server.bill()["calls"]
    assert (call["status"], call["billed"], call["seconds"], call["key_seen"]) == (101, True, "3.000000", True)


async def test_the_sdks_session_reconnects_after_a_close(local_server: RunningServer) -> None:
    local_server.faults({"match": {"nth": 1}, "fault": {"kind": "socket_close", "code": 1011}})
    async with make_async_together_client(local_server).beta.realtime.transcription(
        model=MODEL, turn_detection={"type": "none"}
    ) as session:
        await session.append(SOUND)
        text = await session.flush(quiescence=0.5, timeout=20)
    assert len(text.split()) == 7
    assert [call["billed"] for call in local_server.bill()["calls"]][-1] is True


async def test_turn_detection_ends_turns(local_server: RunningServer) -> None:
    turns = []
    async with make_async_together_client(local_server).beta.realtime.connect(model=MODEL, language="en") as connection:
        for _ in range(4):
            await connection.input_audio_buffer.append(SOUND)
        event: Any
        async for event in connection:
            turns += [(event.start, event.duration)] if event.type.endswith("completed") else []
            if len(turns) == 2:
                break
    assert turns == [(0.0, 5.0), (5.0, 5.0)]
    assert [call["seconds"] for call in local_server.bill()["calls"][:2]] == ["5.000000", "5.000000"]


@pytest.mark.parametrize(("model", "key", "status"), [("nobody/nothing", "some-key", 404), (MODEL, "wrong", 401)])
async def test_handshakes_with_a_wrong_model_or_key_are_refused(
    model: str, key: str, status: int, local_server: RunningServer
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with make_async_together_client(local_server, key).beta.realtime.connect(model=model):
            pass
    assert refused.value.response.status_code == status


async def test_binary_frames_end_the_session(local_server: RunningServer) -> None:
    url = local_server.origin.replace("http", "ws") + f"/together/v1/realtime?model={MODEL}"
    async with connect(url, additional_headers={"Authorization": "Bearer some-key"}, proxy=None) as connection:
        assert json.loads(await connection.recv())["type"] == "session.created"
        await connection.send(b"\0\0")
        await connection.wait_closed()
        assert connection.close_code == 1003


async def test_a_failure_that_is_not_fatal_keeps_the_session_open(local_server: RunningServer) -> None:
    body = {"event_type": "completed", "error": {"message": "lost"}}
    local_server.faults({"times": 1, "fault": {"kind": "socket_failed", "body": body}})
    async with make_async_together_client(local_server).beta.realtime.connect(
        model=MODEL, turn_detection={"type": "none"}
    ) as connection:
        await connection.input_audio_buffer.append(SOUND)
        await connection.input_audio_buffer.commit()
        event: Any
        async for event in connection:
            if event.type.endswith("failed"):
                assert not event.is_fatal
                break
        await connection.input_audio_buffer.append(SOUND)
        await connection.input_audio_buffer.commit()
        async for event in connection:
            if event.type.endswith("completed"):
                break
    assert [call["billed"] for call in local_server.bill()["calls"]] == [False, True]


async def test_speech_is_sent_as_an_item_per_sentence(local_server: RunningServer) -> None:
    query = "model=canopylabs/orpheus-3b-0.1-ft&voice=tara&max_partial_length=250"
    url = local_server.origin.replace("http", "ws") + f"/together/v1/audio/speech/websocket?{query}"
    pcm: dict[str, bytes] = {}
    done: list[str] = []
    async with connect(url, additional_headers={"Authorization": "Bearer some-key"}, proxy=None) as connection:
        await connection.send(json.dumps({"type": "input_text_buffer.append", "text": "Hello there. "}))
        await connection.send(json.dumps({"type": "input_text_buffer.append", "text": "And here."}))
        await connection.send(json.dumps({"type": "input_text_buffer.commit"}))
        async for message in connection:
            event = json.loads(message)
            if event["type"].endswith("audio_output.delta"):
                pcm[event["item_id"]] = pcm.get(event["item_id"], b"") + base64.b64decode(event["delta"])
            if event["type"].endswith("audio_output.done"):
                done.append(event["item_id"])
            if len(done) == 2:
                break
    assert done == list(pcm)
    assert sum(map(len, pcm.values())) > 24_000
    (call,) = local_server.bill()["calls"]
    assert (call["characters"], call["billed"]) == (len("Hello there. And here."), True)


async def test_a_speech_session_takes_the_fields_of_the_guide(local_server: RunningServer) -> None:
    query = "model_id=hexgrad/Kokoro-82M&voice=af_sky&response_format=wav&max_partial_length=10"
    url = local_server.origin.replace("http", "ws") + f"/together/v1/audio/speech/websocket?{query}"
    async with connect(url, additional_headers={"Authorization": "Bearer some-key"}, proxy=None) as socket:
        await socket.send(json.dumps({"type": "input_text_buffer.append", "text": "Hello to all of you."}))
        audio = b""
        async for text in socket:
            message = json.loads(text)
            audio += base64.b64decode(message.get("delta", ""))
            if message["type"] == "conversation.item.audio_output.done":
                break
    assert audio[:4] == b"RIFF"
    assert local_server.bill()["calls"][0]["model"] == "hexgrad/Kokoro-82M"


async def test_real_speech_is_transcribed(recognising_server: RunningServer, speech: Path) -> None:
    import av

    with av.open(str(speech)) as container:
        resampler = av.AudioResampler("s16", "mono", 16_000)
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
    pcm = b"".join(frame.to_ndarray().tobytes() for frame in frames)
    async with make_async_together_client(recognising_server).beta.realtime.connect(
        model=MODEL, language="en", turn_detection={"type": "none"}
    ) as connection:
        await connection.input_audio_buffer.append(pcm)
        await connection.input_audio_buffer.commit()
        event: Any
        async for event in connection:
            if event.type.endswith("completed"):
                break
    assert len(event.transcript.split()) > 2
