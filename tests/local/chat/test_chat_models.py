"""Image tokens are counted as each provider documents; the expected numbers are from its docs."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from mediamill.configs import CONFIGS_FOLDER
from mediamill.tasks.local.chat.chat_models import (
    ServedChatModel,
    count_image_tokens,
    count_prompt_tokens,
    read_chat_models,
)
from mediamill.tasks.local.chat.visual_inputs import VisualInput
from mediamill.tasks.local.server.api_error import ApiError

KNOWN = yaml.safe_load((CONFIGS_FOLDER / "server.yaml").read_text())["chat"]


def model(dialect: str, name: str) -> ServedChatModel:
    return read_chat_models(KNOWN[dialect], [])[name]


def make_image(width: int, height: int, **more: Any) -> VisualInput:
    return VisualInput("image", "00", 1, "PNG", width, height, **more)


@pytest.mark.parametrize(
    ("dialect", "name", "size", "detail", "tokens"),
    [
        ("together", "*", (559, 559), "auto", 1601),
        ("together", "*", (1119, 1119), "auto", 1601),
        ("together", "*", (1280, 720), "auto", 3202),
        ("together", "*", (3840, 2160), "auto", 6404),
        ("openai", "gpt-5.4", (1024, 1024), "high", 1229),
        ("openai", "gpt-5.4", (2048, 2048), "auto", 3000),
        ("openai", "gpt-5.4", (4096, 8192), "high", 2458),
        ("openai", "gpt-5.4", (1280, 720), "high", 1104),
        ("openai", "gpt-5.4", (4000, 4000), "low", 4916),
        ("openai", "gpt-5.6", (4000, 4000), "low", 308),
        ("openai", "gpt-4.1", (1024, 1024), "high", 765),
        ("openai", "gpt-4.1", (2048, 4096), "high", 1105),
        ("openai", "gpt-4o", (1280, 720), "auto", 1105),
        ("openai", "gpt-4o", (512, 512), "auto", 255),
        ("openai", "gpt-4o", (4000, 4000), "low", 85),
        ("groq", "qwen/qwen3.8-27b", (1800, 2400), "auto", 1452),
    ],
)
def test_image_tokens_are_those_of_the_provider_docs(
    dialect: str, name: str, size: tuple[int, int], detail: str, tokens: int
) -> None:
    assert count_image_tokens(make_image(*size, detail=detail), model(dialect, name).image_token_rule) == tokens


def test_more_patches_than_the_maximum_are_refused() -> None:
    with pytest.raises(ApiError, match="patches"):
        count_image_tokens(make_image(6000, 6000, detail="original"), model("openai", "gpt-5.6").image_token_rule)


def test_prompt_tokens_are_those_of_text_messages_and_images() -> None:
    rule = model("together", "*").image_token_rule
    assert count_prompt_tokens("12345", 2, [make_image(10, 10)], rule) == 2 + 8 + 1601
