"""The parameters of generate-image."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mediamill.tasks.capabilities.parameters import NamesFiles, Option, Template, parse_list
from mediamill.tasks.capabilities.text.prompts import check_template
from mediamill.tasks.providers.operations.image_config import Quality


class Lora(BaseModel):
    """A LoRA: where it is, and its weight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(min_length=1, description="where it is, as the provider names it")
    scale: float = Field(default=1.0, allow_inf_nan=False, description="its weight")


class GenerateImageParams(BaseModel):
    """Parameters of image generation; the same names for every provider. What is unset is not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Annotated[str | None, Template()] = Field(
        None,
        min_length=1,
        max_length=200_000,
        description="the prompt, a template: {{ column }} becomes the row's value",
    )
    model: Annotated[str | None, Option(offered=False)] = Field(
        None, min_length=1, description="another model of the provider, for a single row"
    )
    n: int = Field(
        1, ge=1, le=1000, description="number of images for each prompt, in as many requests as needed; default 1"
    )
    size: str | None = Field(None, max_length=20, description="width and height in pixels, e.g. 1024x1024, or auto")
    width: int | None = Field(None, ge=1, le=65_535, description="width in pixels")
    height: int | None = Field(None, ge=1, le=65_535, description="height in pixels")
    aspect_ratio: str | None = Field(None, pattern=r"^(auto|[\d.]+:[\d.]+)$", description="aspect ratio, e.g. 16:9")
    resolution: str | None = Field(
        None, max_length=20, description="resolution by name, e.g. 1k or 2k, with an aspect ratio"
    )
    steps: int | None = Field(
        None, ge=1, le=1000, description="denoising steps; more than the model's default cost in proportion"
    )
    seed: int | None = Field(
        None, ge=0, lt=2**31, description="random seed, for repeatable images; further requests count up from it"
    )
    negative_prompt: Annotated[str | None, Template()] = Field(
        None, max_length=200_000, description="negative prompt: what to leave out of the image"
    )
    guidance_scale: float | None = Field(
        None, ge=0, le=100, allow_inf_nan=False, description="guidance scale: how closely to follow the prompt"
    )
    quality: Quality | None = Field(None, description="low, medium, high ..., for models whose price depends on it")
    background: Literal["transparent", "opaque", "auto"] | None = Field(None, description="background of the image")
    moderation: Literal["auto", "low"] | None = Field(None, description="how strict the provider's moderation is")
    output_format: Literal["jpeg", "png", "webp"] | None = Field(None, description="file format: jpeg, png or webp")
    output_compression: int | None = Field(
        None, ge=0, le=100, description="compression of jpeg and webp files in percent"
    )
    reference_images: Annotated[list[str] | None, NamesFiles(urls=True)] = Field(
        None, min_length=1, description="reference images: paths or URLs"
    )
    image_loras: list[Lora] | None = Field(None, description="LoRAs as {path, scale}")
    prompt_upsampling: bool | None = Field(None, description="let the provider rewrite the prompt in more detail")
    disable_safety_checker: bool | None = Field(
        None, description="turn the provider's safety checker off, where it allows that"
    )
    response_format: Literal["base64", "url"] = Field(
        "base64", description="base64 (default): images in the reply; url: links, downloaded at once, which expire"
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
