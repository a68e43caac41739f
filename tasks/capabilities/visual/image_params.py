"""What can be asked of a picture."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mediamill.tasks.capabilities.parameters import Option, parse_list
from mediamill.tasks.capabilities.text.prompts import check_template
from mediamill.tasks.providers.operations.image_config import Quality


class Lora(BaseModel):
    """A LoRA: where it is, and how strongly it counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(min_length=1)
    scale: float = Field(default=1.0, allow_inf_nan=False)


class GenerateImageParams(BaseModel):
    """What can be asked of a picture; the same names for every provider. What is unset is not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: str | None = Field(
        None, min_length=1, max_length=200_000, description="what to draw; {{ column }} stands for the row's value"
    )
    model: Annotated[str | None, Option(offered=False)] = Field(
        None, min_length=1, description="another model of the provider, for a row of its own"
    )
    n: int = Field(1, ge=1, le=1000, description="pictures of each prompt, asked for in as many requests as it takes")
    size: str | None = Field(None, max_length=20, description="WIDTHxHEIGHT in pixels, or auto")
    width: int | None = Field(None, ge=1, le=65_535, description="pixels")
    height: int | None = Field(None, ge=1, le=65_535, description="pixels")
    aspect_ratio: str | None = Field(None, pattern=r"^(auto|[\d.]+:[\d.]+)$", description="such as 16:9")
    resolution: str | None = Field(None, max_length=20, description="such as 1k or 2k, beside a ratio")
    steps: int | None = Field(None, ge=1, le=1000, description="denoising steps; more than usual cost in proportion")
    seed: int | None = Field(None, ge=0, lt=2**31, description="for pictures that repeat; each request has its own")
    negative_prompt: str | None = Field(None, max_length=200_000, description="what to leave out of the picture")
    guidance_scale: float | None = Field(None, ge=0, le=100, allow_inf_nan=False, description="how closely to follow")
    quality: Quality | None = Field(None, description="low, medium, high ...: where the price depends on it")
    background: Literal["transparent", "opaque", "auto"] | None = Field(None, description="behind what is drawn")
    moderation: Literal["auto", "low"] | None = Field(None, description="how strictly the provider looks")
    output_format: Literal["jpeg", "png", "webp"] | None = Field(None, description="jpeg, png or webp")
    output_compression: int | None = Field(None, ge=0, le=100, description="of jpeg and webp, in percent")
    reference_images: list[str] | None = Field(None, min_length=1, description="pictures to go by: paths or URLs")
    image_loras: list[Lora] | None = Field(None, description="LoRAs as {path, scale}")
    prompt_upsampling: bool | None = Field(None, description="let the provider write the prompt out")
    disable_safety_checker: bool | None = Field(None, description="where the provider offers that")
    response_format: Literal["base64", "url"] = Field(
        "base64", description="url: links, fetched at once; they expire, pictures in the reply do not"
    )

    @field_validator("response_format", "output_format", mode="before")
    @classmethod
    def _normalize_format_names(cls, value: Any) -> Any:
        return {"b64_json": "base64", "jpg": "jpeg"}.get(value, value) if isinstance(value, str) else value

    @field_validator("image_loras", mode="before", json_schema_input_type=list[Lora] | str | None)
    @classmethod
    def _parse_loras(cls, value: Any) -> Any:
        return parse_list(value)

    @field_validator("reference_images", mode="before", json_schema_input_type=list[str] | str | None)
    @classmethod
    def _parse_reference_images(cls, value: Any) -> Any:
        return parse_list(value)

    _check_templates = field_validator("prompt", "negative_prompt")(check_template)
