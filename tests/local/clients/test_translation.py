"""The `together`, `openai` and `groq` SDKs translate against the built-in server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import groq
import openai
import pytest
import together

from tests.helpers.local_server import RunningServer
from tests.local.clients.sdk_clients import make_groq_client, make_openai_client, make_together_client

pytestmark = pytest.mark.long


def test_the_together_sdk_translates(local_server: RunningServer, audio: Path) -> None:
    create = make_together_client(local_server).audio.translations.create
    model: Any = "openai/whisper-large-v3"
    assert len(create(file=audio, model=model).text.split()) == 7
    reply: Any = create(
        file=audio, model=model, language="de", response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert type(reply).__name__ == "AudioTranslationVerboseJsonResponse"
    assert (reply.language, reply.duration) == ("de", 3.0)
    assert " ".join(word.word for word in reply.words) == reply.text
    assert [float(call["seconds"]) for call in local_server.bill()["calls"]] == [3, 3]
    other: Any = "nvidia/parakeet-tdt-0.6b-v3"
    with pytest.raises(together.BadRequestError):
        create(file=audio, model=other)


def test_the_openai_sdk_translates(local_server: RunningServer, audio: Path) -> None:
    create = make_openai_client(local_server).audio.translations.create
    assert len(create(file=audio, model="whisper-1").text.split()) == 7
    reply = create(file=audio, model="whisper-1", response_format="verbose_json")
    assert (float(reply.duration), reply.language) == (3.0, "english")
    assert reply.segments is not None
    assert reply.segments[0].text == reply.text
    assert create(file=audio, model="whisper-1", response_format="srt").startswith("1\n00:00:00,000 --> ")
    with pytest.raises(openai.BadRequestError):
        create(file=audio, model="gpt-4o-transcribe")


def test_the_groq_sdk_translates(local_server: RunningServer, audio: Path) -> None:
    create = make_groq_client(local_server).audio.translations.create
    reply: Any = create(file=audio, model="whisper-large-v3", response_format="verbose_json")
    assert (reply.duration, reply.language) == (3.0, "English")
    assert local_server.bill()["calls"][0]["seconds"] == "10"
    with pytest.raises(groq.BadRequestError):
        create(file=audio, model="whisper-large-v3-turbo")
