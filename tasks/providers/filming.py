"""Videos that are made: what the configuration tells of an endpoint and its models."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

VIDEO_MAKING = "video"
"""The operation, as the price list names it."""

Frame = Literal["first", "last"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FilmWire(_Strict):
    """How an endpoint is spoken to, and which parameters it has a field for (provider docs)."""

    spelling: Literal["together", "openai", "xai"]
    takes: frozenset[str]
    jobs: int = Field(default=5000, gt=0, description="most jobs that run at once")
    job_seconds: float = Field(default=3600, gt=0, description="how long a job may run before it is left for later")


class Films(_Strict):
    """A model that makes videos; empty lists where the provider documents none."""

    seconds: tuple[int, ...] = ()
    sizes: tuple[str, ...] = ()
    fps: tuple[int, ...] = ()
    resolutions: tuple[str, ...] = ()
    ratios: tuple[str, ...] = ()
    keyframes: tuple[Frame, ...] | None = Field(default=None, description="places of keyframes; null where not known")
    references: bool | None = Field(default=None, description="takes reference pictures; null where not known")
    prompt: tuple[int, int] = Field(default=(1, 32_000), description="fewest and most characters")
    prompt_optional: bool = Field(default=False, description="a keyframe is enough")
    steps: tuple[int, int] | None = Field(default=None, description="fewest and most steps, where it takes steps")

    def smallest(self) -> str | None:
        """The smallest size it makes."""
        return min(self.sizes, key=pixels, default=None)


def pixels(size: str) -> int:
    """Pixels of ``1280x720``."""
    width, _, height = size.partition("x")
    return int(width) * int(height)
