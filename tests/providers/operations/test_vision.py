"""Tokens of an image: the providers' examples, and bounds for any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.providers.operations.vision import Patches, Vision
from mediamill.tasks.providers.operations.vision_chat import VisionModel
from mediamill.tasks.providers.registry import load_config
from tests.helpers.hypothesis_profile import make_repeatable

TILES_560 = Vision(tokens="tiles560", auto_side=1120, economy_side=559)
PATCHES = Vision(tokens="patches", high=Patches(side=2048, budget=2500), multiplier=1.2)
TILES_512 = Vision(tokens="tiles512", base=85, per_tile=170, detail=True)


@pytest.mark.parametrize(
    ("sides", "low", "high"),
    [
        ((559, 559), 1601, 1601),
        ((560, 560), 1601, 1601),
        ((561, 561), 1601, 6404),
        ((600, 600), 1601, 6404),
        ((1024, 1024), 1601, 6404),
        ((1119, 1119), 1601, 6404),
        ((1280, 720), 3202, 6404),
        ((1366, 768), 3202, 6404),
        ((1920, 1080), 3202, 6404),
        ((1280, 560), 3202, 3202),
        ((2000, 300), 3202, 3202),
        ((1120, 1120), 6404, 6404),
        ((3840, 2160), 6404, 6404),
    ],
)
def test_together_estimates_lie_between_its_code_and_its_table(sides: tuple[int, int], low: int, high: int) -> None:
    assert TILES_560.estimate_tokens(*sides) == (low, high)


@pytest.mark.parametrize(
    ("sides", "tokens"), [((1024, 1024), 1229), ((2048, 2048), 3000), ((4096, 8192), 2458), ((1280, 720), 1104)]
)
def test_openai_patch_tokens(sides: tuple[int, int], tokens: int) -> None:
    low, high = PATCHES.estimate_tokens(*sides)
    assert low + 1 == high - 1 == tokens


def test_openai_patch_tokens_with_an_older_budget() -> None:
    old = Vision(tokens="patches", high=Patches(side=2400, budget=1536))
    assert old.estimate_tokens(1800, 2400) == (1451, 1453)


@pytest.mark.parametrize(
    ("sides", "low", "high"), [((1024, 1024), 765, 765), ((2048, 4096), 1105, 1105), ((512, 512), 255, 765)]
)
def test_openai_tile_tokens_with_and_without_enlarging(sides: tuple[int, int], low: int, high: int) -> None:
    assert TILES_512.estimate_tokens(*sides) == (low, high)
    assert TILES_512.estimate_tokens(*sides, "economy") == (85, 85)


SIDES = st.integers(1, 9000)
KNOWN = [
    pytest.param(facts.vision, id=f"{name}-{model}")
    for name in ("together", "openai", "groq", "xai", "compatible", "local")
    for model, facts in {
        **load_config(name).operations["vision_chat"].models,
        "any": load_config(name).operations["vision_chat"].any_model,
    }.items()
    if isinstance(facts, VisionModel)
]


@pytest.mark.parametrize("vision", KNOWN)
@make_repeatable()
@given(SIDES, SIDES)
def test_an_image_of_any_size_is_within_the_bounds(vision: Vision, width: int, height: int) -> None:
    low, high = vision.estimate_tokens(width, height)
    assert 1 <= low <= high
    longest = vision.max_side("auto")
    assert longest is not None
    scale = min(1.0, longest / max(width, height))
    sent = max(1, int(width * scale)), max(1, int(height * scale))
    assert vision.estimate_tokens(*sent)[1] <= vision.max_tokens("auto")
