"""The price list: what stands in it, in which order, and how a user's own prices take its place."""

from __future__ import annotations

import csv
import importlib.util
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

from mediamill.configs import CONFIGS_FOLDER
from mediamill.tasks.errors import UsageError
from mediamill.tasks.money import prices
from mediamill.tasks.money.prices import PriceBook
from mediamill.tasks.providers import registry
from tests.helpers.paths import ROOT

UNPRICED = {("together", "mistralai/Voxtral-Mini-3B-2507")}
"""Models that providers document without a price."""
HEADER = "provider,model,capability,unit,price_usd,source,as_of\n"


@pytest.fixture(autouse=True)
def no_user_price_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MEDIAMILL_PRICES", raising=False)
    prices._load_price_book.cache_clear()
    yield
    prices._load_price_book.cache_clear()


def test_every_transcription_model_of_a_paid_provider_has_a_price_by_time() -> None:
    book = PriceBook.load()
    models = [
        (name, model)
        for name in registry.provider_names()
        if not registry.load_config(name).free
        if "transcription" in registry.load_config(name).operations
        for model in registry.load_config(name).operations["transcription"].models
    ]
    assert len(models) > 5
    for name, model in sorted(set(models) - UNPRICED):
        rows = book.find(name, model, "transcription")
        assert any(row.unit.startswith("audio_") for row in rows), (name, model)
        assert all(row.source and row.as_of for row in rows)
    assert not any(book.find(name, model, "transcription") for name, model in UNPRICED)


def test_no_row_is_tagged_as_wrong() -> None:
    with (CONFIGS_FOLDER / "prices.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 1000
    sources = " ".join(row["source"] for row in rows)
    assert not [tag for tag in ("BOGUS", "IGNORE", "SUPERSEDED", "SUSPECT", "UNVERIFIED") if f"[{tag}" in sources]
    assert max(Counter(tuple(row.values()) for row in rows).values()) == 1


def test_exact_prices_replace_rounded_ones() -> None:
    (row,) = (p for p in PriceBook.load().find("groq", "whisper-large-v3", "transcription") if p.unit == "audio_hour")
    assert row.usd == Decimal("0.111")


def test_a_provider_without_listed_prices_has_none() -> None:
    assert PriceBook.load().find("compatible", "whisper-1", "transcription") == ()


def test_the_users_file_replaces_only_the_models_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.csv"
    own.write_text(HEADER + "openai,whisper-1,transcription,audio_minute,0.003,our contract,2026-11-01\n")
    listed = PriceBook.load().find("openai", "gpt-transcribe", "transcription")
    monkeypatch.setenv("MEDIAMILL_PRICES", str(own))
    book = PriceBook.load()
    (row,) = book.find("openai", "whisper-1", "transcription")
    assert str(row) == "$0.003/audio_minute, our contract, 2026-11-01"
    assert book.find("openai", "gpt-transcribe", "transcription") == listed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEADER + "a,b,c,audio_hour,free,me,today\n", "line 2"),
        (HEADER + "a,b,c,audio_hour,1,me,today\na,b,c,audio_hour,-1,me,today\n", "line 3"),
        (HEADER + "a,b,c,audio_hour,NaN,me,today\n", "line 2"),
        (HEADER + "a,b\n", "line 2"),
        ("provider,model\na,b\n", "line 2"),
        (None, "No such file"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_an_invalid_price_file_is_one_line_that_names_it(
    text: str | bytes | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.csv"
    if text is not None:
        own.write_bytes(text.encode() if isinstance(text, str) else text)
    monkeypatch.setenv("MEDIAMILL_PRICES", str(own))
    with pytest.raises(UsageError, match=says) as caught:
        PriceBook.load()
    assert str(own) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def make_prices() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_prices", ROOT / "data" / "make_prices.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_price_row(source: str, usd: str = "1", as_of: str = "2026-01-01", unit: str = "audio_hour") -> dict[str, str]:
    return {"provider": "p", "model": "m", "capability": "c", "unit": unit, "price_usd": usd, "source": source,
            "as_of": as_of}  # fmt: skip


def test_sources_are_ordered_by_trust_before_date(make_prices: ModuleType) -> None:
    ordered = [
        make_price_row("live /v1/models"),
        make_price_row("docs.together.ai/pricing"),
        make_price_row("litellm-1.109.1 https://docs.x.ai/docs/models"),
        make_price_row("Laisky/one-api togetherai constants (docs.together.ai/docs/serverless-models)"),
        make_price_row("togethercomputer/skills tts-models.md (official)", as_of="2026-08-18"),
        make_price_row("Portkey-AI/models pricing/together-ai.json", as_of="2026-08-21"),
        make_price_row("third-party note", as_of="2026-12-01"),
        make_price_row("third-party note", as_of="2025-10-11"),
    ]
    assert make_prices.choose_rows(ordered[::-1]) == ordered


def test_tagged_rows_and_rounded_duplicates_are_left_out(make_prices: ModuleType) -> None:
    rounded = make_price_row("litellm [per-second x3600; source rounded]", "0.11099")
    exact = make_price_row("console.groq.com/docs", "0.111")
    tagged = [make_price_row(f"x [{tag}: why]") for tag in ("BOGUS", "IGNORE", "SUPERSEDED", "SUSPECT", "UNVERIFIED")]
    assert make_prices.choose_rows([rounded, exact, exact, *tagged]) == [exact]
    assert make_prices.choose_rows([rounded]) == [rounded]
    other = make_price_row("docs", "9")
    assert make_prices.choose_rows([exact, other]) == [exact, other] or make_prices.choose_rows([exact, other]) == [
        other,
        exact,
    ]


def test_ended_models_are_left_out_and_changed_prices_replaced(make_prices: ModuleType) -> None:
    sora = make_price_row("docs") | {"provider": "openai", "model": "sora-2-pro"}
    grok = make_price_row("litellm", "0.05") | {"provider": "xai", "model": "grok-imagine-image-quality"}
    (row,) = make_prices.choose_rows([sora, grok])
    assert (row["model"], row["price_usd"], row["as_of"]) == ("grok-imagine-image-quality", "0.04", "2026-11-26")
