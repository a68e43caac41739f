"""Why a generation ended, under the names that vendors have for it (provider docs)."""

from __future__ import annotations

import re
from typing import Any

_REFUSALS = frozenset(
    {
        *("content_filter", "content_filtered", "refusal", "safety", "moderation", "prohibited_content", "blocklist"),
        *("sensitive", "error_toxic", "recitation", "spii", "image_safety", "guardrail_intervened", "content_policy"),
    }
)
_LENGTHS = frozenset(
    {
        *("length", "max_tokens", "max_output_tokens", "model_length", "max_length", "token_limit"),
        "model_context_window_exceeded",
    }
)
_ERRORS = frozenset(
    {"error", "network_error", "abort", "aborted", "insufficient_system_resource", "model_error", "internal_error"}
)
"""OpenRouter's, Zhipu's, SGLang's and vLLM's, DeepSeek's: the text may be half of one."""
_SEPARATORS = re.compile(r"[\s-]+")


def is_refusal_reason(reason: Any) -> bool:
    """True where a content filter withheld the answer."""
    return _normalize(reason) in _REFUSALS


def is_length_reason(reason: Any) -> bool:
    """True where the answer ends at the maximum number of tokens."""
    return _normalize(reason) in _LENGTHS


def is_error_reason(reason: Any) -> bool:
    """True where the generation failed."""
    return _normalize(reason) in _ERRORS


def _normalize(reason: Any) -> str:
    """A reason in small letters, without the detail that follows a colon."""
    if not isinstance(reason, str):
        return ""
    return _SEPARATORS.sub("_", reason.partition(":")[0].strip().lower())
