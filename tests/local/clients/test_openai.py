"""The `openai` SDK against the built-in server."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from tests.helpers.local_server import RunningServer
from tests.local.clients.sdk_clients import make_openai_client

pytestmark = pytest.mark.long

MODEL = "whisper-1"


def test_json_reply(local_server: RunningServer, audio: Path) -> None:
    reply = make_openai_client(local_server).audio.transcriptions.create(file=audio, model=MODEL)
    assert len(reply.text.split()) == 7
    assert reply.usage is not None
    assert reply.usage.type == "duration"
    assert reply.usage.seconds == 3


def test_token_usage(local_server: RunningServer, audio: Path) -> None:
    reply = make_openai_client(local_server).audio.transcriptions.create(file=audio, model="gpt-4o-transcribe")
    assert reply.usage is not None
    assert reply.usage.type == "tokens"
    assert reply.usage.input_tokens == 30


def test_verbose_json_with_words(local_server: RunningServer, audio: Path) -> None:
    reply = make_openai_client(local_server).audio.transcriptions.create(
        file=audio, model=MODEL, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert (reply.duration, reply.language) == (3.0, "english")
    assert reply.words is not None
    assert reply.segments is not None
    assert " ".join(word.word for word in reply.words) == reply.text
    assert reply.segments[0].no_speech_prob < 0.5


def test_subtitle_formats(local_server: RunningServer, audio: Path) -> None:
    create = make_openai_client(local_server).audio.transcriptions.create
    assert create(file=audio, model=MODEL, response_format="srt").startswith("1\n00:00:00,000 --> ")
    assert create(file=audio, model=MODEL, response_format="vtt").startswith("WEBVTT")


def test_diarized_json(local_server: RunningServer, audio: Path) -> None:
    reply = make_openai_client(local_server).audio.transcriptions.create(
        file=audio, model="gpt-4o-transcribe-diarize", response_format="diarized_json", chunking_strategy="auto"
    )
    assert reply.segments[0].speaker == "A"


def test_errors_raise_the_sdks_exceptions(local_server: RunningServer, audio: Path) -> None:
    create = make_openai_client(local_server).audio.transcriptions.create
    with pytest.raises(openai.NotFoundError) as unknown:
        create(file=audio, model="nothing")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        create(file=("x.wav", b"no sound"), model=MODEL)
    with pytest.raises(openai.BadRequestError) as wrong:
        create(file=audio, model="gpt-4o-transcribe", response_format="verbose_json")
    assert wrong.value.param == "response_format"
    with pytest.raises(openai.AuthenticationError):
        make_openai_client(local_server, key="wrong").audio.transcriptions.create(file=audio, model=MODEL)
    local_server.limits(rpm=1)
    create(file=audio, model=MODEL)
    with pytest.raises(openai.RateLimitError) as limited:
        create(file=audio, model=MODEL)
    assert limited.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert int(limited.value.response.headers["retry-after"]) > 1
    local_server.limits(rpm=None)
    local_server.faults({"fault": {"kind": "reset"}})
    with pytest.raises(openai.APIConnectionError):
        create(file=audio, model=MODEL)


def test_models_are_listed(local_server: RunningServer) -> None:
    assert MODEL in [model.id for model in make_openai_client(local_server).models.list()]


@pytest.mark.parametrize("path", ["/v1", "/compatible/v1"])
def test_self_hosted_servers_accept_any_model(local_server: RunningServer, audio: Path, path: str) -> None:
    plain = make_openai_client(local_server, path)
    assert plain.audio.transcriptions.create(file=audio, model="mine").text
    verbose = plain.audio.transcriptions.create(file=audio, model="mine", response_format="verbose_json")
    assert float(verbose.duration) == 3.0
    assert [model.id for model in plain.models.list()] == ["echo"]


def test_real_speech_is_transcribed(recognising_server: RunningServer, speech: Path) -> None:
    reply = make_openai_client(recognising_server).audio.transcriptions.create(
        file=speech, model=MODEL, response_format="verbose_json"
    )
    assert len(reply.text.split()) > 2
    assert reply.language == "english"


def test_a_transcript_is_streamed(local_server: RunningServer, audio: Path) -> None:
    events = list(
        make_openai_client(local_server).audio.transcriptions.create(file=audio, model="gpt-transcribe", stream=True)
    )
    done = events[-1]
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == done.text
    assert done.usage is not None
    assert done.usage.input_tokens == 30


def test_a_file_is_kept_until_it_is_deleted(local_server: RunningServer, tmp_path: Path) -> None:
    client = make_openai_client(local_server)
    file = client.files.create(file=("lines.jsonl", b'{"custom_id": "a"}\n'), purpose="batch")
    assert [one.id for one in client.files.list()] == [file.id]
    assert client.files.content(file.id).content == b'{"custom_id": "a"}\n'
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_chat_models_do_not_continue_texts_at_openai_but_at_vllm(local_server: RunningServer) -> None:
    with pytest.raises(openai.NotFoundError, match="chat model"):
        make_openai_client(local_server).completions.create(model="gpt-5.4-mini", prompt="a")
    reply = make_openai_client(local_server, "/compatible/v1").completions.create(model="any", prompt="a", logprobs=1)
    assert reply.choices[0].logprobs is not None
    assert reply.choices[0].text
