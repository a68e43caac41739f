"""What requests for images and videos have in common: how their body is read, and how their fields are checked."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any, cast

from mediamill.tasks.local.server.api_error import ApiError
from mediamill.tasks.local.server.dialects import Dialect
from mediamill.tasks.local.server.multipart_form import parse_form
from mediamill.tasks.local.server.request_body import RequestBody, hash_json
from mediamill.tasks.local.server.server_state import RequestContext, ServerState

_MAX_BYTES = 64 * 1024 * 1024
_LARGE_BYTES = 1 << 20
_INPUT_FIELDS = (
    *("prompt", "image", "images", "image_url", "reference_images", "frame_images", "media", "last_frame"),
    *("keyframes", "input_reference"),
)
"""Fields that hold what is drawn, rather than how."""

_RATIO = re.compile(r"(\d{1,3}):(\d{1,3})", re.ASCII)
RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")


def max_media_bytes(state: ServerState, _: Dialect) -> int:
    """Longest body of a request for images or videos."""
    return state.settings.max_bytes or _MAX_BYTES


async def read_media_request(state: ServerState, context: RequestContext) -> Any:
    """The request's fields, or the ``ApiError`` why it has none; files of a form stand as their hashes.

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
    """The request is a form, as OpenAI's are."""
    return context.request.headers.get("Content-Type", "").lower().startswith("multipart/")


def _read_media_body(body: RequestBody, content_type: str) -> tuple[Any, tuple[str, str | None, str | None]]:
    try:
        fields = (
            _parse_form_body(body, content_type) if content_type.lower().startswith("multipart/") else body.parse_json()
        )
    except ApiError as api_error:
        fields = api_error
    return fields, (body.sha256(), *(_hash_media_fields(fields) if isinstance(fields, dict) else (None, None)))


def _parse_form_body(body: RequestBody, content_type: str) -> dict[str, Any]:
    form = parse_form(body.data, content_type)
    fields: dict[str, Any] = {name: values[-1] for name, values in form.fields.items()}
    with memoryview(body.data) as view:
        for name, part in form.files.items():
            fields[name] = hashlib.sha256(view[part.start : part.end]).hexdigest()
    return fields


def _hash_media_fields(fields: Mapping[str, Any]) -> tuple[str, str]:
    """Of the prompt and the inputs, and of everything else."""
    inputs = {name: fields[name] for name in _INPUT_FIELDS if name in fields}
    rest = {name: value for name, value in fields.items() if name not in _INPUT_FIELDS}
    return hash_json(inputs), hash_json(rest)


def read_required_text(fields: Mapping[str, Any], name: str) -> str:
    """A field that must be there.

    Raises:
        ApiError: when it is not, or is no text.
    """
    value = read_optional_text(fields, name)
    if not value:
        raise ApiError("missing_field", f"Missing required parameter: '{name}'.", param=name)
    return value


def read_optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    """A field that may be left out.

    Raises:
        ApiError: when it is no text.
    """
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise ApiError("bad_value", f"{name} must be a string", param=name)
    return value


def read_optional_integer(
    fields: Mapping[str, Any], name: str, minimum: int | None = None, maximum: int | None = None
) -> int | None:
    """A whole number, where it is given.

    Raises:
        ApiError: when it is none, or out of its range.
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
    """A field that must be a number where it is given.

    Raises:
        ApiError: when it is none.
    """
    value = fields.get(name)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise ApiError("bad_value", f"{name} must be a number", param=name)


def check_boolean(fields: Mapping[str, Any], name: str) -> None:
    """A field that must be true or false where it is given.

    Raises:
        ApiError: when it is neither.
    """
    if not isinstance(fields.get(name, False), bool | None):
        raise ApiError("bad_value", f"{name} must be a boolean", param=name)


def read_choice(fields: Mapping[str, Any], name: str, allowed: Collection[str], default: str) -> str:
    """One of a few words.

    Raises:
        ApiError: for another one.
    """
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, str) or value not in allowed:
        raise ApiError("bad_value", f"{name} must be one of {', '.join(sorted(allowed))}", param=name)
    return value


def read_url_list(fields: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts that are not empty.

    Raises:
        ApiError: when it is none.
    """
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ApiError("bad_value", f"{name} must be a list of URLs", param=name)
    return value


def read_object_list(fields: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A list of objects.

    Raises:
        ApiError: when it is none.
    """
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ApiError("bad_value", f"{name} must be a list of objects", param=name)
    return cast("list[Mapping[str, Any]]", value)


def compute_size(short_side: int, ratio: str, name: str, step: int = 2) -> tuple[int, int]:
    """Width and height of a ratio such as ``16:9``, the shorter side given, in steps of so many pixels.

    Raises:
        ApiError: when it is no ratio.
    """
    match = _RATIO.fullmatch(ratio)
    across, down = (int(match[1]), int(match[2])) if match else (0, 0)
    if not across or not down or max(across, down) > 4 * min(across, down):
        raise ApiError("bad_value", f"{name} must be like 16:9", param=name)
    long_side = round(short_side * max(across, down) / min(across, down) / step) * step
    return (long_side, short_side) if across >= down else (short_side, long_side)
