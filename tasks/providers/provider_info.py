"""What an operation has to know of the provider it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mediamill.tasks.wire import Endpoint

RateLimitDialect = Literal["per_second", "per_minute", "tokens_per_minute"]
"""Whose rate-limit headers a provider sends (provider docs): ``per_second`` as Together does, ``per_minute`` as OpenAI
does; ``tokens_per_minute`` where only OpenAI's token bucket is one, as at Groq, whose request bucket is a day's."""

ErrorQuirk = Literal["forbidden_means_input", "too_large_means_token_limit"]
"""Where a provider's status means something else (provider docs): a 403 with JSON that the input is wrong (Together), a
413 with the code ``rate_limit_exceeded`` that one request needs more tokens than a whole minute has (Groq)."""


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """A provider as its operations see it.

    Attributes:
        name: as jobs name it.
        endpoint: where it is reached.
        free: nothing is billed, so an attempt with an unknown outcome may always be repeated.
        rate_limit_headers, error_quirks: how it words limits and errors.
        key_origin: the origin that request keys name, for a model.
        alternatives: words that say what to choose instead, for an operation.
    """

    name: str
    endpoint: Endpoint
    free: bool
    rate_limit_headers: Sequence[RateLimitDialect]
    error_quirks: frozenset[ErrorQuirk]
    key_origin: Callable[[str], str] = field(repr=False)
    alternatives: Callable[[str], str] = field(repr=False)
