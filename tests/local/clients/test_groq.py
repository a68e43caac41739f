"""The `groq` SDK against the built-in server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import groq
import pytest

from tests.helpers.local_server import RunningServer
from tests.local.clients.sdk_clients import make_groq_client

pytestmark = pytest.mark.long

MODEL = "whisper-large-v3-turbo"


@pytest.mark.parametrize("path", ["", "/groq"])
def test_json_reply(local_server: RunningServer, audio: Path, path: str) -> None:
    reply: Any = make_groq_client(local_server, path).audio.transcriptions.create(file=audio, model=MODEL)
    assert len(reply.text.split()) == 7
    assert reply.x_groq["id"].startswith("req_")
    assert local_server.bill()["calls"][0]["seconds"] == "10"


def test_verbose_json_with_words(local_server: RunningServer, audio: Path) -> None:
    reply: Any = make_groq_client(local_server).audio.transcriptions.create(
        file=audio, model=MODEL, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert (reply.duration, reply.language) == (3.0, "English")
    assert " ".join(word["word"] for word in reply.words) == reply.text
    assert reply.segments[0]["avg_logprob"] < 0


def test_errors_raise_the_sdks_exceptions(local_server: RunningServer, audio: Path) -> None:
    create = make_groq_client(local_server).audio.transcriptions.create
    with pytest.raises(groq.NotFoundError):
        create(file=audio, model="nothing")
    with pytest.raises(groq.BadRequestError):
        create(file=("x.wav", b"no sound"), model=MODEL)
    with pytest.raises(groq.AuthenticationError):
        make_groq_client(local_server, key="wrong").audio.transcriptions.create(file=audio, model=MODEL)
    local_server.limits(rpm=20, rpd=2000)
    create(file=audio, model=MODEL)
    with pytest.raises(groq.RateLimitError) as limited:
        create(file=audio, model=MODEL)
    assert limited.value.response.headers["retry-after"] == "3"
    assert limited.value.response.headers["x-ratelimit-limit-requests"] == "2000"
    local_server.limits(rpm=None, rpd=None)
    local_server.faults({"fault": {"kind": "status", "status": 413}})
    with pytest.raises(groq.APIStatusError) as large:
        create(file=audio, model=MODEL)
    assert large.value.status_code == 413


def test_models_are_listed(local_server: RunningServer) -> None:
    assert MODEL in [model.id for model in make_groq_client(local_server).models.list().data]


def test_real_speech_is_transcribed(recognising_server: RunningServer, speech: Path) -> None:
    reply = make_groq_client(recognising_server).audio.transcriptions.create(file=speech, model=MODEL, language="en")
    assert len(reply.text.split()) > 2


def test_a_file_is_kept_until_it_is_deleted(local_server: RunningServer) -> None:
    files = make_groq_client(local_server).files
    file = files.create(file=("lines.jsonl", b'{"custom_id": "a"}\n'), purpose="batch")
    assert file.id is not None
    assert files.info(file.id).bytes == 19
    assert files.content(file.id).read() == b'{"custom_id": "a"}\n'
    assert files.delete(file.id).deleted
