"""Speech replies of every documented shape: audio bytes, or events that hold audio."""

from __future__ import annotations

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from mediamill.tasks.domain import Ask, Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.media.encoded_audio import detect_container, detect_lettered_container
from mediamill.tasks.providers.errors.classify import classify_error
from mediamill.tasks.providers.errors.error_body import ErrorBody, find_error, redact_line
from mediamill.tasks.providers.errors.lenient_json import read_json
from mediamill.tasks.providers.operations.json_audio import find_json_audio, is_text
from mediamill.tasks.providers.operations.reply_json import to_count
from mediamill.tasks.providers.provider_info import ProviderInfo
from mediamill.tasks.providers.sse import Event, parse_events
from mediamill.tasks.wire import Problem, Reply

_HINT = "mediamill retry OUT --only bad_reply buys it again"
_RATE_PARAMETER = re.compile(r"rate=(\d{4,6})")
_DONE_TYPES = frozenset({"done", "speech.audio.done", "conversation.item.audio_output.done"})
_PCM_TYPES = ("audio/pcm", "audio/l16", "audio/raw", "audio/x-pcm", "application/octet-stream")
_AUDIO_TYPES = ("audio/", "application/octet-stream")
_FRAME_BYTES = 2


@dataclass(frozen=True, slots=True)
class Speech:
    """Audio as the provider sent it.

    Attributes:
        audio: the bytes.
        format: wav, mp3, flac, ogg or aac by content; ``pcm`` is 16-bit little-endian mono without a header.
        rate: sample rate in Hz of ``pcm``; the other formats state it themselves.
        warnings: how the audio differs from what was requested.
    """

    audio: bytes = field(repr=False)
    format: str
    rate: int
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class SpeechStream:
    """The content of a stream of events."""

    audio: bytearray = field(default_factory=bytearray)
    usage: Mapping[str, Any] | None = None
    done: bool = False
    error: ErrorBody | None = None


def parse_speech(reply: Reply, ask: Ask, rate: int) -> tuple[Speech, Usage]:
    """The audio of a reply, and its usage; characters are those that were sent.

    Args:
        reply: a success.
        ask: the Ask of the request.
        rate: sample rate in Hz of PCM without a header, if the reply's media type does not state it.

    Raises:
        BadReply: when it holds no audio, or the stream is incomplete.
    """
    usage: Mapping[str, Any] = {}
    audio = reply.body
    media_type = read_media_type(reply)
    if is_event_stream(reply) or reply.socket_end:
        stream = (
            read_speech_stream(reply.body) if is_event_stream(reply) else read_speech_events(_to_events(reply.body))
        )
        if stream.error is not None:
            raise BadReply(f"the stream ended with an error: {stream.error.message}", hint=_HINT)
        if not stream.done:
            raise BadReply("the stream ended before the audio was complete", hint=_HINT)
        audio, usage, media_type = bytes(stream.audio), stream.usage or {}, "audio/pcm"
    elif (inner := find_json_audio(audio)) is not None:
        audio, usage = inner
        media_type = _PCM_TYPES[0] if ask.params["format"] == "pcm" else ""
    speech = _to_speech(audio, str(ask.params["format"]), media_type, reply.headers, rate)
    text = str(ask.params["text"])
    input_tokens, output_tokens = (to_count(usage.get(name)) for name in ("input_tokens", "output_tokens"))
    return speech, Usage(characters=len(text), input_tokens=input_tokens, output_tokens=output_tokens, requests=1)


def read_speech_stream(body: bytes) -> SpeechStream:
    """The audio of a stream, in any documented shape (provider docs).

    ``{"type": "delta", "audio"}`` to ``{"type": "done"}``; ``{"object": "audio.tts.chunk", "b64"}``;
    ``{"type": "conversation.item.audio_output.delta", "delta"}``; OpenAI's ``speech.audio.delta`` and
    ``speech.audio.done``. ``[DONE]`` ends each of them; other types are skipped.

    Raises:
        BadReply: when an event is not JSON or its audio is not base64.
    """
    return read_speech_events(parse_events(body))


