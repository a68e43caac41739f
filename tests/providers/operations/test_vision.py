"""How many tokens a picture comes to: the providers' worked examples, and what must hold for any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.providers.operations.vision import Patches, Vision
from mediamill.tasks.providers.operations.vision_chat import VisionModel
from mediamill.tasks.providers.registry import load_config
from tests.helpers.hypothesis_profile import repeatable

TILES = Vision(tokens="tiles560", auto_side=1120, economy_side=559)
HIGH = Vision(tokens="patches", high=Patches(side=2048, budget=2500), multiplier=1.2)
SMALL = Vision(tokens="tiles512", base=85, per_tile=170, detail=True)


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
def test_togethers_code_and_its_table_are_the_two_ends(sides: tuple[int, int], low: int, high: int) -> None:
    assert TILES.estimate_tokens(*sides) == (low, high)


@pytest.mark.parametrize(
    ("sides", "tokens"), [((1024, 1024), 1229), ((2048, 2048), 3000), ((4096, 8192), 2458), ((1280, 720), 1104)]
)
def test_openais_patches(sides: tuple[int, int], tokens: int) -> None:
    low, high = HIGH.estimate_tokens(*sides)
    assert low + 1 == high - 1 == tokens


def test_an_older_budget_of_patches() -> None:
    old = Vision(tokens="patches", high=Patches(side=2400, budget=1536))
    assert old.estimate_tokens(1800, 2400) == (1451, 1453)


@pytest.mark.parametrize(
    ("sides", "low", "high"), [((1024, 1024), 765, 765), ((2048, 4096), 1105, 1105), ((512, 512), 255, 765)]
)
def test_openais_tiles_and_the_guide_that_enlarges(sides: tuple[int, int], low: int, high: int) -> None:
    assert SMALL.estimate_tokens(*sides) == (low, high)
    assert SMALL.estimate_tokens(*sides, "economy") == (85, 85)


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
@repeatable
@given(SIDES, SIDES)
def test_a_picture_of_any_size_has_its_bounds(vision: Vision, width: int, height: int) -> None:
    low, high = vision.estimate_tokens(width, height)
    assert 1 <= low <= high
    longest = vision.max_side("auto")
    assert longest is not None
    scale = min(1.0, longest / max(width, height))
    sent = max(1, int(width * scale)), max(1, int(height * scale))
    assert vision.estimate_tokens(*sent)[1] <= vision.max_tokens("auto")
