"""What requests for pictures and videos have in common: fields and how they are checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any, cast

import orjson

from mediamill.tasks.local.server.api_error import Refusal

INPUTS = (
    *("prompt", "image", "images", "image_url", "reference_images", "frame_images", "media", "last_frame"),
    *("keyframes", "input_reference"),
)
"""Fields that hold what is drawn, rather than how."""

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
_RATIO = re.compile(r"(\d{1,3}):(\d{1,3})", re.ASCII)
_MOST_SIDE = 4096
RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")


def hashes(told: Mapping[str, Any]) -> tuple[str, str]:
    """Of the prompt and the inputs, and of everything else."""
    inputs = {name: told[name] for name in INPUTS if name in told}
    rest = {name: value for name, value in told.items() if name not in INPUTS}
    return _hash(inputs), _hash(rest)


def _hash(told: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()


def text(told: Mapping[str, Any], name: str) -> str:
    """A field that must be there.

    Raises:
        Refusal: when it is not, or is no text.
    """
    value = words(told, name)
    if not value:
        raise Refusal("missing_field", f"Missing required parameter: '{name}'.", param=name)
    return value


def words(told: Mapping[str, Any], name: str) -> str | None:
    """A field that may be left out.

    Raises:
        Refusal: when it is no text.
    """
    value = told.get(name)
    if value is not None and not isinstance(value, str):
        raise Refusal("bad_value", f"{name} must be a string", param=name)
    return value


def whole(told: Mapping[str, Any], name: str, least: int | None = None, most: int | None = None) -> int | None:
    """A whole number, where it is given.

    Raises:
        Refusal: when it is none, or out of its range.
    """
    value = told.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise Refusal("bad_value", f"{name} must be an integer", param=name)
    if (least is not None and value < least) or (most is not None and value > most):
        raise Refusal("bad_value", f"{name} must be between {least} and {most}", param=name)
    return value


def number(told: Mapping[str, Any], name: str) -> None:
    """A field that must be a number where it is given.

    Raises:
        Refusal: when it is none.
    """
    value = told.get(name)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise Refusal("bad_value", f"{name} must be a number", param=name)


def flag(told: Mapping[str, Any], name: str) -> None:
    """A field that must be true or false where it is given.

    Raises:
        Refusal: when it is neither.
    """
    if not isinstance(told.get(name, False), bool | None):
        raise Refusal("bad_value", f"{name} must be a boolean", param=name)


def choice(told: Mapping[str, Any], name: str, allowed: Collection[str], ordinary: str) -> str:
    """One of a few words.

    Raises:
        Refusal: for another one.
    """
    value = told.get(name)
    if value is None:
        return ordinary
    if not isinstance(value, str) or value not in allowed:
        raise Refusal("bad_value", f"{name} must be one of {', '.join(sorted(allowed))}", param=name)
    return value


def urls(told: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts that are not empty.

    Raises:
        Refusal: when it is none.
    """
    value = told.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise Refusal("bad_value", f"{name} must be a list of URLs", param=name)
    return value


def objects(told: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A list of objects.

    Raises:
        Refusal: when it is none.
    """
    value = told.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Refusal("bad_value", f"{name} must be a list of objects", param=name)
    return cast("list[Mapping[str, Any]]", value)


def sized(told: object) -> tuple[int, int]:
    """Width and height of a text such as ``640x360``.

    Raises:
        Refusal: when it is no such text.
    """
    found = _SIZE.fullmatch(told) if isinstance(told, str) else None
    if found is None or not all(0 < int(side) <= _MOST_SIDE for side in found.groups()):
        raise Refusal("bad_value", f"size must be like 1024x1024, at most {_MOST_SIDE} each way", param="size")
    return int(found[1]), int(found[2])


def shaped(short: int, ratio: str, name: str, step: int = 2) -> tuple[int, int]:
    """Width and height of a ratio such as ``16:9``, the shorter side given, in steps of so many pixels.

    Raises:
        Refusal: when it is no ratio.
    """
    found = _RATIO.fullmatch(ratio)
    across, down = (int(found[1]), int(found[2])) if found else (0, 0)
    if not across or not down or max(across, down) > 4 * min(across, down):
        raise Refusal("bad_value", f"{name} must be like 16:9", param=name)
    long = round(short * max(across, down) / min(across, down) / step) * step
    return (long, short) if across >= down else (short, long)
