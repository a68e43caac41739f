"""Transcription as server-sent events, as OpenAI and vLLM send it (provider docs); the other providers send none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from mediamill.tasks.local.asr_engines.base import Transcript
from mediamill.tasks.local.chat.chat_reply import split_words
from mediamill.tasks.local.endpoints.transcription_reply import build_diarized_segments, build_usage
from mediamill.tasks.local.endpoints.transcription_request import TranscriptionRequest
from mediamill.tasks.local.server.dialects import Dialect

_CREATED = 1735689600
_DONE = b"data: [DONE]\n\n"


def encode_transcription_events(
    transcript: Transcript, params: TranscriptionRequest, dialect: Dialect, *, tokens: bool, request_id: str
) -> list[bytes]:
    """The bytes of each event.

    Args:
        transcript: the engine's result.
        params: the request.
        dialect: the provider's format.
        tokens: the model reports tokens instead of seconds.
        request_id: the id of vLLM's chunks.
    """
    if dialect.name == "compatible":
        return [*map(_encode, _generate_vllm_chunks(transcript, params, request_id)), _DONE]
    events: list[dict[str, Any]]
    if params.format == "diarized_json":
        segments = build_diarized_segments(transcript)
        events = [
            event
            for segment in segments
            for event in (
                {"type": "transcript.text.delta", "delta": segment["text"], "segment_id": segment["id"]},
                segment,
            )
        ]
    else:
        events = [{"type": "transcript.text.delta", "delta": word} for word in split_words(transcript.text)]
    done = {"type": "transcript.text.done", "text": transcript.text}
    usage = {"usage": build_usage(transcript, dialect, tokens=tokens)} if dialect.reports_usage else {}
    return [_encode(event) for event in [*events, {**done, **usage}]]


def _generate_vllm_chunks(
    transcript: Transcript, params: TranscriptionRequest, request_id: str
) -> Iterator[dict[str, Any]]:
    head = {
        "id": f"trsc-{request_id}",
        "object": "transcription.chunk" if params.to is None else "translation.chunk",
        "created": _CREATED,
        "model": params.model,
    }
    for word in split_words(transcript.text):
        yield {**head, "choices": [{"delta": {"content": word}, "finish_reason": None, "stop_reason": None}]}
    yield {**head, "choices": [{"delta": {"content": ""}, "finish_reason": "stop", "stop_reason": None}]}


def _encode(event: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"
