"""Price of images by the image, by the million pixels, by steps and by tokens, and its ceiling."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.providers.operations import find_meter, find_priced_as
from mediamill.tasks.providers.operations.image_config import IMAGE, ImageModel
from mediamill.tasks.providers.registry import load_config
from tests.helpers.hypothesis_profile import make_repeatable
from tests.money.builders import build_pricing
from tests.providers.builders import build_provider

LISTED = [
    (name, model) for name in ("together", "openai", "xai") for model in load_config(name).operations[IMAGE].models
]


def compute_cost(priced: Pricing, usage: Usage) -> Decimal | None:
    return priced.cost("m", IMAGE, usage, None).usd


def compute_ceiling(priced: Pricing, usage: Usage) -> Decimal | None:
    return priced.ceiling("m", IMAGE, usage)


FOUR = Usage(images=4, megapixels=Decimal(6), requests=1)
TOKENS = {"1M_input_tokens": "5", "1M_image_input_tokens": "10", "1M_image_output_tokens": "40"}


def test_images_are_priced_by_the_image() -> None:
    assert (
        compute_cost(build_pricing(IMAGE, ("image", "0.02")), FOUR)
        == compute_ceiling(build_pricing(IMAGE, ("image", "0.02")), FOUR)
        == Decimal("0.08")
    )


def test_images_are_priced_by_the_million_pixels_with_their_steps() -> None:
    assert compute_cost(build_pricing(IMAGE, ("megapixel", "0.025")), FOUR) == Decimal("0.15")
    assert compute_cost(
        build_pricing(IMAGE, ("megapixel", "0.025")), Usage(images=1, megapixels=Decimal(1) / 3)
    ) == Decimal("0.008333333333")
    both = build_pricing(IMAGE, ("image", "0.03"), ("megapixel", "0.025"))
    assert (compute_cost(both, FOUR), compute_ceiling(both, FOUR)) == (Decimal("0.15"), Decimal("0.15"))
    flat = Usage(images=4, requests=1)
    assert (compute_cost(both, flat), compute_ceiling(both, flat)) == (Decimal("0.12"), Decimal("0.12"))


def test_images_of_4k_have_their_own_price() -> None:
    priced = build_pricing(IMAGE, ("image", "0.134"), ("image_4k", "0.24"))
    assert compute_cost(priced, Usage(images=2, megapixels=Decimal(8))) == Decimal("0.268")
    assert compute_cost(priced, Usage(images=1, megapixels=Decimal(16))) == Decimal("0.24")
    assert compute_ceiling(priced, Usage(images=1, megapixels=Decimal(1))) == Decimal("0.24")


def test_images_are_priced_by_tokens_of_text_and_of_images() -> None:
    usage = Usage(images=1, input_tokens=50, image_input_tokens=40, output_tokens=4160, image_output_tokens=4160)
    metered = build_pricing(IMAGE, *TOKENS.items()).cost("m", IMAGE, usage, None)
    assert metered.usd == (10 * Decimal(5) + 40 * Decimal(10) + 4160 * Decimal(40)) / 1_000_000
    assert (metered.basis, metered.source) == ("metered", "$40/1M_image_output_tokens, source 2, 2026-11-20")
    assert (
        compute_ceiling(build_pricing(IMAGE, *TOKENS.items()), usage)
        == (50 * Decimal(10) + 4160 * Decimal(40)) / 1_000_000
    )
    worded = Usage(images=1, input_tokens=0, output_tokens=100, image_output_tokens=60)
    assert compute_cost(build_pricing(IMAGE, *TOKENS.items(), ("1M_output_tokens", "10")), worded) == Decimal("0.0028")
    cached = Usage(images=1, input_tokens=100, cached_input_tokens=80, output_tokens=0)
    assert compute_cost(build_pricing(IMAGE, *TOKENS.items(), ("1M_cached_input_tokens", "1.25")), cached) == Decimal(
        "0.0002"
    )


@pytest.mark.parametrize("units", [{}, {"megapixel": "1"}, TOKENS])
def test_an_unknown_cost_is_not_zero(units: dict[str, str]) -> None:
    without_quantities = Usage(images=1, requests=1)
    unknown = build_pricing(IMAGE, *units.items()).cost("m", IMAGE, without_quantities, None)
    assert (unknown.usd, unknown.basis, compute_ceiling(build_pricing(IMAGE, *units.items()), without_quantities)) == (
        None,
        "unknown",
        None,
    )
    assert build_pricing(IMAGE, *units.items()).cost("m", IMAGE, without_quantities, Decimal(1)).basis == "estimated"


@pytest.mark.parametrize(("name", "model"), LISTED)
def test_every_listed_model_has_a_price_and_a_ceiling(name: str, model: str) -> None:
    facts = build_provider(name).model_facts(IMAGE, model, ImageModel)
    priced = Pricing.load(name, build_provider(name).billing, find_meter, find_priced_as)
    tokens = facts.estimate_output_tokens({}, ceiling=True)
    usage = Usage(images=1, megapixels=facts.max_billed_megapixels({}), input_tokens=100, output_tokens=tokens)
    assert (priced.ceiling(model, IMAGE, usage) or 0) > 0
    assert (priced.source(model, IMAGE) or "").startswith("$")


AMOUNTS = st.none() | st.integers(0, 10_000)


@make_repeatable()
@given(
    st.dictionaries(
        st.sampled_from([*TOKENS, "image", "megapixel", "image_4k", "1M_output_tokens"]),
        st.sampled_from(["0.01", "3", "40"]),
    ),
    st.builds(
        Usage,
        images=st.integers(1, 10),
        megapixels=st.none() | st.decimals(0, 100, places=6),
        input_tokens=AMOUNTS,
        image_input_tokens=AMOUNTS,
        output_tokens=AMOUNTS,
        image_output_tokens=AMOUNTS,
    ),
)
def test_the_ceiling_is_never_below_the_cost_of_the_same_usage(units: dict[str, str], usage: Usage) -> None:
    priced = build_pricing(IMAGE, *units.items())
    paid, ceiling = compute_cost(priced, usage), compute_ceiling(priced, usage)
    assert paid is None or ceiling is None or paid <= ceiling
