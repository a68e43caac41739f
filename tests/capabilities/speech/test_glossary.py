"""Glossaries: where their terms go, and what their replacements change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mediamill.tasks.capabilities.speech.glossary import replace_words
from mediamill.tasks.capabilities.speech.recognition_params import TranscribeParams
from mediamill.tasks.capabilities.transcribe import Transcribe
from mediamill.tasks.domain import Ask, Input, Payload
from mediamill.tasks.providers import registry
from tests.helpers.cli_runs import make_wavs, read_rows, transcribe
from tests.helpers.local_server import RunningServer


def parse(value: Any) -> tuple[str, ...] | None:
    return TranscribeParams.model_validate({"glossary": value}).glossary


def test_a_glossary_is_a_list_a_text_or_a_file(tmp_path: Path) -> None:
    entries = ("Zürich", "C#", "acne -> ACME")
    (tmp_path / "terms.txt").write_text("# names\nZürich\n\nC#\nacne->ACME\n", encoding="utf-8")
    for value in (list(entries), "Zürich, C#, acne -> ACME", str(tmp_path / "terms.txt")):
        assert parse(value) == entries
    assert parse("Zürich") == ("Zürich",)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("missing/terms.txt", "No such file"),
        ("a -> b -> c", "neither a term nor"),
        ("a ->", "neither a term nor"),
        ("a -> b, a -> c", "replaces 'a' by 'b' and by 'c'"),
        ([1], "is no text"),
        ("x" * 201, "longer than 200"),
    ],
)
def test_what_is_no_glossary_is_refused_in_words(value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        parse(value)


def test_a_row_names_no_file(tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("secret")
    own = TranscribeParams.model_validate({"glossary": str(tmp_path / "terms.txt")}, context={"glossary"})
    assert own.glossary == (str(tmp_path / "terms.txt"),)


def test_whole_words_are_replaced_exactly_in_text_segments_and_words() -> None:
    def word(text: str, start: float) -> dict[str, Any]:
        return {"word": text, "start": start, "end": start + 0.5}

    columns = {
        "text": "acne sells (acne) acnes and Acne, a c m e.",
        "segments": [{"start": 0, "end": 5, "text": "acne sells"}],
        "words": [word("acne,", 0), word("acnes", 1), word("a", 2), word("c", 3), word("m", 4), word("e.", 5)],
    }
    done = replace_words(columns, ("acne -> ACME", "a c m e -> acne", "a -> the", "never -> ever", "term"))
    assert done["text"] == "ACME sells (ACME) acnes and Acne, acne."
    assert done["segments"] == [{"start": 0, "end": 5, "text": "ACME sells"}]
    assert done["words"] == [word("ACME,", 0), word("acnes", 1), {"word": "acne.", "start": 2, "end": 5.5}]
    assert done["replacements"] == [
        {"wrong": "acne", "right": "ACME", "count": 2},
        {"wrong": "a c m e", "right": "acne", "count": 1},
    ]
    assert replace_words({"text": "acne", "words": None}, ("acne -> x",))["words"] is None


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openai", "gpt-transcribe", {"prompt": "a call", "keywords[]": ["Ada", "Bob"]}),
        ("openai", "whisper-1", {"prompt": "a call, Ada, Bob"}),
        ("groq", "whisper-large-v3", {"prompt": "a call, Ada, Bob"}),
        ("xai", "grok-voice-transcribe-2.0", {"keyterm": ["a call", "Ada", "Bob"]}),
        ("together", "nvidia/parakeet-tdt-0.6b-v3", {}),
    ],
)
def test_terms_go_where_the_model_takes_them(provider: str, model: str, expected: dict[str, Any]) -> None:
    keys = dict.fromkeys(("OPENAI_API_KEY", "GROQ_API_KEY", "XAI_API_KEY", "TOGETHER_API_KEY"), "key")
    made = registry.make_provider(provider, base_url=None, api_key_env=None, environ=keys)
    audio = Input("0" * 64, "as-is", payload=Payload("a.wav", "audio/wav", 1, data=b"x"))
    params: dict[str, Any] = {"glossary": ["Ada", "Bob"], **({"prompt": "a call"} if expected else {})}
    sent = made.to_wire(Ask("transcribe", "transcription", model, params=params, inputs=(audio,))).params
    assert {name: sent[name] for name in ("prompt", "keywords[]", "keyterm") if name in sent} == expected
    assert "glossary" not in sent
    described = Transcribe().describe_unused_params(TranscribeParams(glossary=("Ada", "a -> b")), made, model)
    assert described == (
        None if expected else f"together {model} takes no glossary here: its replacements alone are made"
    )


def test_replacements_are_made_from_the_journal_and_named_in_the_row(
    local_server: RunningServer, tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    make_wavs(source, 1)
    assert transcribe(source, out, local_server.origin).returncode == 0
    before = read_rows(out)[0]
    first, sent = before["text"].split()[0], local_server.bill()["requests"]
    again = transcribe(source, out, local_server.origin, "--glossary", f"{first} -> Grüezi", "--replace")
    assert again.returncode == 0, again.stderr
    row = read_rows(out)[0]
    assert row["text"].startswith("Grüezi")
    assert row["words"][0]["word"] == "Grüezi"
    assert [(each["wrong"], each["right"]) for each in row["replacements"]] == [(first, "Grüezi")]
    assert row["request_key"] == before["request_key"]
    assert local_server.bill()["requests"] == sent