def read_speech_events(events: Iterable[Event]) -> SpeechStream:
    """The audio of events, or of a socket's messages.

    Raises:
        BadReply: when an event is not JSON or its audio is not base64.
    """
    stream = SpeechStream()
    for event in events:
        if event.data.strip() == b"[DONE]":
            stream.done = True
            break
        content = _decode_event(event.data)
        error = find_error(content)
        if error is not None and ("error" in content or event.type == "error"):
            stream.error = error
            break
        for encoded in _iter_audio_fields(content):
            stream.audio += _decode_audio_field(encoded)
        if str(content.get("type")) in _DONE_TYPES:
            stream.done = True
            usage = content.get("usage")
            stream.usage = usage if isinstance(usage, dict) else stream.usage
    return stream


def _to_events(body: bytes) -> Iterator[Event]:
    """The kept messages of a socket, one per line of the body, as events."""
    return (Event("message", line) for line in body.split(b"\n") if line)


def is_event_stream(reply: Reply) -> bool:
    """True for a reply of server-sent events."""
    return read_media_type(reply) == "text/event-stream"


def classify_speech_stream(provider: ProviderInfo, reply: Reply) -> Problem | None:
    """What an error inside a stream means: before any audio it is a refusal, after some it may be billed."""
    try:
        stream = read_speech_stream(reply.body)
    except BadReply:
        return None  # reported when the reply is parsed
    if stream.error is None:
        return None
    if stream.audio:
        return Problem(
            "unknown", "broken_stream", f"the stream ended with an error: {stream.error.message}", billed=True
        )
    error = {"message": stream.error.message, "code": stream.error.code, "type": stream.error.type}
    return classify_error(provider, Reply(reply.status, reply.headers, orjson.dumps({"error": error})))


def holds_audio(reply: Reply) -> bool:
    """True for a reply that is audio or a stream of it, by its content or, for headerless PCM, its media type."""
    if not reply.body:
        return False
    media_type = read_media_type(reply)
    if is_event_stream(reply) or detect_container(reply.body[:12]) is not None:
        return True
    return media_type.startswith(_AUDIO_TYPES) and not is_text(reply.body)


def read_media_type(reply: Reply) -> str:
    """The reply's media type, without its parameters."""
    return reply.headers.get("content-type", "").partition(";")[0].strip().lower()


def _to_speech(audio: bytes, requested: str, media_type: str, headers: Mapping[str, str], rate: int) -> Speech:
    if not audio:
        raise BadReply("the reply holds no audio", hint=_HINT)
    head = audio[:12]
    container = detect_lettered_container(head) if requested == "pcm" else detect_container(head)
    if container is not None:
        usual_name = {"ogg": "opus"}.get(container, container)
        warnings = () if requested in (usual_name, "pcm") else (f"requested {requested}, got {container}",)
        return Speech(audio, container, rate, warnings)
    if requested != "pcm" and media_type not in _PCM_TYPES:
        excerpt = redact_line(audio[:60].decode("utf-8", "replace"))
        raise BadReply(f"the reply is not audio in a known format: {excerpt!r}", hint=_HINT)
    rate_parameter = _RATE_PARAMETER.search(headers.get("content-type", ""))
    warnings = () if requested == "pcm" else (f"requested {requested}, got PCM without a header",)
    whole_frames = audio if len(audio) % _FRAME_BYTES == 0 else audio[:-1]
    if not whole_frames:
        raise BadReply("the reply holds no audio", hint=_HINT)
    return Speech(whole_frames, "pcm", int(rate_parameter[1]) if rate_parameter else rate, warnings)


def _decode_event(data: bytes) -> dict[str, Any]:
    try:
        content = read_json(data)
    except ValueError:
        raise BadReply("the stream holds an event that is not JSON", hint=_HINT) from None
    return content if isinstance(content, dict) else {}


def _iter_audio_fields(content: Mapping[str, Any]) -> Iterator[str]:
    event_type = content.get("type")
    names: tuple[str, ...]
    if event_type in ("delta", "speech.audio.delta"):
        names = ("audio", "delta")
    elif event_type == "conversation.item.audio_output.delta":
        names = ("delta",)
    elif content.get("object") == "audio.tts.chunk":
        names = ("b64",)
    else:
        return
    yield from (value for name in names if isinstance(value := content.get(name), str))


def _decode_audio_field(encoded: str) -> bytes:
    try:
        return a2b_base64(encoded, strict_mode=True)
    except (NotBase64, ValueError):
        raise BadReply("the stream holds audio that is not base64", hint=_HINT) from None
