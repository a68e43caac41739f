"""The `together` SDK against the built-in server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import together

from tests.helpers.local_server import RunningServer
from tests.local.clients.sdk_clients import make_together_client

pytestmark = pytest.mark.long

MODEL: Any = "openai/whisper-large-v3"


def test_json_reply(local_server: RunningServer, audio: Path) -> None:
    reply = make_together_client(local_server).audio.transcriptions.create(file=audio, model=MODEL, language="en")
    assert len(reply.text.split()) == 7
    call = local_server.bill()["calls"][0]
    assert (call["status"], call["key_seen"], call["model"]) == (200, True, MODEL)


def test_verbose_json_with_words_and_speakers(local_server: RunningServer, audio: Path) -> None:
    reply: Any = make_together_client(local_server).audio.transcriptions.create(
        file=audio,
        model=MODEL,
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        diarize=True,
    )
    assert type(reply).__name__ == "AudioTranscriptionVerboseJsonResponse"
    assert (reply.duration, reply.language) == (3.0, "en")
    assert " ".join(word.word for word in reply.words) == reply.text
    assert reply.segments[0].end == 3.0
    assert reply.speaker_segments[0].speaker_id == reply.words[0].speaker_id == "SPEAKER_00"


def test_errors_raise_the_sdks_exceptions(local_server: RunningServer, audio: Path) -> None:
    create = make_together_client(local_server).audio.transcriptions.create
    unknown: Any = "nobody/nothing"
    with pytest.raises(together.BadRequestError) as refused:
        create(file=audio, model=unknown)
    assert "model_not_available" in str(refused.value)
    with pytest.raises(together.BadRequestError):
        create(file=("x.wav", b"no sound"), model=MODEL)
    with pytest.raises(together.AuthenticationError):
        make_together_client(local_server, key="wrong").audio.transcriptions.create(file=audio, model=MODEL)
    local_server.limits(rpm=1)
    create(file=audio, model=MODEL)
    with pytest.raises(together.RateLimitError) as limited:
        create(file=audio, model=MODEL)
    assert float(limited.value.response.headers["x-ratelimit-reset"]) > 1
    local_server.limits(rpm=None)
    local_server.faults({"fault": {"kind": "status", "status": 503}})
    with pytest.raises(together.InternalServerError):
        create(file=audio, model=MODEL)


def test_models_are_listed(local_server: RunningServer) -> None:
    supported = make_together_client(local_server).models.list_supported()
    assert MODEL in [model.id for model in supported]


def test_real_speech_is_transcribed(recognising_server: RunningServer, speech: Path) -> None:
    reply: Any = make_together_client(recognising_server).audio.transcriptions.create(
        file=speech, model=MODEL, response_format="verbose_json", timestamp_granularities=["word"], language="en"
    )
    assert len(reply.words) > 2
    assert 0 <= reply.words[0].start < reply.words[-1].end <= reply.duration


def test_text_is_continued_with_and_without_a_stream(local_server: RunningServer) -> None:
    create = make_together_client(local_server).completions.create
    fields: Any = {"model": "meta-llama/Llama-3.3-70B-Instruct-Turbo", "prompt": "Models are ", "stop": ["."]}
    reply = create(**fields, echo=True)
    assert reply.prompt[0].text == "Models are "
    chunks = list(create(**fields, stream=True))
    assert "".join(chunk.choices[0].text or "" for chunk in chunks) == reply.choices[0].text
    assert chunks[-1].finish_reason == "stop"


def test_a_file_is_uploaded_once_read_and_deleted(local_server: RunningServer, tmp_path: Path) -> None:
    client = make_together_client(local_server)
    path = tmp_path / "lines.jsonl"
    path.write_text('{"text": "hello"}\n', encoding="utf-8")
    file = client.files.upload(path, purpose="fine-tune", check=True)
    assert client.files.upload(path, purpose="fine-tune", check=False).id == file.id
    assert [one.id for one in client.files.list().data] == [file.id]
    assert client.files.content(file.id).read() == path.read_bytes()
    assert client.files.delete(file.id).deleted
    assert client.files.list().data == []
    assert local_server.bill()["key_leaked"] == 0
