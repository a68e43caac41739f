"""What tells the providers' chat endpoints apart (provider docs): fields, ranges, limits and names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

MIB = 1024 * 1024
_OURS = frozenset(
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
_OPENAI = _OURS | {
    *("audio", "modalities", "moderation", "prediction", "prompt_cache_key", "prompt_cache_options"),
    *("prompt_cache_retention", "safety_identifier", "verbosity", "web_search_options"),
}
_GROQ = (_OURS - {"logit_bias", "logprobs", "top_logprobs"}) | {
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
_WEB = ("JPEG", "PNG", "WEBP", "GIF")
_MANY = (*_WEB, "BMP", "TIFF")


@dataclass(frozen=True, slots=True)
class ChatDialect:
    """One provider's chat endpoint.

    Attributes:
        strict: unknown models are refused.
        fields: those of a request that are taken; None where others are passed over.
        roles: who may speak.
        most_n, most_stops, most_logprobs: how many answers, stop sequences, and likelihoods beside a token's own.
        counts_logprobs: ``logprobs`` is how many, not whether.
        detail: ``image_url`` takes it.
        video: ``video_url`` is taken.
        bare_urls: ``image_url`` may be the URL itself.
        user_pictures: only users show pictures.
        most_pictures, most_picture_bytes, most_pixels: of one request, of one picture.
        max_bytes: of a request.
        formats: of pictures, by Pillow's names.
        animated: a GIF may move.
        says_json: asking for ``json_object`` takes the word JSON in the messages.
        strict_schemas: schemas marked strict are held to the provider's rules.
        regex: ``response_format`` takes a pattern.
        reasoning: under which names reasoning is told.
    """

    name: str
    strict: bool = True
    fields: frozenset[str] | None = None
    roles: frozenset[str] = _ROLES
    max_n: int = 128
    max_stops: int | None = 4
    max_logprobs: int = 20
    counts_logprobs: bool = False
    detail: bool = True
    video: bool = False
    bare_urls: bool = False
    user_pictures: bool = False
    max_pictures: int = 1000
    max_picture_bytes: int = 20 * MIB
    max_pixels: int = 100_000_000
    max_bytes: int = 100 * MIB
    formats: tuple[str, ...] = _WEB
    animated: bool = True
    says_json: bool = False
    strict_schemas: bool = False
    regex: bool = False
    reasoning: tuple[str, ...] = ("reasoning_content",)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=lambda: _RANGES)


@cache
def get_chat_dialect(dialect: str) -> ChatDialect:
    """The chat endpoint of a dialect; what no provider tells is the server's own guard."""
    return {
        "local": ChatDialect(
            "local", strict=False, roles=_ALL_ROLES, max_stops=None, video=True, bare_urls=True,
            max_picture_bytes=100 * MIB, formats=_MANY, regex=True,
        ),
        "together": ChatDialect(
            "together", max_stops=None, counts_logprobs=True, detail=False, video=True, regex=True,
            formats=_MANY, reasoning=("reasoning",),
        ),
        "openai": ChatDialect(
            "openai", fields=_OPENAI, roles=_ALL_ROLES, user_pictures=True, max_pictures=1500, max_bytes=512 * MIB,
            max_picture_bytes=100 * MIB, animated=False, says_json=True, strict_schemas=True,
        ),
        "groq": ChatDialect(
            "groq", fields=_GROQ, roles=_ALL_ROLES, max_n=1, user_pictures=True, max_pictures=5,
            max_pixels=33_177_600, max_bytes=4 * MIB, says_json=True, reasoning=("reasoning",),
        ),
        "compatible": ChatDialect(
            "compatible", strict=False, roles=_ALL_ROLES, max_stops=None, video=True, bare_urls=True,
            max_picture_bytes=100 * MIB, formats=_MANY, regex=True, reasoning=("reasoning", "reasoning_content"),
        ),
        "xai": ChatDialect("xai", roles=_ALL_ROLES, max_logprobs=8, formats=("JPEG", "PNG")),
    }[dialect]  # fmt: skip
