"""What image and video requests have in common: reading their body and checking their fields."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any, cast

from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.multipart_form import parse_form
from mediamill.tasks.local.server.request_body import ReceivedBody, hash_json
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_MAX_BYTES = 64 * 1024 * 1024
_LARGE_BYTES = 1 << 20
_INPUT_FIELDS = (
    *("prompt", "image", "images", "image_url", "reference_images", "frame_images", "media", "last_frame"),
    *("keyframes", "input_reference"),
)
"""Fields with the prompt and the inputs; the others are settings."""

_RATIO = re.compile(r"(\d{1,3}):(\d{1,3})", re.ASCII)
RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")


def get_max_media_bytes(state: ServerState, _: Dialect) -> int:
    """Largest body of a request for images or videos, in bytes."""
    return state.settings.max_bytes or _MAX_BYTES


async def read_media_request(state: ServerState, context: RequestContext) -> Any:
    """Read the request's fields, or the ``ApiError`` why there are none; a form's files are replaced by their hashes.

    Large bodies are read in a thread.
    """
    call, body = context.call, context.body
    content_type = context.request.headers.get("Content-Type", "")
    if len(body.data) <= _LARGE_BYTES:
        fields, hashes = _read_media_body(body, content_type)
    else:
        loop = asyncio.get_running_loop()
        fields, hashes = await loop.run_in_executor(
            state.generation.files.threads, _read_media_body, body, content_type
        )
    call.body_sha256, call.file_sha256, call.params_sha256 = hashes
    if isinstance(fields, dict) and isinstance(fields.get("model"), str):
        call.model = fields["model"]
    return fields


def is_multipart(context: RequestContext) -> bool:
    """The request is a multipart form, as OpenAI's are."""
    return context.request.headers.get("Content-Type", "").lower().startswith("multipart/")


def _read_media_body(body: ReceivedBody, content_type: str) -> tuple[Any, tuple[str, str | None, str | None]]:
    try:
        fields = (
            _parse_form_body(body, content_type) if content_type.lower().startswith("multipart/") else body.parse_json()
        )
    except ApiError as api_error:
        fields = api_error
    return fields, (body.compute_sha256(), *(_hash_media_fields(fields) if isinstance(fields, dict) else (None, None)))


def _parse_form_body(body: ReceivedBody, content_type: str) -> dict[str, Any]:
    form = parse_form(body.data, content_type)
    fields: dict[str, Any] = {name: values[-1] for name, values in form.fields.items()}
    with memoryview(body.data) as view:
        for name, part in form.files.items():
            fields[name] = hashlib.sha256(view[part.start : part.end]).hexdigest()
    return fields


def _hash_media_fields(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Hashes of the prompt and inputs, and of all other fields."""
    inputs = {name: fields[name] for name in _INPUT_FIELDS if name in fields}
    rest = {name: value for name, value in fields.items() if name not in _INPUT_FIELDS}
    return hash_json(inputs), hash_json(rest)


def read_required_text(fields: Mapping[str, Any], name: str) -> str:
    """Read a required text.

    Raises:
        ApiError: when it is missing, empty, or not a text.
    """
    value = read_optional_text(fields, name)
    if not value:
        raise ApiError("missing_field", f"Missing required parameter: '{name}'.", param=name)
    return value


def read_optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    """Read an optional text.

    Raises:
        ApiError: when it is not a text.
    """
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise ApiError("bad_value", f"{name} must be a string", param=name)
    return value


def read_optional_integer(
    fields: Mapping[str, Any], name: str, minimum: int | None = None, maximum: int | None = None
) -> int | None:
    """Read an optional integer.

    Raises:
        ApiError: when it is not an integer, or out of its range.
    """
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ApiError("bad_value", f"{name} must be an integer", param=name)
    if (minimum is not None and value < minimum) or (maximum is not None and value > maximum):
        raise ApiError("bad_value", f"{name} must be between {minimum} and {maximum}", param=name)
    return value


def check_number(fields: Mapping[str, Any], name: str) -> None:
    """Check that a field, when given, is a number.

    Raises:
        ApiError: when it is not a number.
    """
    value = fields.get(name)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise ApiError("bad_value", f"{name} must be a number", param=name)


def check_boolean(fields: Mapping[str, Any], name: str) -> None:
    """Check that a field, when given, is true or false.

    Raises:
        ApiError: when it is neither.
    """
    if not isinstance(fields.get(name, False), bool | None):
        raise ApiError("bad_value", f"{name} must be a boolean", param=name)


def read_choice(fields: Mapping[str, Any], name: str, allowed: Collection[str], default: str) -> str:
    """Read a field that must be one of the allowed words; ``default`` when it is missing.

    Raises:
        ApiError: for any other value.
    """
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or value not in allowed:
        raise ApiError("bad_value", f"{name} must be one of {', '.join(sorted(allowed))}", param=name)
    return value


def read_url_list(fields: Mapping[str, Any], name: str) -> list[str]:
    """Read a list of URLs, which are texts that are not empty; an empty list when it is missing.

    Raises:
        ApiError: when it is not such a list.
    """
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ApiError("bad_value", f"{name} must be a list of URLs", param=name)
    return value


def read_object_list(fields: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Read a list of objects; an empty list when it is missing.

    Raises:
        ApiError: when it is not such a list.
    """
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ApiError("bad_value", f"{name} must be a list of objects", param=name)
    return cast("list[Mapping[str, Any]]", value)


def compute_size(short_side: int, ratio: str, name: str, step: int = 2) -> tuple[int, int]:
    """Width and height for a ratio such as ``16:9``, from the shorter side; the longer one is a multiple of ``step``.

    Raises:
        ApiError: when it is not a ratio, or is above 4:1.
    """
    match = _RATIO.fullmatch(ratio)
    across, down = (int(match[1]), int(match[2])) if match else (0, 0)
    if not across or not down or max(across, down) > 4 * min(across, down):
        raise ApiError("bad_value", f"{name} must be like 16:9", param=name)
    long_side = round(short_side * max(across, down) / min(across, down) / step) * step
    return (long_side, short_side) if across >= down else (short_side, long_side)
