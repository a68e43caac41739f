"""The providers' wire formats, tested from outside."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.helpers import loopback
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.transcription_requests import MODELS, PATHS, post_transcription, read_error, tone_wav

ALL = list(PATHS)
VERBOSE: dict[str, Any] = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}


@pytest.mark.parametrize("dialect", ALL)
def test_verbose_replies_have_text_times_and_duration(local_server: RunningServer, dialect: str) -> None:
    reply = post_transcription(local_server.origin, dialect, audio=tone_wav(8.0), **VERBOSE)
    assert reply.status_code == 200, reply.text
    transcript = reply.json()
    assert float(transcript["duration"]) == 8.0
    assert " ".join(w["word"] for w in transcript["words"]) == transcript["text"]
    assert " ".join(s["text"] for s in transcript["segments"]) == transcript["text"]
    times = [t for w in transcript["words"] for t in (w["start"], w["end"])]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (0, 8)
    assert reply.headers["x-mediamill-simulated"] == "true"
    assert reply.headers["x-mediamill-engine"].startswith("echo-")


def test_languages_are_named_as_each_provider_names_them(local_server: RunningServer) -> None:
    languages = {
        d: post_transcription(local_server.origin, d, language="de", **VERBOSE).json()["language"] for d in ALL
    }
    assert languages == {"local": "de", "together": "de", "openai": "german", "groq": "German", "compatible": "de"}


def test_usage_is_reported_as_each_provider_reports_it(local_server: RunningServer) -> None:
    usages = {d: post_transcription(local_server.origin, d, audio=tone_wav(2.6)).json().get("usage") for d in ALL}
    assert usages == {
        "local": {"type": "duration", "seconds": 2.6},
        "together": None,
        "openai": {"type": "duration", "seconds": 3},
        "groq": None,
        "compatible": {"type": "duration", "seconds": 3},
    }
    tokens = post_transcription(local_server.origin, "openai", audio=tone_wav(2.6), model="gpt-4o-transcribe").json()[
        "usage"
    ]
    assert tokens["type"] == "tokens"
    assert tokens["total_tokens"] == tokens["input_tokens"] + tokens["output_tokens"]


def test_quirks_of_single_providers(local_server: RunningServer) -> None:
    assert post_transcription(local_server.origin, "groq").json()["x_groq"]["id"].startswith("req_")
    vllm = post_transcription(local_server.origin, "compatible", **VERBOSE).json()
    assert isinstance(vllm["duration"], str)
    assert "usage" not in vllm
    only_words: dict[str, Any] = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    assert "segments" not in post_transcription(local_server.origin, "openai", **only_words).json()
    assert "segments" in post_transcription(local_server.origin, "together", **only_words).json()
    assert "words" not in post_transcription(local_server.origin, "together", response_format="verbose_json").json()


def test_speakers_are_in_each_providers_form(local_server: RunningServer) -> None:
    fields = {**VERBOSE, "diarize": "true"}
    together = post_transcription(local_server.origin, "together", audio=tone_wav(12.0), **fields).json()
    assert {s["speaker_id"] for s in together["speaker_segments"]} == {"SPEAKER_00", "SPEAKER_01"}
    assert all(w["speaker_id"] for w in together["words"])
    assert len(together["words"]) == 30
    model, reply_format = "gpt-4o-transcribe-diarize", "diarized_json"
    openai = post_transcription(
        local_server.origin, "openai", audio=tone_wav(12.0), model=model, response_format=reply_format
    ).json()
    assert {s["speaker"] for s in openai["segments"]} == {"A", "B"}
    assert all(isinstance(s["id"], str) for s in openai["segments"])


def test_text_and_subtitle_formats(local_server: RunningServer) -> None:
    text = post_transcription(local_server.origin, "openai", response_format="json").json()["text"]
    for form, start in (
        ("text", text),
        ("srt", "1\n00:00:00,000 --> 00:00:00,500\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000"),
    ):
        reply = post_transcription(local_server.origin, "openai", response_format=form)
        assert reply.headers["content-type"].startswith("text/plain")
        assert reply.text.startswith(start)
        assert text in reply.text
    assert post_transcription(local_server.origin, "together", response_format="srt").status_code == 400


CASES: list[tuple[dict[str, Any], dict[str, tuple[int, str | None]]]] = [
    (
        {"model": None},
        {"together": (400, "invalid_params"), "openai": (400, None), "groq": (400, None), "compatible": (422, None)},
    ),
    (
        {"model": "nobody/nothing"},
        {
            "together": (400, "model_not_available"),
            "openai": (404, "model_not_found"),
            "groq": (404, "model_not_found"),
        },
    ),
    (
        {"audio": b"this is text"},
        {"together": (400, "unsupported_format"), "openai": (400, None), "groq": (400, None)},
    ),
    ({"filename": "notes.txt"}, {"together": (400, "unsupported_format"), "openai": (400, None)}),
    ({"response_format": "xml"}, {"together": (400, "invalid_params"), "openai": (400, None), "groq": (400, None)}),
    ({"language": "Klingon"}, {"together": (400, "invalid_params"), "openai": (400, None), "groq": (400, None)}),
    ({"language": "auto"}, {"together": (200, None), "local": (200, None), "openai": (400, None)}),
    ({"temperature": "7"}, {"together": (400, "invalid_params"), "openai": (400, None)}),
    ({"audio": tone_wav(0.005)}, {"together": (400, "invalid_params"), "groq": (400, "audio_too_short")}),
    ({"audio": tone_wav(0)}, {"together": (400, "unsupported_format"), "groq": (400, None)}),
]


@pytest.mark.parametrize(("fields", "answers"), CASES, ids=",".join)
def test_errors_have_each_providers_format(
    local_server: RunningServer, fields: dict[str, Any], answers: dict[str, tuple[int, str | None]]
) -> None:
    for dialect, (status, code) in answers.items():
        reply = post_transcription(local_server.origin, dialect, **fields)
        assert reply.status_code == status, (dialect, reply.text)
        if status == 422:
            assert reply.json()["detail"][0]["msg"]
        elif status != 200:
            assert read_error(reply).get("code") == code
            assert read_error(reply)["message"]


def test_a_missing_file_or_text_instead_of_one_is_refused(local_server: RunningServer) -> None:
    for dialect, status in (("together", 400), ("openai", 400), ("compatible", 422)):
        url = f"{local_server.origin}{PATHS[dialect]}/audio/transcriptions"
        parts: dict[str, Any] = {"model": (None, MODELS[dialect])}
        assert loopback.post(url, files=parts).status_code == status
    parts["file"] = (None, "https://example.com/a.wav")
    assert loopback.post(url, files=parts).status_code == 422


@pytest.mark.long
def test_uploads_and_recordings_above_the_limits_are_refused() -> None:
    with running_server(max_bytes=20_000, max_seconds=3) as running:
        for dialect, code in (("together", "request_too_large"), ("openai", "request_too_large")):
            large = post_transcription(running.origin, dialect, audio=tone_wav(1.0))
            assert large.status_code == 413
            assert read_error(large)["code"] == code
        huge = post_transcription(running.origin, "together", audio=bytes(2_000_000))
        assert huge.status_code == 413
    with running_server(max_seconds=3) as running:
        long = post_transcription(running.origin, "together", audio=tone_wav(4.0))
        assert (long.status_code, read_error(long)["code"]) == (400, "audio_too_long")


def test_models_are_listed_in_each_providers_form(local_server: RunningServer) -> None:
    def listed(dialect: str) -> Any:
        return loopback.get(f"{local_server.origin}{PATHS[dialect]}/models").json()

    assert {m["type"] for m in listed("together")} == {"transcribe", "chat", "image", "video"}
    for dialect in ("openai", "groq", "local", "compatible"):
        assert listed(dialect)["object"] == "list"
        assert all(m["id"] for m in listed(dialect)["data"])


def test_keys_are_required_when_the_settings_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_TEST_KEY", "right")
    with running_server(key_env="SERVER_TEST_KEY") as running:
        for authorization, status in ((None, 401), ("Basic right", 401), ("Bearer wrong", 401), ("Bearer right", 200)):
            reply = post_transcription(
                running.origin, "together", headers={"Authorization": authorization} if authorization else {}
            )
            assert reply.status_code == status
    with running_server(require_key=True) as running:
        assert read_error(post_transcription(running.origin, "openai"))["code"] == "invalid_api_key"
        assert post_transcription(running.origin, headers={"Authorization": "Bearer x"}).status_code == 200


def test_unknown_paths_and_methods_are_refused(local_server: RunningServer) -> None:
    with httpx.Client(base_url=local_server.origin, trust_env=False, verify=False) as client:
        assert client.get("/v1/audio/transcriptions").status_code == 405
        assert client.post("/together/v1/nothing").status_code == 404
        assert "id" in client.post("/together/v1/nothing").json()
        assert client.get("/health").json() == {"status": "ok", "engine": "echo-1", "simulated": True}


def test_audio_by_url_is_fetched_only_from_allowed_hosts(local_server: RunningServer) -> None:
    url = f"{local_server.origin}/health"
    host = local_server.origin.removeprefix("http://")
    parts: dict[str, Any] = {"model": (None, MODELS["together"]), "file": (None, url)}
    refused = loopback.post(f"{local_server.origin}/together/v1/audio/transcriptions", files=parts)
    assert "--url-host" in read_error(refused)["message"]
    with running_server(url_host=host) as running:
        fetched = loopback.post(f"{running.origin}/together/v1/audio/transcriptions", files=parts)
        assert read_error(fetched)["code"] == "unsupported_format"  # it was fetched, and is not audio
