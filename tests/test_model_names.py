"""What is known of a model holds for its dated names: limits, abilities, prices."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mediamill.tasks.domain import Usage
from mediamill.tasks.model_names import find_undated_name
from mediamill.tasks.providers.operations.vision_chat import VISION_CHAT
from tests.money.builders import load_pricing
from tests.providers.builders import build_provider

DATED = "gpt-4o-mini-transcribe-2025-12-15"


@pytest.mark.parametrize(
    ("model", "undated"),
    [
        (DATED, "gpt-4o-mini-transcribe"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("gemini-2.5-flash-preview-09-2025", "gemini-2.5-flash-preview"),
        ("moonshotai/Kimi-K2-Instruct-0905", None),
        ("mistralai/Voxtral-Mini-3B-2507", None),
        ("whisper-1", None),
        ("model-2025-13-01", None),
        ("-2025-01-01", None),
    ],
)
def test_a_whole_date_at_the_end_is_a_version(model: str, undated: str | None) -> None:
    assert find_undated_name(model) == undated


def test_limits_and_abilities_hold_for_dated_names() -> None:
    openai = build_provider("openai")
    assert openai.audio_limits("transcription", DATED).max_seconds == 1400
    assert openai.audio_limits("transcription", "gpt-transcribe-2027-01-01").max_seconds is None
    for operation in (VISION_CHAT, "tts"):
        config = openai.operation(operation).config
        name = next(iter(config.models))
        assert openai.operation(operation).model_facts(f"{name}-2026-05-04") == config.models[name]
    assert openai.describe_unlisted_model("transcription", DATED) is None
    assert openai.describe_unlisted_model("transcription", "gpt-5o-transcribe-2025-12-15") is not None


def test_a_dated_name_without_prices_costs_what_the_model_does() -> None:
    pricing = load_pricing("openai")
    usage = Usage(input_tokens=1_000_000, output_tokens=0, requests=1)
    costs = {
        name: pricing.cost(name, VISION_CHAT, usage, None).usd
        for name in ("gpt-4o", "gpt-4o-2031-01-01", "gpt-4o-2024-05-13", "gpt-9-2031-01-01")
    }
    assert list(costs.values()) == [Decimal("2.5"), Decimal("2.5"), Decimal(5), None]
    assert "(of gpt-4o)" in (pricing.source("gpt-4o-2031-01-01", VISION_CHAT) or "")
