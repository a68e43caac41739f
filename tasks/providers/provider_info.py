"""What an operation needs to know about its provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mediamill.tasks.wire import Endpoint

RateLimitDialect = Literal["per_second", "per_minute", "tokens_per_minute"]
"""The rate-limit headers that a provider sends (provider docs): ``per_second`` like Together, ``per_minute`` like
OpenAI, ``tokens_per_minute`` like Groq, where only the token limit is per minute and the request limit per day."""

ErrorQuirk = Literal["forbidden_means_input", "too_large_means_token_limit"]
"""Statuses that mean something else at a provider (provider docs): at Together a 403 with JSON means that the input is
wrong, at Groq a 413 with the code ``rate_limit_exceeded`` that one request needs more tokens than a minute allows."""


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """A provider as its operations see it.

    Attributes:
        name: the name by which jobs choose it.
        endpoint: its address.
        free: nothing is billed, so an attempt with an unknown outcome may always be repeated.
        rate_limit_headers, error_quirks: how its headers state limits, and which of its statuses differ.
        key_origin: gives the origin that stands in request keys, for a model.
        suggest_alternatives: returns a hint for an operation: what to choose instead.
    """

    name: str
    endpoint: Endpoint
    free: bool
    rate_limit_headers: Sequence[RateLimitDialect]
    error_quirks: frozenset[ErrorQuirk]
    key_origin: Callable[[str], str] = field(repr=False)
    suggest_alternatives: Callable[[str], str] = field(repr=False)
