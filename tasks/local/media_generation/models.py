"""Models that make pictures or videos, and what each of them takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mediamill.tasks.local.endpoints.request_fields import sized


@dataclass(frozen=True, slots=True)
class VideoModel:
    """A model that makes videos; what is empty or None is not limited.

    Attributes:
        seconds, sizes, fps: that can be asked for; the first is made unless another is.
        frames: most pictures that stand for frames.
        prompt: fewest and most characters.
        optional: it needs no prompt.
    """

    seconds: tuple[int, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()
    fps: tuple[int, ...] = ()
    frames: int | None = None
    prompt: tuple[int, int] = (1, 32_000)
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ImageModel:
    """A model that makes pictures.

    Attributes:
        sizes: that can be asked for; empty for any.
        sides: shortest and longest side in pixels, where any size in steps of ``step`` is taken.
        step: pixels.
        most: pictures of one request; None is the provider's number.
        steps: most denoising steps.
    """

    sizes: tuple[tuple[int, int], ...] = ()
    sides: tuple[int, int] = (64, 4096)
    step: int = 8
    most: int | None = None
    steps: int = 100


@dataclass(frozen=True, slots=True)
class Makers:
    """The models of one dialect; ``named`` ones are taken whatever they are."""

    videos: Mapping[str, VideoModel]
    images: Mapping[str, ImageModel]
    named: frozenset[str] = frozenset()

    def video(self, model: str) -> VideoModel | None:
        """What a model that makes videos takes; None when it is unknown."""
        return self.videos.get(model) or (VideoModel() if model in self.named else None)

    def image(self, model: str) -> ImageModel | None:
        """What a model that makes pictures takes; None when it is unknown."""
        return self.images.get(model) or (ImageModel() if model in self.named else None)


def read_makers(known: Mapping[str, Any], dialect: str, named: Iterable[str]) -> Makers:
    """A dialect's models as the configuration has them, and those that were named besides."""
    videos, images = (known[kind].get(dialect) or {} for kind in ("videos", "images"))
    return Makers(
        {name: VideoModel(**_facts(facts)) for name, facts in videos.items()},
        {name: ImageModel(**_facts(facts)) for name, facts in images.items()},
        frozenset(named),
    )


def _facts(told: Mapping[str, Any] | None) -> dict[str, Any]:
    facts = {name: tuple(value) if isinstance(value, list) else value for name, value in (told or {}).items()}
    if "sizes" in facts:
        facts["sizes"] = tuple(sized(size) for size in facts["sizes"])
    return facts
