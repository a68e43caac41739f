"""Conversations and their replies: what is said, when it is over, and what an end means."""

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
from mediamill.tasks.providers.operations.realtime import SocketConfig, SpeechModel
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
FACTS = SocketConfig(path="/realtime", quiet=10, settle=1, ahead=5)


def build_recording_ask(model: str = STREAMING, sound: Payload = SECOND, **params: Any) -> Ask:
    ceiling = Usage(audio_seconds=Decimal(1), requests=1)
    return build_ask("transcription", model, payload=sound, ceiling=ceiling, **params)


def build_speech_ask(**params: Any) -> Ask:
    return build_ask("tts", ORPHEUS, **{"format": "pcm", "transport": "socket", **params})


def query(asked: Ask, name: str = "together") -> tuple[str, dict[str, list[str]]]:
    parts = urlsplit(build_request(name, asked).path)
    return parts.path, parse_qs(parts.query)


def event(kind: str, **more: Any) -> str:
    return orjson.dumps({"type": kind, **more}).decode()


def ended(*frames: str, end: str = "over", status: int = 101, **headers: str) -> Reply:
    told = {SOCKET_HEADER: end, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return Reply(status, told, "".join(frame + "\n" for frame in frames).encode())


def talk(sound: Payload = SECOND, facts: SocketConfig = FACTS, **params: Any) -> TogetherSession:
    return TogetherSession(sound, facts, params)


def test_models_that_need_a_socket_get_one_and_others_when_asked() -> None:
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


def test_the_session_is_set_up_in_the_url_and_the_key_is_not() -> None:
    path, told = query(build_recording_ask(language="de"))
    assert path == "/v1/realtime"
    assert told == {
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
def test_what_a_socket_does_not_take_is_refused_before_it_costs(name: str, value: Any) -> None:
    with pytest.raises(BadInput, match="on a socket"):
        build_provider("together").to_wire(build_recording_ask(**{name: value}))


def test_a_prompt_is_said_where_the_model_listens_to_it() -> None:
    provider = build_provider("together")
    asked = build_recording_ask(WHISPER, transport="socket", prompt="Ada")
    request = provider.build_request(provider.to_wire(asked), [asked])
    assert "Ada" not in request.path
    assert request.session is not None
    assert [orjson.loads(m)["session"] for m in request.session.opening_messages()] == [{"prompt": "Ada"}]


def test_sound_goes_in_base64_and_ends_with_a_commit() -> None:
    said = talk()
    appended = orjson.loads(said.encode_chunk(b"\1\2"))
    assert (appended["type"], base64.b64decode(appended["audio"])) == ("input_audio_buffer.append", b"\1\2")
    assert [orjson.loads(m)["type"] for m in said.closing_messages()] == ["input_audio_buffer.commit", "echo"]


def test_nothing_is_over_before_the_commit() -> None:
    said = talk()
    assert said.receive(event("session.created")) == MessageFlags.READY
    assert said.receive(event(ITEM + "completed", transcript="a", start=0, duration=1.0)) == MessageFlags.KEEP
    assert said.receive(event("echo.response")) == MessageFlags.SKIP
    assert said.max_silence_seconds() is None
    assert not said.is_complete()


def test_a_transcript_that_reaches_the_end_is_the_end() -> None:
    said = talk()
    said.closing_messages()
    assert said.receive(event(ITEM + "delta", item_id="i", delta="one")) == MessageFlags.SKIP
    assert said.receive(event(ITEM + "delta", item_id="i", delta="one two")) == MessageFlags.SKIP
    assert said.max_silence_seconds() is None, "with a delta under way silence proves nothing"
    last = event(ITEM + "completed", item_id="i", transcript="one two", start=0, duration=0.9)
    assert said.receive(last) == MessageFlags.KEEP | MessageFlags.OVER


def test_a_transcript_without_times_is_the_end_after_a_while_or_with_the_servers_progress() -> None:
    for last in (None, event("input_audio_buffer.processed", processed_ms=1000)):
        said = talk()
        said.closing_messages()
        assert said.receive(event(ITEM + "completed", transcript="one")) == MessageFlags.KEEP
        assert said.max_silence_seconds() == FACTS.settle
        if last:
            assert said.receive(last) == MessageFlags.OVER


def test_silence_is_believed_of_a_server_that_is_there() -> None:
    said = talk()
    said.closing_messages()
    assert said.max_silence_seconds() is None
    said.receive(event("echo.response", echo_id="committed"))
    assert said.max_silence_seconds() == FACTS.quiet
    said.receive(event("input_audio_buffer.processed", processed_ms=990))
    assert said.max_silence_seconds() == FACTS.settle


def test_a_short_sound_is_not_over_before_anything_was_said_of_it() -> None:
    said = talk(Payload("a", "audio/pcm", 3200, data=bytes(3200)))
    said.closing_messages()
    said.receive(event("echo.response", echo_id="committed"))
    assert said.max_silence_seconds() == FACTS.quiet
    assert not said.is_complete()


def test_a_turn_that_failed_ends_it_and_a_delta_that_failed_does_not() -> None:
    said = talk()
    assert said.receive(event(ITEM + "failed", event_type="delta")) == MessageFlags.SKIP
    assert said.receive(event(ITEM + "failed", event_type="completed")) == MessageFlags.KEEP | MessageFlags.OVER
    assert said.receive(event(ITEM + "failed", error={"message": "x"})) == MessageFlags.KEEP | MessageFlags.OVER


def test_sound_waits_for_a_server_that_is_behind() -> None:
    said = talk(Payload("a", "audio/pcm", 320_000, data=bytes(320_000)))
    for _ in range(9):
        assert said.can_send()
        said.encode_chunk(bytes(32_000))
    said.receive(event("input_audio_buffer.processed", processed_ms=0))
    assert said.can_send(), "it may begin with the commit"
    said.receive(event("input_audio_buffer.processed", processed_ms=1000))
    assert not said.can_send()
    said.receive(event("input_audio_buffer.processed", processed_ms=5000))
    assert said.can_send()


@pytest.mark.parametrize("garbage", ["", "{", "[]", "null", "7", '"x"', "\x00"])
@pytest.mark.parametrize("shape", [*SESSIONS, "speech"])
def test_garbage_is_told_from_messages(shape: str, garbage: str) -> None:
    said = TtsSession("x", FACTS) if shape == "speech" else SESSIONS[shape](SECOND, FACTS, {"model": "m"})
    with pytest.raises(UnreadableMessage):
        said.receive(garbage)


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


def dumped(message: dict[str, Any]) -> str:
    try:
        return orjson.dumps(message).decode()
    except orjson.JSONEncodeError:  # an integer that JSON's readers here do not hold
        reject()


@given(st.sampled_from([*SESSIONS, "speech"]), st.lists(MESSAGES, max_size=12), st.integers(0, 12))
def test_any_conversation_ends_only_after_its_last_word(shape: str, messages: list[Any], committed: int) -> None:
    said = TtsSession("x", FACTS) if shape == "speech" else SESSIONS[shape](SECOND, FACTS, {"model": "m"})
    kept = []
    closed = False
    for n, message in enumerate(messages):
        if n == committed:
            said.closing_messages()
            closed = True
        turn = said.receive(dumped(message))
        if MessageFlags.KEEP in turn:
            kept.append(dumped(message))
        if shape != "speech":
            assert closed or MessageFlags.OVER not in turn
            assert closed or said.max_silence_seconds() is None
        patience = said.max_silence_seconds()
        assert patience is None or patience > 0
    provider = build_provider("together")
    asked = build_speech_ask() if shape == "speech" else build_recording_ask()
    reply = ended(*kept)
    problem = provider.classify(reply, asked.operation)
    assert problem is None or len(problem.message) < 300
    refusal = ""
    try:
        (parsed,) = provider.parse(reply, [asked])
    except BadReply as error:
        refusal = str(error)
    else:
        assert parsed.usage.requests == 1
        if shape != "speech":
            assert isinstance(parsed.data["text"], str)
            for part in [*(parsed.data["segments"] or []), *(parsed.data["words"] or [])]:
                assert all(part[side] is None or part[side] >= 0 for side in ("start", "end"))
    assert "\n" not in refusal


def test_the_transcript_is_all_utterances_with_times_that_can_be() -> None:
    reply = ended(
        event(ITEM + "completed", transcript=" One two. ", start=0, duration=0.5),
        event(ITEM + "completed", transcript="Three.", start=0.5, duration=0.4),
        event(ITEM + "completed", transcript=""),
        x_mediamill_engine="echo-1",
    )
    (parsed,) = build_provider("together").parse(reply, [build_recording_ask(language="de")])
    assert parsed.data["text"] == "One two. Three."
    assert [(s["start"], s["end"]) for s in parsed.data["segments"]] == [(0.0, 0.5), (0.5, 0.9)]
    assert (parsed.data["language"], parsed.data["words"], parsed.data["duration_s"]) == ("de", None, 1.0)
    assert (parsed.usage.audio_seconds, parsed.engine) == (Decimal(1), "echo-1")


@pytest.mark.parametrize("times", [{}, {"start": 0.5, "duration": 99}])
def test_utterances_without_a_place_are_text_only_and_a_single_one_is_the_whole(times: dict[str, float]) -> None:
    lost = event(ITEM + "completed", transcript="Three.", **times)
    (one,) = build_provider("together").parse(ended(lost), [build_recording_ask()])
    assert [(s["start"], s["end"]) for s in one.data["segments"]] == [(0.0, 1.0)]
    placed = event(ITEM + "completed", transcript="One.", start=0, duration=0.5)
    (two,) = build_provider("together").parse(ended(placed, lost), [build_recording_ask()])
    assert (two.data["text"], two.data["segments"]) == ("One. Three.", None)


def test_the_other_wires_are_parsed_too() -> None:
    done = event("transcription.done", text="Hello there.", usage={"type": "duration"})
    (vllm,) = build_provider("compatible").parse(ended(done), [build_recording_ask("any", transport="socket")])
    assert (vllm.data["text"], vllm.data["segments"]) == ("Hello there.", None)
    words = [{"text": "Hello", "start": 0.0, "end": 0.4, "speaker": 1}]
    partial = event("transcript.partial", text="Hello", words=words, speech_final=True, start=0.0, duration=0.4)
    model = "grok-voice-transcribe-2.0"
    (xai,) = build_provider("xai").parse(
        ended(partial, event("transcript.done", duration=1)), [build_recording_ask(model, transport="socket")]
    )
    assert xai.data["text"] == "Hello"
    assert xai.data["words"][0]["speaker"] == "1"
    path, told = query(build_recording_ask(model, transport="socket", language="en", diarize=True), "xai")
    assert (path, told["encoding"], told["diarize"]) == ("/v1/stt", ["pcm"], ["true"])


def test_speech_is_pcm_at_the_sockets_own_rate() -> None:
    pcm = base64.b64encode(bytes(480)).decode()
    delta = event("conversation.item.audio_output.delta", item_id="a", delta=pcm)
    done = event("conversation.item.audio_output.done", item_id="a")
    (parsed,) = build_provider("together").parse(ended(delta, delta, done), [build_speech_ask()])
    assert (parsed.data.format, parsed.data.rate, len(parsed.data.audio)) == ("pcm", 24_000, 960)
    assert parsed.usage.characters == 12
    with pytest.raises(BadReply, match="ended before the audio was complete"):
        build_provider("together").parse(ended(delta), [build_speech_ask()])
    wire = build_provider("together").to_wire(build_speech_ask())
    assert (wire.repeatable, wire.path) == (False, "/v1/audio/speech/websocket")
    path, told = query(build_speech_ask(voice="leah"))
    assert told == {"model": [ORPHEUS], "voice": ["leah"]}
    assert "Hello" not in path


def test_speech_is_over_when_no_item_is_open_for_a_while() -> None:
    said = TtsSession("One. Two.", FACTS)
    said.closing_messages()
    assert said.max_silence_seconds() is None
    said.receive(event("conversation.item.audio_output.delta", item_id="a", delta="AAAA"))
    said.receive(event("conversation.item.audio_output.delta", item_id="b", delta="AAAA"))
    said.receive(event("conversation.item.audio_output.done", item_id="a"))
    assert said.max_silence_seconds() is None
    said.receive(event("conversation.item.audio_output.done", item_id="b"))
    assert (said.max_silence_seconds(), said.is_complete()) == (FACTS.settle, True)


HEARD = event(ITEM + "completed", transcript="One.")
LOST = event(ITEM + "failed", error={"message": "worker lost", "code": "processing_failed"})
BROKE = event(ITEM + "failed", error={"message": "no credits", "code": "insufficient_quota"})


@pytest.mark.parametrize(
    ("reply", "verdict", "kind", "billed"),
    [
        (ended(end="closed 4503 no healthy workers"), "retry", "overloaded", False),
        (ended(HEARD, end="closed 4503"), "unknown", "overloaded", True),
        (ended(end="closed 1000"), "unknown", "server_error", True),
        (ended(end="closed 1011"), "unknown", "server_error", True),
        (ended(end="closed"), "unknown", "server_error", True),
        (ended(end="unsent 1011"), "retry", "server_error", False),
        (ended(end="unsent 4503"), "retry", "overloaded", False),
        (ended(end="unsent 1008 no key"), "fail", "bad_request", False),
        (ended(end="closed 1009"), "fail", "too_large", False),
        (ended(end="closed 1008 policy"), "fail", "bad_request", False),
        (ended(LOST), "retry", "server_error", False),
        (ended(HEARD, LOST), "unknown", "server_error", True),
        (ended(BROKE, end="closed 1011"), "stop", "credits", False),
        (ended(HEARD, BROKE), "stop", "credits", False),
        (ended(event("error", message="bad audio", code="audio_too_long")), "fail", "too_long", False),
        (ended(status=401, end="refused"), "stop", "auth", False),
        (ended('{"error": {"message": "no"}}', status=403, end="refused"), "stop", "forbidden", False),
        (ended('{"error": {"message": "no"}}', status=404, end="refused"), "stop", "no_model", False),
        (ended(status=404, end="refused"), "stop", "no_model", False),
        (ended(status=429, end="refused"), "retry", "rate_limit", False),
        (ended(status=502, end="refused"), "retry", "server_error", False),
        (ended(status=200, end="refused"), "stop", "not_found", False),
        (ended(status=302, end="refused"), "stop", "not_found", False),
    ],
)
def test_what_an_end_means(reply: Reply, verdict: str, kind: str, billed: bool) -> None:
    problem = build_provider("together").classify(reply, "transcription")
    assert problem is not None
    assert (problem.verdict, problem.kind, problem.billed) == (verdict, kind, billed)
    assert problem.message.startswith("together ")


def test_a_model_that_takes_no_uploads_names_the_setting_that_helps() -> None:
    body = {"error": {"message": f"Model {STREAMING} only supports WebSocket streaming", "code": "invalid_params"}}
    problem = build_provider("together").classify(Reply(400, {}, orjson.dumps(body)), "transcription")
    assert problem is not None
    assert (problem.verdict, problem.kind) == ("stop", "socket_only")
    assert "--set transport=socket" in (problem.hint or "")
    assert "configs/providers/together.yaml" in (problem.hint or "")


def test_every_model_that_needs_a_socket_has_one() -> None:
    for name in ("together", "local", "openai", "groq", "xai", "compatible"):
        for operation in load_config(name).operations.values():
            able = [facts for facts in operation.models.values() if isinstance(facts, SpeechModel)]
            needing = [facts for facts in able if facts.transport == "socket"]
            assert not needing or (
                isinstance(operation, SpeechToTextConfig | TtsConfig) and operation.socket is not None
            )


@pytest.mark.parametrize("kind", [[], {}, 5, None, ["error"]])
@pytest.mark.parametrize("operation", ["transcription", "tts"])
def test_a_message_of_no_known_type_means_nothing(kind: Any, operation: str) -> None:
    odd = orjson.dumps({"type": kind}).decode()
    assert build_provider("together").classify(ended(odd), operation) is None
    assert talk().receive(odd) == TtsSession("x", FACTS).receive(odd) == MessageFlags.SKIP
