"""Websocket sessions: their messages, when they are complete, and what their end means."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from mediamill.tasks.calls.request_key import request_key
from mediamill.tasks.domain import Ask, Payload, Usage
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.providers.operations.realtime import SocketConfig, SpeechModel, reports_failure
from mediamill.tasks.providers.operations.realtime_transcription import SESSIONS, TogetherSession
from mediamill.tasks.providers.operations.realtime_tts import TtsSession
from mediamill.tasks.providers.operations.transcription import SpeechToTextConfig
from mediamill.tasks.providers.operations.tts import TtsConfig
from mediamill.tasks.providers.registry import load_config
from mediamill.tasks.websocket_session import SOCKET_HEADER, MessageFlags, UnreadableMessage
from mediamill.tasks.wire import Reply
from tests.providers.builders import SECRET_KEY, build_ask, build_provider, build_request

STREAMING = "nvidia/nemotron-3-asr-streaming-0.6b"
WHISPER = "openai/whisper-large-v3"
ORPHEUS = "canopylabs/orpheus-3b-0.1-ft"
ITEM = "conversation.item.input_audio_transcription."
SECOND = Payload("a.pcm", "audio/pcm", 32_000, data=bytes(32_000))
SOCKET = SocketConfig(path="/realtime", quiet=10, settle=1, ahead=5)


def build_recording_ask(model: str = STREAMING, audio: Payload = SECOND, **params: Any) -> Ask:
    ceiling = Usage(audio_seconds=Decimal(1), requests=1)
    return build_ask("transcription", model, payload=audio, ceiling=ceiling, **params)


def build_speech_ask(**params: Any) -> Ask:
    return build_ask("tts", ORPHEUS, **{"format": "pcm", "transport": "socket", **params})


def parse_query(ask: Ask, name: str = "together") -> tuple[str, dict[str, list[str]]]:
    parts = urlsplit(build_request(name, ask).path)
    return parts.path, parse_qs(parts.query)


def encode_event(kind: str, **more: Any) -> str:
    return orjson.dumps({"type": kind, **more}).decode()


def build_socket_reply(*frames: str, end: str = "over", status: int = 101, **headers: str) -> Reply:
    reply_headers = {SOCKET_HEADER: end, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Reply(status, reply_headers, "".join(frame + "\n" for frame in frames).encode())


def build_session(audio: Payload = SECOND, config: SocketConfig = SOCKET, **params: Any) -> TogetherSession:
    return TogetherSession(audio, config, params)


def test_a_socket_is_used_by_models_that_need_one_and_on_request() -> None:
    provider = build_provider("together")
    assert provider.to_wire(build_recording_ask()).encoding == "socket"
    assert provider.to_wire(build_recording_ask(WHISPER)).encoding == "multipart"
    by_choice = provider.to_wire(build_recording_ask(WHISPER, transport="socket", language="en"))
    assert (by_choice.encoding, by_choice.path, by_choice.repeatable) == ("socket", "/v1/realtime", True)
    assert request_key("together", build_recording_ask(WHISPER), by_choice) != request_key(
        "together", build_recording_ask(WHISPER), provider.to_wire(build_recording_ask(WHISPER))
    )
    assert provider.audio_limits("transcription", STREAMING).formats == {"pcm"}
    assert provider.audio_limits("transcription", WHISPER, "socket").formats == {"pcm"}
    assert "wav" in provider.audio_limits("transcription", WHISPER).formats
    with pytest.raises(BadInput, match="openai has no socket for transcription"):
        build_provider("openai").to_wire(build_recording_ask("whisper-1", transport="socket"))


def test_the_session_parameters_are_in_the_url_and_the_key_is_not() -> None:
    path, params = parse_query(build_recording_ask(language="de"))
    assert path == "/v1/realtime"
    assert params == {
        "model": [STREAMING],
        "language": ["de"],
        "input_audio_format": ["pcm_s16le_16000"],
        "turn_detection": ["none"],
    }
    provider = build_provider("together")
    request = provider.build_request(provider.to_wire(build_recording_ask()), [build_recording_ask()])
    assert request.headers == {"OpenAI-Beta": "realtime=v1"}
    assert SECRET_KEY not in repr((request, provider.to_wire(build_recording_ask())))


@pytest.mark.parametrize(("name", "value"), [("diarize", True), ("temperature", 0.5), ("prompt", "names")])
def test_a_parameter_that_a_socket_lacks_is_refused_before_sending(name: str, value: Any) -> None:
    with pytest.raises(BadInput, match="on a socket"):
        build_provider("together").to_wire(build_recording_ask(**{name: value}))


def test_a_prompt_is_sent_in_a_message_and_not_in_the_url() -> None:
    provider = build_provider("together")
    ask = build_recording_ask(WHISPER, transport="socket", prompt="Ada")
    request = provider.build_request(provider.to_wire(ask), [ask])
    assert "Ada" not in request.path
    assert request.session is not None
    assert [orjson.loads(m)["session"] for m in request.session.opening_messages()] == [{"prompt": "Ada"}]


def test_audio_is_sent_in_base64_and_ends_with_a_commit() -> None:
    session = build_session()
    appended = orjson.loads(session.encode_chunk(b"\1\2"))
    assert (appended["type"], base64.b64decode(appended["audio"])) == ("input_audio_buffer.append", b"\1\2")
    assert [orjson.loads(m)["type"] for m in session.closing_messages()] == ["input_audio_buffer.commit", "echo"]


def test_a_session_is_never_complete_before_the_commit() -> None:
    session = build_session()
    assert session.receive(encode_event("session.created")) == MessageFlags.READY
    assert session.receive(encode_event(ITEM + "completed", transcript="a", start=0, duration=1.0)) == MessageFlags.KEEP
    assert session.receive(encode_event("echo.response")) == MessageFlags.SKIP
    assert session.max_silence_seconds() is None
    assert not session.is_complete()


def test_a_transcript_that_reaches_the_end_of_the_audio_ends_the_session() -> None:
    session = build_session()
    session.closing_messages()
    assert session.receive(encode_event(ITEM + "delta", item_id="i", delta="one")) == MessageFlags.SKIP
    assert session.receive(encode_event(ITEM + "delta", item_id="i", delta="one two")) == MessageFlags.SKIP
    assert session.max_silence_seconds() is None, "with a delta under way silence proves nothing"
    last = encode_event(ITEM + "completed", item_id="i", transcript="one two", start=0, duration=0.9)
    assert session.receive(last) == MessageFlags.KEEP | MessageFlags.OVER


def test_a_transcript_without_times_ends_the_session_after_silence_or_by_the_servers_progress() -> None:
    for last in (None, encode_event("input_audio_buffer.processed", processed_ms=1000)):
        session = build_session()
        session.closing_messages()
        assert session.receive(encode_event(ITEM + "completed", transcript="one")) == MessageFlags.KEEP
        assert session.max_silence_seconds() == SOCKET.settle
        if last:
            assert session.receive(last) == MessageFlags.OVER


def test_silence_counts_only_after_the_server_has_echoed() -> None:
    session = build_session()
    session.closing_messages()
    assert session.max_silence_seconds() is None
    session.receive(encode_event("echo.response", echo_id="committed"))
    assert session.max_silence_seconds() == SOCKET.quiet
    session.receive(encode_event("input_audio_buffer.processed", processed_ms=990))
    assert session.max_silence_seconds() == SOCKET.settle


def test_a_short_recording_is_not_complete_without_a_transcript() -> None:
    session = build_session(Payload("a", "audio/pcm", 3200, data=bytes(3200)))
    session.closing_messages()
    session.receive(encode_event("echo.response", echo_id="committed"))
    assert session.max_silence_seconds() == SOCKET.quiet
    assert not session.is_complete()


def test_a_failed_transcript_ends_the_session_and_a_failed_delta_does_not() -> None:
    session = build_session()
    assert session.receive(encode_event(ITEM + "failed", event_type="delta")) == MessageFlags.SKIP
    assert (
        session.receive(encode_event(ITEM + "failed", event_type="completed")) == MessageFlags.KEEP | MessageFlags.OVER
    )
    assert (
        session.receive(encode_event(ITEM + "failed", error={"message": "x"})) == MessageFlags.KEEP | MessageFlags.OVER
    )


def test_sending_waits_while_the_server_is_behind() -> None:
    session = build_session(Payload("a", "audio/pcm", 320_000, data=bytes(320_000)))
    for _ in range(9):
        assert session.can_send()
        session.encode_chunk(bytes(32_000))
    session.receive(encode_event("input_audio_buffer.processed", processed_ms=0))
    assert session.can_send(), "it may begin with the commit"
    session.receive(encode_event("input_audio_buffer.processed", processed_ms=1000))
    assert not session.can_send()
    session.receive(encode_event("input_audio_buffer.processed", processed_ms=5000))
    assert session.can_send()


@pytest.mark.parametrize("garbage", ["", "{", "[]", "null", "7", '"x"', "\x00"])
@pytest.mark.parametrize("shape", [*SESSIONS, "speech"])
def test_a_message_that_is_not_a_json_object_is_unreadable(shape: str, garbage: str) -> None:
    session = TtsSession("x", SOCKET) if shape == "speech" else SESSIONS[shape](SECOND, SOCKET, {"model": "m"})
    with pytest.raises(UnreadableMessage):
        session.receive(garbage)


NUMBERS = st.none() | st.floats() | st.integers(-5, 2**70) | st.text(max_size=3) | st.booleans()
MESSAGES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [
                "session.created",
                "echo.response",
                "input_audio_buffer.processed",
                "transcript.partial",
                "transcription.delta",
                "conversation.item.audio_output.delta",
                "conversation.item.audio_output.done",
                "unheard.of",
                *(ITEM + kind for kind in ("delta", "completed", "start_of_turn")),
            ]
        )
        | st.none()
        | st.integers()
    },
    optional={
        "item_id": st.sampled_from(["a", "b"]) | NUMBERS,
        "transcript": st.text(max_size=5) | NUMBERS,
        "text": st.text(max_size=5) | NUMBERS,
        "delta": st.text(max_size=5) | NUMBERS,
        "start": NUMBERS,
        "duration": NUMBERS,
        "processed_ms": NUMBERS,
        "words": NUMBERS | st.lists(NUMBERS, max_size=2),
        "speech_final": st.booleans(),
        "error": NUMBERS | st.fixed_dictionaries({"message": NUMBERS}),
    },
)


def encode_message(message: dict[str, Any]) -> str:
    try:
        return orjson.dumps(message).decode()
    except orjson.JSONEncodeError:  # an integer that JSON's readers here do not hold
        reject()


@given(st.sampled_from([*SESSIONS, "speech"]), st.lists(MESSAGES, max_size=12), st.integers(0, 12))
def test_any_session_ends_only_after_its_closing_messages(shape: str, messages: list[Any], committed: int) -> None:
    session = TtsSession("x", SOCKET) if shape == "speech" else SESSIONS[shape](SECOND, SOCKET, {"model": "m"})
    kept = []
    closed = False
    for n, message in enumerate(messages):
        if n == committed:
            session.closing_messages()
            closed = True
        flags = session.receive(encode_message(message))
        if MessageFlags.KEEP in flags:
            kept.append(encode_message(message))
        if shape != "speech":
            assert closed or MessageFlags.OVER not in flags or reports_failure(message, ())
            assert closed or session.max_silence_seconds() is None
        max_silence = session.max_silence_seconds()
        assert max_silence is None or max_silence > 0
    provider = build_provider("together")
    ask = build_speech_ask() if shape == "speech" else build_recording_ask()
    reply = build_socket_reply(*kept)
    problem = provider.classify(reply, ask.operation)
    assert problem is None or len(problem.message) < 300
    error_text = ""
    try:
        (parsed,) = provider.parse(reply, [ask])
    except BadReply as error:
        error_text = str(error)
    else:
        assert parsed.usage.requests == 1
        if shape != "speech":
            assert isinstance(parsed.data["text"], str)
            for part in [*(parsed.data["segments"] or []), *(parsed.data["words"] or [])]:
                assert all(part[side] is None or part[side] >= 0 for side in ("start", "end"))
    assert "\n" not in error_text


def test_the_transcript_joins_all_utterances_with_their_times() -> None:
    reply = build_socket_reply(
        encode_event(ITEM + "completed", transcript=" One two. ", start=0, duration=0.5),
        encode_event(ITEM + "completed", transcript="Three.", start=0.5, duration=0.4),
        encode_event(ITEM + "completed", transcript=""),
        x_mediamill_engine="echo-1",
    )
    (parsed,) = build_provider("together").parse(reply, [build_recording_ask(language="de")])
    assert parsed.data["text"] == "One two. Three."
    assert [(s["start"], s["end"]) for s in parsed.data["segments"]] == [(0.0, 0.5), (0.5, 0.9)]
    assert (parsed.data["language"], parsed.data["words"], parsed.data["duration_s"]) == ("de", None, 1.0)
    assert (parsed.usage.audio_seconds, parsed.engine) == (Decimal(1), "echo-1")


@pytest.mark.parametrize("times", [{}, {"start": 0.5, "duration": 99}])
def test_utterances_without_times_have_no_segments_and_a_single_one_spans_the_audio(times: dict[str, float]) -> None:
    untimed = encode_event(ITEM + "completed", transcript="Three.", **times)
    (single,) = build_provider("together").parse(build_socket_reply(untimed), [build_recording_ask()])
    assert [(s["start"], s["end"]) for s in single.data["segments"]] == [(0.0, 1.0)]
    timed = encode_event(ITEM + "completed", transcript="One.", start=0, duration=0.5)
    (both,) = build_provider("together").parse(build_socket_reply(timed, untimed), [build_recording_ask()])
    assert (both.data["text"], both.data["segments"]) == ("One. Three.", None)


def test_vllm_and_xai_sessions_are_parsed() -> None:
    done = encode_event("transcription.done", text="Hello there.", usage={"type": "duration"})
    (vllm,) = build_provider("compatible").parse(
        build_socket_reply(done), [build_recording_ask("any", transport="socket")]
    )
    assert (vllm.data["text"], vllm.data["segments"]) == ("Hello there.", None)
    words = [{"text": "Hello", "start": 0.0, "end": 0.4, "speaker": 1}]
    partial = encode_event("transcript.partial", text="Hello", words=words, speech_final=True, start=0.0, duration=0.4)
    model = "grok-voice-transcribe-2.0"
    (xai,) = build_provider("xai").parse(
        build_socket_reply(partial, encode_event("transcript.done", duration=1)),
        [build_recording_ask(model, transport="socket")],
    )
    assert xai.data["text"] == "Hello"
    assert xai.data["words"][0]["speaker"] == "1"
    path, params = parse_query(build_recording_ask(model, transport="socket", language="en", diarize=True), "xai")
    assert (path, params["encoding"], params["diarize"]) == ("/v1/stt", ["pcm"], ["true"])


def test_speech_is_pcm_at_the_sockets_own_rate() -> None:
    pcm = base64.b64encode(bytes(480)).decode()
    delta = encode_event("conversation.item.audio_output.delta", item_id="a", delta=pcm)
    done = encode_event("conversation.item.audio_output.done", item_id="a")
    (parsed,) = build_provider("together").parse(build_socket_reply(delta, delta, done), [build_speech_ask()])
    assert (parsed.data.format, parsed.data.rate, len(parsed.data.audio)) == ("pcm", 24_000, 960)
    assert parsed.usage.characters == 12
    with pytest.raises(BadReply, match="ended before the audio was complete"):
        build_provider("together").parse(build_socket_reply(delta), [build_speech_ask()])
    wire = build_provider("together").to_wire(build_speech_ask())
    assert (wire.repeatable, wire.path) == (False, "/v1/audio/speech/websocket")
    path, params = parse_query(build_speech_ask(voice="leah"))
    assert params == {"model": [ORPHEUS], "voice": ["leah"]}
    assert "Hello" not in path


def test_a_speech_session_is_complete_when_every_item_is_done() -> None:
    session = TtsSession("One. Two.", SOCKET)
    session.closing_messages()
    assert session.max_silence_seconds() is None
    session.receive(encode_event("conversation.item.audio_output.delta", item_id="a", delta="AAAA"))
    session.receive(encode_event("conversation.item.audio_output.delta", item_id="b", delta="AAAA"))
    session.receive(encode_event("conversation.item.audio_output.done", item_id="a"))
    assert session.max_silence_seconds() is None
    session.receive(encode_event("conversation.item.audio_output.done", item_id="b"))
    assert (session.max_silence_seconds(), session.is_complete()) == (SOCKET.settle, True)


def test_an_error_without_a_type_ends_a_session() -> None:
    error = '{"error": {"message": "no voice"}}'
    sessions = (TtsSession("One.", SOCKET), *(build(SECOND, SOCKET, {"model": "m"}) for build in SESSIONS.values()))
    assert [s.receive(error) for s in sessions] == [MessageFlags.KEEP | MessageFlags.OVER] * 4


def test_messages_in_binary_frames_are_read_and_bytes_are_speech_where_speech_is_due() -> None:
    message = encode_event("conversation.item.audio_output.done", item_id="a")
    assert TtsSession("One.", SOCKET).read_binary(message.encode()) == message
    speech = TtsSession("One.", SOCKET)
    text = speech.read_binary(b"\x00\x01\xff")
    assert text is not None
    assert speech.receive(text) == MessageFlags.KEEP
    assert base64.b64decode(orjson.loads(text)["delta"]) == b"\x00\x01\xff"
    assert build_session().read_binary(message.encode()) == message
    assert build_session().read_binary(b"\x00\x01\xff") is None


TRANSCRIBED = encode_event(ITEM + "completed", transcript="One.")
WORKER_LOST = encode_event(ITEM + "failed", error={"message": "worker lost", "code": "processing_failed"})
NO_CREDITS = encode_event(ITEM + "failed", error={"message": "no credits", "code": "insufficient_quota"})


@pytest.mark.parametrize(
    ("reply", "verdict", "kind", "billed"),
    [
        (build_socket_reply(end="closed 4503 no healthy workers"), "retry", "overloaded", False),
        (build_socket_reply(TRANSCRIBED, end="closed 4503"), "unknown", "overloaded", True),
        (build_socket_reply(end="closed 1000"), "unknown", "server_error", True),
        (build_socket_reply(end="closed 1011"), "unknown", "server_error", True),
        (build_socket_reply(end="closed"), "unknown", "server_error", True),
        (build_socket_reply(end="unsent 1011"), "retry", "server_error", False),
        (build_socket_reply(end="unsent 4503"), "retry", "overloaded", False),
        (build_socket_reply(end="unsent 1008 no key"), "fail", "bad_request", False),
        (build_socket_reply(end="closed 1009"), "fail", "too_large", False),
        (build_socket_reply(end="closed 1008 policy"), "fail", "bad_request", False),
        (build_socket_reply(end="closed 1008 rate limit exceeded"), "retry", "rate_limit", False),
        (build_socket_reply(end="closed 1011 429 Too Many Requests"), "retry", "rate_limit", False),
        (build_socket_reply(end="closed 4429 slow down"), "retry", "rate_limit", False),
        (build_socket_reply(TRANSCRIBED, end="closed 4429"), "unknown", "rate_limit", True),
        (build_socket_reply(end="closed 4401 no key"), "stop", "auth", False),
        (build_socket_reply(end="closed 3000 unauthorized"), "stop", "auth", False),
        (build_socket_reply(end="closed 4402"), "stop", "credits", False),
        (build_socket_reply('{"error": {"message": "Rate limit exceeded"}}'), "retry", "rate_limit", False),
        (build_socket_reply('{"type": "response.error", "message": "no"}'), "retry", "server_error", False),
        (build_socket_reply(WORKER_LOST), "retry", "server_error", False),
        (build_socket_reply(TRANSCRIBED, WORKER_LOST), "unknown", "server_error", True),
        (build_socket_reply(NO_CREDITS, end="closed 1011"), "stop", "credits", False),
        (build_socket_reply(TRANSCRIBED, NO_CREDITS), "stop", "credits", False),
        (
            build_socket_reply(encode_event("error", message="bad audio", code="audio_too_long")),
            "fail",
            "too_long",
            False,
        ),
        (build_socket_reply(status=401, end="refused"), "stop", "auth", False),
        (build_socket_reply('{"error": {"message": "no"}}', status=403, end="refused"), "stop", "forbidden", False),
        (build_socket_reply('{"error": {"message": "no"}}', status=404, end="refused"), "stop", "no_model", False),
        (build_socket_reply(status=404, end="refused"), "stop", "no_model", False),
        (build_socket_reply(status=429, end="refused"), "retry", "rate_limit", False),
        (build_socket_reply(status=502, end="refused"), "retry", "server_error", False),
        (build_socket_reply(status=200, end="refused"), "stop", "not_found", False),
        (build_socket_reply(status=302, end="refused"), "stop", "not_found", False),
    ],
)
def test_the_end_of_a_session_is_classified(reply: Reply, verdict: str, kind: str, billed: bool) -> None:
    problem = build_provider("together").classify(reply, "transcription")
    assert problem is not None
    assert (problem.verdict, problem.kind, problem.billed) == (verdict, kind, billed)
    assert problem.message.startswith("together ")


def test_a_model_that_refuses_uploads_gets_a_hint_to_use_the_socket() -> None:
    body = {"error": {"message": f"Model {STREAMING} only supports WebSocket streaming", "code": "invalid_params"}}
    problem = build_provider("together").classify(Reply(400, {}, orjson.dumps(body)), "transcription")
    assert problem is not None
    assert (problem.verdict, problem.kind) == ("stop", "socket_only")
    assert "--set transport=socket" in (problem.hint or "")
    assert "configs/providers/together.yaml" in (problem.hint or "")


def test_every_model_that_needs_a_socket_has_one() -> None:
    for name in ("together", "local", "openai", "groq", "xai", "compatible"):
        for operation in load_config(name).operations.values():
            speech_models = [facts for facts in operation.models.values() if isinstance(facts, SpeechModel)]
            socket_models = [facts for facts in speech_models if facts.transport == "socket"]
            assert not socket_models or (
                isinstance(operation, SpeechToTextConfig | TtsConfig) and operation.socket is not None
            )


@pytest.mark.parametrize("kind", [[], {}, 5, None, ["error"]])
@pytest.mark.parametrize("operation", ["transcription", "tts"])
def test_a_message_of_unknown_type_is_skipped(kind: Any, operation: str) -> None:
    message = orjson.dumps({"type": kind}).decode()
    assert build_provider("together").classify(build_socket_reply(message), operation) is None
    assert build_session().receive(message) == TtsSession("x", SOCKET).receive(message) == MessageFlags.SKIP
