"""Refusals of a response format: the server does what is asked of it, but answers in plain JSON only."""

from __future__ import annotations

import re

_PARAMS = re.compile(r"\b(?:verbose_json|timestamp_granularities)\b|^(?:body\.)?response_format\b")
_FORMAT = re.compile(r"\bresponse[ _-]?format\b")
_REFUSAL = re.compile(
    r"\b(?:only|un\w*supported|in\w*valid|un(?:known|recogni[sz]ed)|must be|should be|permitted|allowed|one of"
    r"|not? (?:\w+ )?(?:support\w*|compatible|available|valid|implemented))\b"
)
_JSON_ALONE = re.compile(
    r"\bonly supports? (?:the )?\W?json\b|\bonly \W?json\W? (?:is|are) (?:supported|allowed|available)\b"
)


def refuses_format(message: str, param: str | None) -> bool:
    """True where an error says that the response format, or what only that format has, is not available.

    Such words come from vLLM, OpenAI, and servers that check the request's fields (provider docs, user reports).

    Args:
        message: the error's message, in small letters.
        param: the parameter that the error names.
    """
    if param is not None and ("response_format" in param or "timestamp_granularities" in param):
        return True
    if _JSON_ALONE.search(message):
        return True
    is_named = _PARAMS.search(message) is not None or _FORMAT.search(message) is not None
    return is_named and ("extra inputs" in message or _REFUSAL.search(message) is not None)
