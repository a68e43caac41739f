"""What a model that speaks can do: the part of the configuration that speaking reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Form = Literal["mp3", "wav", "flac", "opus", "pcm"]
"""Formats by the names that are the same for every provider; ``pcm`` is 16-bit little-endian without a header."""

LOSSLESS: tuple[Form, ...] = ("wav", "pcm", "flac")


class Voice(BaseModel):
    """A model that speaks (provider docs). ``formats`` are in the order of preference, with their wire names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    formats: Mapping[Form, str] = Field(description="formats it answers in, with the provider's names for them")
    voices: tuple[str, ...] = ()
    default_voice: str | None = None
    max_characters: int = Field(default=4096, gt=0, description="longest text of one request")
    speed: tuple[float, float] | None = Field(default=None, description="slowest and fastest; None: cannot be set")
    instructions: bool = False
    language: bool = False
    default_language: str | None = Field(default=None, description="sent where the provider insists on one")
    sample_rate: bool = Field(default=False, description="takes a sample rate")
    pcm_rate: int = Field(default=24_000, description="Hz of headerless PCM where none is asked for")
    stream: Literal["together", "openai"] | None = Field(default=None, description="whose way of asking for events")
    per_minute: bool = Field(default=False, description="priced by the minute of speech where no tokens are told")
    program: str | None = Field(default=None, description="program on PATH that speaks; of the built-in provider")


class VoiceLimits(BaseModel):
    """What cutting and converting need to know of a model."""

    model_config = ConfigDict(frozen=True)

    max_characters: int
    formats: tuple[Form, ...]
    stream: bool
    default_voice: str | None = None
    socket: bool = False

    def lossless(self) -> Form:
        """The format in which pieces lose nothing when they are joined; its favourite where it has no such."""
        return next((f for f in LOSSLESS if f in self.formats), self.formats[0])
