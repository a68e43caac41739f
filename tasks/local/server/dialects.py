"""How the providers' wire formats differ: limits, fields, language names and error formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

from mediamill.tasks.local.server.api_error import ApiError, ErrorKind

ErrorFormat = tuple[int, str, str | None]
"""Status, error type, error code."""

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Dialect:
    """One provider's transcription endpoint, as its documentation describes it.

    Attributes:
        formats: reply formats of models for which the configuration lists none.
        containers: accepted file name extensions.
        max_bytes, max_url_bytes, max_seconds: largest upload, largest file by URL, longest recording.
        url_fields: form fields that may hold a URL; empty where only files are accepted.
        language_style: how verbose replies name a language: ``code`` (en), ``name`` (english), ``title`` (English).
        takes_auto_language: ``language=auto`` means language detection.
        takes_diarize: the request may ask for speakers (``diarize``).
        strict: unknown models are refused.
        min_seconds: the least that is billed for a request.
        whole_seconds: seconds are billed and reported rounded to whole seconds, half a second up.
        reports_usage: replies in json carry the seconds used.
        segment_stats: verbose segments carry Whisper's statistics.
        streams_transcription: transcripts may come as server-sent events.
    """

    name: str
    formats: frozenset[str]
    containers: frozenset[str]
    error_formats: Mapping[ErrorKind, ErrorFormat]
    max_bytes: int
    max_url_bytes: int = 1024 * _MIB
    max_seconds: float | None = None
    url_fields: tuple[str, ...] = ()
    language_style: str = "code"
    takes_auto_language: bool = False
    takes_diarize: bool = False
    strict: bool = True
    min_seconds: Decimal = Decimal(0)
    whole_seconds: bool = False
    reports_usage: bool = False
    segment_stats: bool = False
    streams_transcription: bool = False

    def compute_billed_seconds(self, seconds: Decimal) -> Decimal:
        """The seconds that are billed for a recording of so many seconds."""
        if self.whole_seconds:
            seconds = seconds.quantize(Decimal(1), ROUND_HALF_UP)
        return max(seconds, self.min_seconds)

    def format_error(self, api_error: ApiError, request_id: str) -> tuple[int, dict[str, Any]]:
        """Status and body of an error reply."""
        status, error_type, code = self.error_formats[api_error.kind]
        if self.name == "compatible":
            return status, _format_vllm_error(status, error_type, api_error)
        error: dict[str, Any] = {
            "message": api_error.message,
            "type": error_type,
            "param": api_error.param,
            "code": code,
        }
        if self.name == "together":
            if api_error.kind in _TOGETHER_LIMITS:
                error["error_type"] = _TOGETHER_LIMITS[api_error.kind]
            return status, {"id": request_id, "error": error}
        if self.name == "cohere":
            return status, {"id": request_id, "message": api_error.message}
        if self.name == "xai":
            return status, {"code": code or error_type, "error": api_error.message}
        if self.name == "groq":  # its envelope leaves out empty fields
            error = {name: value for name, value in error.items() if value is not None}
        return status, {"error": error}


def _format_vllm_error(status: int, error_type: str, api_error: ApiError) -> dict[str, Any]:
    """FastAPI's list of details for invalid forms, an envelope with a numeric code for all other errors."""
    if status == 422:  # noqa: PLR2004
        location = ["body", api_error.param] if api_error.param else ["body"]
        return {"detail": [{"type": error_type, "loc": location, "msg": api_error.message, "input": None}]}
    return {"error": {"message": api_error.message, "type": error_type, "param": api_error.param, "code": status}}


