"""Specs of images and videos: everything that decides a file's bytes, and nothing else."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from mediamill.tasks.local.server.api_error import ApiError

MAX_PROMPT_CHARS = 240
"""Characters of a prompt that are rendered; a job keeps no more of it."""

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
_MAX_SIDE = 4096
MIME_TYPES = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "webm": "video/webm",
}


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """An image of ``width`` by ``height`` pixels; ``form`` is its format: png, jpeg or webp."""

    words: str
    seed: int
    width: int
    height: int
    form: str

    @property
    def name(self) -> str:
        """Its file's name: the same for the same image."""
        return _make_file_name(repr(self), self.form)


@dataclass(frozen=True, slots=True)
class VideoSpec:
    """A video of ``width`` by ``height`` pixels; ``form`` is its format: mp4 or webm."""

    words: str
    seed: int
    width: int
    height: int
    seconds: int
    fps: int
    form: str

    @property
    def name(self) -> str:
        """Its file's name: the same for the same video."""
        return _make_file_name(repr(self), self.form)


def hash_prompt(text: str, seed: int) -> int:
    """A 64-bit hash of a prompt and its seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{text}".encode("utf-8", "replace")).digest()[:8], "big")


def _make_file_name(description: str, form: str) -> str:
    return f"{hashlib.sha256(description.encode('utf-8', 'replace')).hexdigest()[:32]}.{form}"


def parse_size(value: object) -> tuple[int, int]:
    """Width and height in pixels from a text such as ``640x360``.

    Raises:
        ApiError: when it is not such a text.
    """
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not all(0 < int(side) <= _MAX_SIDE for side in match.groups()):
        raise ApiError("bad_value", f"size must be like 1024x1024, at most {_MAX_SIDE} each way", param="size")
    return int(match[1]), int(match[2])
