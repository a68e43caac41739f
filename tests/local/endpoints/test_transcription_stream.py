"""Streamed transcripts, as OpenAI and vLLM send them; whoever has no streams sends the transcript at once."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.helpers.local_server import RunningServer
from tests.helpers.transcription_requests import tone_wav


def transcribe(server: RunningServer, path: str, model: str, **fields: str) -> httpx.Response:
    data = {"model": model, "stream": "true", **fields}
    url = f"{server.origin}/{path}/audio/transcriptions"
    return httpx.post(url, data=data, files={"file": ("a.wav", tone_wav(3.0))}, timeout=30)


def read_events(reply: httpx.Response) -> list[Any]:
    assert reply.headers["content-type"] == "text/event-stream"
    return [json.loads(event.removeprefix("data: ")) for event in reply.text.split("\n\n") if event.endswith("}")]


@pytest.mark.parametrize(
    ("path", "model", "usage"),
    [
        ("openai-api/v1", "gpt-transcribe", "tokens"),
        ("openai-api/v1", "gpt-4o-transcribe", "tokens"),
        ("v1", "any", "duration"),
    ],
)
def test_openais_deltas_are_the_text_at_the_end(path: str, model: str, usage: str, local_server: RunningServer) -> None:
    *deltas, done = read_events(transcribe(local_server, path, model))
    assert {event["type"] for event in deltas} == {"transcript.text.delta"}
    assert done["type"] == "transcript.text.done"
    assert "".join(event["delta"] for event in deltas) == done["text"]
    assert done["usage"]["type"] == usage
    assert local_server.bill()["calls"][0]["seconds"] is not None


def test_speakers_come_segment_by_segment(local_server: RunningServer) -> None:
    events = read_events(
        transcribe(local_server, "openai-api/v1", "gpt-4o-transcribe-diarize", response_format="diarized_json")
    )
    segments = [event for event in events if event["type"] == "transcript.text.segment"]
    assert segments
    assert {event["segment_id"] for event in events if "segment_id" in event} == {one["id"] for one in segments}
    assert events[-1]["text"] == " ".join(one["text"] for one in segments)


def test_vllms_chunks_end_with_done(local_server: RunningServer) -> None:
    reply = transcribe(local_server, "compatible/v1", "any")
    chunks = read_events(reply)
    assert reply.text.endswith("data: [DONE]\n\n")
    assert {chunk["object"] for chunk in chunks} == {"transcription.chunk"}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("together/v1", "openai/whisper-large-v3"),
        ("openai-api/v1", "whisper-1"),
        ("groq/openai/v1", "whisper-large-v3"),
    ],
)
def test_stream_is_ignored_where_the_provider_has_none(path: str, model: str, local_server: RunningServer) -> None:
    reply = transcribe(local_server, path, model)
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["text"]


def test_a_format_that_cannot_be_streamed_is_refused(local_server: RunningServer) -> None:
    for fields in ({"response_format": "srt"}, {"stream": "perhaps"}):
        reply = transcribe(local_server, "compatible/v1", "any", **fields)
        assert reply.status_code == 422
