"""Price of videos: by the clip, by the second, by the second at a resolution in lines."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mediamill.tasks.domain import Usage
from mediamill.tasks.money.cost import Pricing
from mediamill.tasks.providers.operations import find_meter, find_priced_as
from mediamill.tasks.wire import Billing


def video_usage(seconds: int | None = None, lines: int | None = None, images: int = 0) -> Usage:
    video_seconds = None if seconds is None else Decimal(seconds)
    return Usage(videos=1, video_seconds=video_seconds, video_lines=lines, input_images=images, requests=1)


@pytest.mark.parametrize(
    ("provider", "model", "usage", "usd"),
    [
        ("together", "pixverse/pixverse-v5", video_usage(5), "0.30"),
        ("together", "google/veo-2.0", video_usage(), "2.5"),
        ("xai", "grok-imagine-video-1.5", video_usage(8), "0.64"),
        ("xai", "grok-imagine-video", video_usage(10), "0.5"),
        ("xai", "grok-imagine-video", video_usage(10, 720), "0.7"),
        ("xai", "grok-imagine-video-1.5", video_usage(10, 1080, 2), "2.52"),
    ],
)
def test_a_video_is_metered(provider: str, model: str, usage: Usage, usd: str) -> None:
    cost = Pricing.load(provider, Billing(), find_meter, find_priced_as).cost(model, "video", usage, None)
    assert (cost.usd, cost.basis) == (Decimal(usd), "metered")
    assert cost.source


def test_the_ceiling_is_the_highest_price_that_may_apply() -> None:
    xai = Pricing.load("xai", Billing(), find_meter, find_priced_as)
    assert xai.ceiling("grok-imagine-video", "video", video_usage(10, 480)) == Decimal("0.5")
    assert xai.ceiling("grok-imagine-video", "video", video_usage(10, 720)) == Decimal("0.7")
    assert xai.ceiling("grok-imagine-video", "video", video_usage(10)) == Decimal("0.7"), (
        "lines not stated: the highest"
    )
    assert xai.ceiling("grok-imagine-video", "video", video_usage(10, 720, 2)) == Decimal("0.704")


def test_a_video_without_a_price_has_an_unknown_cost() -> None:
    pricing = Pricing.load("together", Billing(), find_meter, find_priced_as)
    assert pricing.ceiling("someone/some-model", "video", video_usage(5)) is None
    cost = pricing.cost("someone/some-model", "video", video_usage(5), None)
    assert (cost.usd, cost.basis) == (None, "unknown")
    assert (
        Pricing.load("xai", Billing(), find_meter, find_priced_as).ceiling("grok-imagine-video", "video", video_usage())
        is None
    )