_TOGETHER_LIMITS: dict[ErrorKind, str] = {
    "rate_limit": "dynamic_request_limited",
    "token_limit": "dynamic_token_limited",
}
_INVALID = "invalid_request_error"
_AUDIO_EXTENSIONS = frozenset(["wav", "mp3", "m4a", "webm", "flac", "ogg", "opus", "aac"])
_OPENAI_EXTENSIONS = frozenset(["flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "oga", "ogg", "wav", "webm"])
_GROQ_EXTENSIONS = frozenset(["flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "opus", "wav", "webm"])
_JSON_FORMATS = frozenset({"json", "verbose_json"})
_ALL_FORMATS = _JSON_FORMATS | {"text", "srt", "vtt"}


def _make_error_formats(**overrides: ErrorFormat) -> dict[ErrorKind, ErrorFormat]:
    """A format for every kind of error: the common ones, replaced by the provider's own."""
    common: dict[ErrorKind, ErrorFormat] = {
        "missing_field": (400, _INVALID, None),
        "bad_value": (400, _INVALID, None),
        "unsupported_format": (400, _INVALID, None),
        "too_large": (413, _INVALID, "request_too_large"),
        "url_too_large": (400, _INVALID, None),
        "too_long": (400, _INVALID, None),
        "too_short": (400, _INVALID, "audio_too_short"),
        "unknown_model": (404, _INVALID, "model_not_found"),
        "bad_key": (401, _INVALID, "invalid_api_key"),
        "not_found": (404, _INVALID, "unknown_url"),
        "method": (405, _INVALID, "method_not_supported"),
        "rate_limit": (429, "requests", "rate_limit_exceeded"),
        "token_limit": (429, "tokens", "rate_limit_exceeded"),
        "audio_limit": (429, "seconds", "rate_limit_exceeded"),
        "failed": (500, "server_error", None),
        "overloaded": (503, "server_error", "overloaded"),
        "bad_image": (400, _INVALID, None),
        "unknown_field": (400, _INVALID, None),
        "unsupported": (400, _INVALID, None),
        "moderated": (400, _INVALID, "content_policy_violation"),
        "media_type": (415, _INVALID, None),
        "too_slow": (408, _INVALID, None),
    }
    return {kind: overrides.get(kind, wording) for kind, wording in common.items()}


_TOGETHER_ERRORS = _make_error_formats(
    missing_field=(400, _INVALID, "invalid_params"),
    bad_value=(400, _INVALID, "invalid_params"),
    unsupported_format=(400, _INVALID, "unsupported_format"),
    url_too_large=(400, _INVALID, "file_too_large"),
    too_long=(400, _INVALID, "audio_too_long"),
    too_short=(400, _INVALID, "invalid_params"),
    unknown_model=(400, _INVALID, "model_not_available"),
    rate_limit=(429, "rate_limit", "rate_limit_exceeded"),
    token_limit=(429, "rate_limit", "rate_limit_exceeded"),
    audio_limit=(429, "rate_limit", "rate_limit_exceeded"),
    failed=(500, "server_error", "processing_failed"),
    overloaded=(503, "server_error", "service_unavailable"),
    bad_image=(400, _INVALID, "invalid_params"),
    unsupported=(400, _INVALID, "invalid_params"),
)
_VLLM_ERRORS = _make_error_formats(
    missing_field=(422, "missing", None),
    bad_value=(422, "value_error", None),
    unsupported_format=(400, "BadRequestError", None),
    too_large=(413, "RequestEntityTooLarge", None),
    too_long=(400, "BadRequestError", None),
    too_short=(400, "BadRequestError", None),
    unknown_model=(404, "NotFoundError", None),
    bad_key=(401, "Unauthorized", None),
    not_found=(404, "NotFoundError", None),
    method=(405, "MethodNotAllowed", None),
    failed=(500, "InternalServerError", None),
    overloaded=(503, "ServiceUnavailable", None),
    bad_image=(400, "BadRequestError", None),
    url_too_large=(400, "BadRequestError", None),
    unsupported=(400, "BadRequestError", None),
    moderated=(400, "BadRequestError", None),
)
_OPENAI_ERRORS = _make_error_formats(
    bad_image=(400, _INVALID, "invalid_image_format"),
    unknown_field=(400, _INVALID, "unknown_parameter"),
    unsupported=(400, _INVALID, "unsupported_parameter"),
    moderated=(400, "image_generation_user_error", "moderation_blocked"),
)
_COHERE_ERRORS = _make_error_formats(
    missing_field=(400, _INVALID, None),
    too_large=(413, _INVALID, None),
    rate_limit=(429, _INVALID, None),
    failed=(500, "server_error", None),
)
_XAI_ERRORS = _make_error_formats(
    missing_field=(400, "Client specified an invalid argument", None),
    bad_value=(400, "Client specified an invalid argument", None),
    bad_key=(400, "Client specified an invalid argument", None),
    not_found=(404, "The requested resource was not found", None),
    bad_image=(400, "Client specified an invalid argument", None),
    url_too_large=(400, "Client specified an invalid argument", None),
    unsupported=(400, "Client specified an invalid argument", None),
    moderated=(400, "Client specified an invalid argument", None),
    unknown_model=(404, "Some requested entity was not found", None),
)


@cache
def get_dialect(name: str) -> Dialect:
    """A dialect by name. Sizes, lengths and languages are those of the provider docs."""
    return {
        "local": Dialect(
            "local", _ALL_FORMATS, _AUDIO_EXTENSIONS | {"mp4", "mpeg", "mpga", "oga"}, _TOGETHER_ERRORS, 1024 * _MIB,
            url_fields=("file", "url"), takes_auto_language=True, takes_diarize=True, strict=False, reports_usage=True,
            streams_transcription=True,
        ),
        "together": Dialect(
            "together", _JSON_FORMATS, _AUDIO_EXTENSIONS, _TOGETHER_ERRORS, 80 * _MIB, max_seconds=4 * 3600.0,
            url_fields=("file",), takes_auto_language=True, takes_diarize=True,
        ),
        "openai": Dialect(
            "openai", _ALL_FORMATS, _OPENAI_EXTENSIONS, _OPENAI_ERRORS,
            25 * _MIB, language_style="name", whole_seconds=True, reports_usage=True, segment_stats=True,
            streams_transcription=True,
        ),
        "groq": Dialect(
            "groq", _JSON_FORMATS | {"text"}, _GROQ_EXTENSIONS,
            _make_error_formats(), 25 * _MIB, 100 * _MIB, url_fields=("url",), language_style="title",
            min_seconds=Decimal(10), segment_stats=True,
        ),
        "compatible": Dialect(
            "compatible", _ALL_FORMATS, _AUDIO_EXTENSIONS | {"mp4", "mpeg", "mpga", "oga"}, _VLLM_ERRORS, 25 * _MIB,
            strict=False, reports_usage=True, segment_stats=True, streams_transcription=True,
        ),
        "cohere": Dialect("cohere", frozenset({"json"}), frozenset(), _COHERE_ERRORS, 0),
        "xai": Dialect(
            "xai", frozenset({"json"}), _AUDIO_EXTENSIONS | {"mp4", "mkv"}, _XAI_ERRORS, 500 * _MIB,
            url_fields=("url",), takes_diarize=True, strict=False,
        ),
    }[name]  # fmt: skip
