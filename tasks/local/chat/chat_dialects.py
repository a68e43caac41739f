"""How the providers' chat endpoints differ (provider docs): fields, ranges, limits and names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

MIB = 1024 * 1024
_COMMON_FIELDS = frozenset(
    [
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "n",
        "stop",
        "seed",
        "logit_bias",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "user",
        "reasoning_effort",
        "service_tier",
        "metadata",
        "store",
    ]
)
_OPENAI_FIELDS = _COMMON_FIELDS | {
    *("audio", "modalities", "moderation", "prediction", "prompt_cache_key", "prompt_cache_options"),
    *("prompt_cache_retention", "safety_identifier", "verbosity", "web_search_options"),
}
_GROQ_FIELDS = (_COMMON_FIELDS - {"logit_bias", "logprobs", "top_logprobs"}) | {
    *("citation_options", "compound_custom", "disable_tool_validation", "documents", "exclude_domains"),
    *("include_domains", "include_reasoning", "reasoning_format", "search_settings"),
}
_ROLES = frozenset({"system", "user", "assistant", "tool", "function"})
_ALL_ROLES = _ROLES | {"developer"}
_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "repetition_penalty": (0, 100),
}
_WEB_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_ALL_FORMATS = (*_WEB_FORMATS, "BMP", "TIFF")


@dataclass(frozen=True, slots=True)
class ChatDialect:
    """One provider's chat endpoint.

    Attributes:
        strict: unknown models are refused.
        fields: accepted request fields; None when unknown fields are ignored.
        roles: accepted roles of messages.
        max_n, max_stops, max_logprobs: maximum answers, stop sequences, and alternatives for each token.
        logprobs_is_count: ``logprobs`` is a number, not true or false.
        takes_detail: ``image_url`` has the field ``detail``.
        takes_video: ``video_url`` is accepted.
        takes_bare_urls: ``image_url`` may be the URL itself.
        user_images_only: only messages of the user may contain images.
        max_images, max_image_bytes, max_pixels: images of a request; bytes and pixels of an image.
        max_bytes: bytes of a request.
        image_formats: accepted formats, by Pillow's names.
        takes_animated_gif: animated GIFs are accepted.
        requires_json_word: ``json_object`` requires the word JSON in the messages.
        strict_schemas: strict schemas must follow the provider's rules.
        takes_regex: ``response_format`` may be a regular expression.
        reasoning_fields: the reply's fields that hold the reasoning.
        ranges: minimum and maximum of sampling parameters.
    """

    name: str
    strict: bool = True
    fields: frozenset[str] | None = None
    roles: frozenset[str] = _ROLES
    max_n: int = 128
    max_stops: int | None = 4
    max_logprobs: int = 20
    logprobs_is_count: bool = False
    takes_detail: bool = True
    takes_video: bool = False
    takes_bare_urls: bool = False
    user_images_only: bool = False
    max_images: int = 1000
    max_image_bytes: int = 20 * MIB
    max_pixels: int = 100_000_000
    max_bytes: int = 100 * MIB
    image_formats: tuple[str, ...] = _WEB_FORMATS
    takes_animated_gif: bool = True
    requires_json_word: bool = False
    strict_schemas: bool = False
    takes_regex: bool = False
    reasoning_fields: tuple[str, ...] = ("reasoning_content",)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=lambda: _RANGES)


@cache
def get_chat_dialect(dialect: str) -> ChatDialect:
    """The chat endpoint of a dialect; limits that a provider does not document are the server's own."""
    return {
        "local": ChatDialect(
            "local", strict=False, roles=_ALL_ROLES, max_stops=None, takes_video=True, takes_bare_urls=True,
            max_image_bytes=100 * MIB, image_formats=_ALL_FORMATS, takes_regex=True,
        ),
        "together": ChatDialect(
            "together", max_stops=None, logprobs_is_count=True, takes_detail=False, takes_video=True, takes_regex=True,
            image_formats=_ALL_FORMATS, reasoning_fields=("reasoning",),
        ),
        "openai": ChatDialect(
            "openai", fields=_OPENAI_FIELDS, roles=_ALL_ROLES, user_images_only=True, max_images=1500,
            max_bytes=512 * MIB, max_image_bytes=100 * MIB, takes_animated_gif=False, requires_json_word=True,
            strict_schemas=True,
        ),
        "groq": ChatDialect(
            "groq", fields=_GROQ_FIELDS, roles=_ALL_ROLES, max_n=1, user_images_only=True, max_images=5,
            max_pixels=33_177_600, max_bytes=4 * MIB, requires_json_word=True, reasoning_fields=("reasoning",),
        ),
        "compatible": ChatDialect(
            "compatible", strict=False, roles=_ALL_ROLES, max_stops=None, takes_video=True, takes_bare_urls=True,
            max_image_bytes=100 * MIB, image_formats=_ALL_FORMATS, takes_regex=True,
            reasoning_fields=("reasoning", "reasoning_content"),
        ),
        "xai": ChatDialect("xai", roles=_ALL_ROLES, max_logprobs=8, image_formats=("JPEG", "PNG")),
    }[dialect]  # fmt: skip
