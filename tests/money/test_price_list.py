"""The price list: every row a sane number with its source and date, the most trusted first."""

from __future__ import annotations

import csv
import re
from decimal import Decimal
from pathlib import Path

import pytest

from mediamill.configs import CONFIGS_FOLDER
from mediamill.tasks.errors import UsageError
from mediamill.tasks.money.prices import PriceBook
from mediamill.tasks.providers.registry import load_config, providers_with

HEAD = "provider,model,capability,unit,price_usd,source,as_of\n"
PAID_MODELS = [
    (name, model)
    for name in providers_with("transcription")
    for model in load_config(name).operations["transcription"].models
    if not load_config(name).free and "Voxtral" not in model  # documented without a price
]


@pytest.fixture
def user_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A price file of the user's own."""
    path = tmp_path / "prices.csv"
    monkeypatch.setenv("MEDIAMILL_PRICES", str(path))
    return path


@pytest.mark.parametrize(("name", "model"), PAID_MODELS)
def test_every_configured_model_has_a_price_with_source_and_date(name: str, model: str) -> None:
    prices = [p for p in PriceBook.load().find(name, model, "transcription") if p.unit.startswith("audio_")]
    assert prices
    assert prices[0].usd > 0
    assert prices[0].source
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", prices[0].as_of)


def test_no_row_has_a_source_tagged_as_unreliable() -> None:
    with (CONFIGS_FOLDER / "prices.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert not re.search(r"\[(BOGUS|IGNORE|SUPERSEDED|SUSPECT|UNVERIFIED)", row["source"]), row
            assert Decimal(row["price_usd"]) >= 0


@pytest.mark.parametrize(
    ("name", "model", "an_hour"),
    [
        ("together", "openai/whisper-large-v3", "0.09"),
        ("together", "nvidia/parakeet-tdt-0.6b-v3", "0.09"),
        ("groq", "whisper-large-v3-turbo", "0.04"),
        ("groq", "whisper-large-v3", "0.111"),
        ("openai", "whisper-1", "0.36"),
    ],
)
def test_transcription_prices_match_the_providers_pages(name: str, model: str, an_hour: str) -> None:
    hours = {"audio_hour": 1, "audio_minute": 60}
    prices = PriceBook.load().find(name, model, "transcription")
    assert {p.usd * hours[p.unit] for p in prices if p.unit in hours} == {Decimal(an_hour)}


def test_an_unlisted_model_has_no_price() -> None:
    assert PriceBook.load().find("together", "nobody/nothing", "transcription") == ()
    assert PriceBook.load().find("groq", "openai/whisper-large-v3", "transcription") == ()


def test_prices_of_the_users_file_come_first(user_file: Path) -> None:
    user_file.write_text(HEAD + "groq,whisper-large-v3,transcription,audio_hour,0.05,our contract,2026-01-02\n")
    prices = PriceBook.load().find("groq", "whisper-large-v3", "transcription")
    assert prices[0].usd == Decimal("0.05")
    assert str(prices[0]) == "$0.05/audio_hour, our contract, 2026-01-02"


@pytest.mark.parametrize(
    "line",
    [
        "groq,m,transcription,audio_hour,free,s,2026-01-01",
        "groq,m,transcription,audio_hour,NaN,s,2026-01-01",
        "groq,m,transcription,audio_hour,-1,s,2026-01-01",
        "groq,m,transcription,audio_hour,Infinity,s,2026-01-01",
        "groq,m,transcription,audio_hour",
        "groq,m,transcription,audio_hour,1,,2026-01-01",
        "groq,m,transcription,audio_hour,1,s",
    ],
)
def test_an_invalid_line_is_named_in_the_error(user_file: Path, line: str) -> None:
    user_file.write_text(f"{HEAD}groq,m,transcription,audio_hour,1,s,2026-01-01\n{line}\n")
    with pytest.raises(UsageError, match="line 3 is not a price"):
        PriceBook.load()


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"a,b\n1,2\n"])
def test_an_unreadable_price_file_is_a_usage_error(user_file: Path, content: bytes | None) -> None:
    if content is not None:
        user_file.write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(str(user_file))) as refused:
        PriceBook.load()
    assert refused.value.hint
