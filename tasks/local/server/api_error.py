"""Why a request is refused, before a dialect formats the error."""

from __future__ import annotations

from typing import Literal

ErrorKind = Literal[
    "missing_field",
    "bad_value",
    "unsupported_format",
    "too_large",
    "url_too_large",
    "too_long",
    "too_short",
    "unknown_model",
    "bad_key",
    "not_found",
    "method",
    "rate_limit",
    "token_limit",
    "audio_limit",
    "failed",
    "overloaded",
    "bad_image",
    "unknown_field",
    "unsupported",
    "moderated",
    "media_type",
    "too_slow",
]


class ApiError(Exception):
    """A request gets an error reply. ``param`` names the field at fault; ``wait`` is the seconds until a retry."""

    def __init__(self, kind: ErrorKind, message: str, *, param: str | None = None, wait: float | None = None) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.message = message
        self.param = param
        self.wait = wait
