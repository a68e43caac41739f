"""``audio/translations`` of the built-in server, tested from outside."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.helpers import loopback
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.transcription_requests import MODELS, PATHS, tone_wav

VERBOSE: dict[str, Any] = {"response_format": "verbose_json"}


def post_translation(origin: str, dialect: str, **fields: Any) -> httpx.Response:
    form = {"model": MODELS[dialect], **fields}
    return loopback.post(
        f"{origin}{PATHS[dialect]}/audio/translations",
        data=form,
        files={"file": ("tone.wav", tone_wav(3.0))},
        timeout=60,
    )


@pytest.mark.parametrize(
    ("dialect", "fields", "language"),
    [
        ("together", {}, "en"),
        ("together", {"language": "de"}, "de"),
        ("openai", {}, "english"),
        ("groq", {}, "English"),
        ("compatible", {"language": "fr"}, "en"),
        ("compatible", {"language": "fr", "to_language": "de"}, "de"),
        ("local", {"to_language": "it"}, "it"),
    ],
)
def test_the_reply_language_is_the_target_language(
    local_server: RunningServer, dialect: str, fields: dict[str, str], language: str
) -> None:
    reply = post_translation(local_server.origin, dialect, **VERBOSE, **fields)
    assert reply.status_code == 200, reply.text
    assert reply.json()["language"] == language
    assert reply.json()["segments"][0]["text"]
    assert float(reply.json()["duration"]) == 3
    call = local_server.bill()["calls"][0]
    assert (call["path"], call["billed"]) == (f"{PATHS[dialect]}/audio/translations", True)
    assert float(call["seconds"]) == (10 if dialect == "groq" else 3)


def test_translations_have_words_only_where_the_provider_offers_them(local_server: RunningServer) -> None:
    wanted = {**VERBOSE, "timestamp_granularities[]": "word"}
    assert post_translation(local_server.origin, "together", **wanted).json()["words"]
    for dialect in ("openai", "groq", "compatible"):
        assert "words" not in post_translation(local_server.origin, dialect, **wanted).json()


@pytest.mark.parametrize(
    ("dialect", "model", "status"),
    [
        ("groq", "whisper-large-v3-turbo", 400),
        ("together", "nvidia/parakeet-tdt-0.6b-v3", 400),
        ("openai", "gpt-4o-transcribe", 400),
        ("openai", "nothing", 404),
    ],
)
def test_models_that_do_not_translate_are_refused_and_free(
    local_server: RunningServer, dialect: str, model: str, status: int
) -> None:
    assert post_translation(local_server.origin, dialect, model=model).status_code == status
    assert local_server.bill()["billed"] == 0


def test_xai_has_no_translation_endpoint(local_server: RunningServer) -> None:
    assert loopback.post(f"{local_server.origin}/xai/v1/audio/translations").status_code == 404


def test_the_local_engine_refuses_to_translate() -> None:
    with running_server(engine="local", workers=1) as running:
        reply = post_translation(running.origin, "local")
        assert reply.status_code == 400
        assert "translates to nothing" in reply.text
        assert running.bill()["billed"] == 0
