"""Speech replies, in each provider's forms: a file in an audio format, or server-sent events."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import orjson

from mediamill.tasks.local.endpoints.tts_request import TtsRequest
from mediamill.tasks.local.tts_engines.base import PcmAudio

_MIME_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "flac": "audio/flac", "opus": "audio/ogg", "aac": "audio/aac"}
_CODECS = {
    "mp3": ("mp3", "libmp3lame"),
    "wav": ("wav", "pcm_s16le"),
    "flac": ("flac", "flac"),
    "opus": ("ogg", "libopus"),
    "aac": ("adts", "aac"),
}
_OPUS_RATE = 24_000
_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_CHUNK_BYTES = 1 << 13
_BLOCK_SAMPLES = 4096


def build_tts_reply(audio: PcmAudio, params: TtsRequest, shape: str) -> tuple[bytes, str]:
    """Body and content type of a reply. Blocking: call it in a thread.

    Args:
        audio: the engine's audio.
        params: the request.
        shape: event format of a stream: ``delta``, ``chunk``, ``item`` or ``openai``.
    """
    rate = params.sample_rate or audio.sample_rate
    if params.audio_format == "opus" and rate not in _OPUS_RATES:
        rate = _OPUS_RATE
    pcm = resample(audio, rate)
    if params.stream:
        return b"".join(_generate_events(pcm, params, shape)), "text/event-stream; charset=utf-8"
    if params.audio_format in ("pcm", "raw"):
        return pcm, f"audio/pcm;rate={rate}"
    return encode_audio(pcm, rate, params.audio_format), _MIME_TYPES[params.audio_format]


def resample(audio: PcmAudio, rate: int) -> bytes:
    """Convert to another sample rate; 16-bit mono samples."""
    if audio.sample_rate == rate or not audio.pcm:
        return audio.pcm
    import av

    resampler = av.AudioResampler("s16", "mono", rate)
    parts = [
        f.to_ndarray().tobytes()
        for frame in _split_frames(audio.pcm, audio.sample_rate)
        for f in resampler.resample(frame)
    ]
    return b"".join([*parts, *(f.to_ndarray().tobytes() for f in resampler.resample(None))])


def _split_frames(pcm: bytes, rate: int) -> Iterator[Any]:
    import av
    import numpy as np

    samples = np.frombuffer(pcm, "<i2")
    for at in range(0, len(samples), _BLOCK_SAMPLES):
        frame = av.AudioFrame.from_ndarray(
            samples[at : at + _BLOCK_SAMPLES].reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate = rate
        yield frame


def encode_audio(pcm: bytes, rate: int, audio_format: str) -> bytes:
    """A file of 16-bit mono samples; ``pcm`` and ``raw`` have no header. Blocking: call it in a thread."""
    import av

    if audio_format in ("pcm", "raw"):
        return pcm

    container_name, codec = _CODECS[audio_format]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container_name) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout="mono")
        for frame in _split_frames(pcm, rate):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _generate_events(pcm: bytes, params: TtsRequest, shape: str) -> Iterator[bytes]:
    """The audio as events in one of the documented formats, with a keep-alive comment first."""
    yield b": keep-alive\n\n"
    for at in range(0, len(pcm), _CHUNK_BYTES):
        encoded = base64.b64encode(pcm[at : at + _CHUNK_BYTES]).decode()
        if shape == "delta":
            event: dict[str, Any] = {"type": "delta", "audio": encoded}
        elif shape == "item":
            event = {"type": "conversation.item.audio_output.delta", "item_id": "tts_1", "delta": encoded}
        elif shape == "openai":
            event = {"type": "speech.audio.delta", "audio": encoded}
        else:
            event = {"object": "audio.tts.chunk", "model": params.model, "b64": encoded}
        yield _encode_event(event)
    if shape == "delta":
        yield _encode_event({"type": "done"})
    elif shape == "item":
        words = params.text.split()
        times = [round(n * 0.3, 3) for n in range(len(words) + 1)]
        stamps = {"words": words, "start_seconds": times[:-1], "end_seconds": times[1:]}
        yield _encode_event({"type": "conversation.item.word_timestamps", "item_id": "tts_1", **stamps})
    elif shape == "openai":
        input_tokens, output_tokens = len(params.text.split()), len(pcm) // 2000
        usage = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        }
        yield _encode_event({"type": "speech.audio.done", "usage": usage})
    if shape != "openai":
        yield b"data: [DONE]\n"


def _encode_event(event: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(event) + b"\n\n"
