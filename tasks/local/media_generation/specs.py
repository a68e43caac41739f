"""What is drawn: everything that decides a file's bytes, and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

MOST_WORDS = 240
"""Characters of a prompt that are drawn; a job keeps no more of it."""

MIMES = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "webm": "video/webm",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of ``width`` by ``height`` pixels; ``form`` is png, jpeg or webp."""

    words: str
    seed: int
    width: int
    height: int
    form: str

    @property
    def name(self) -> str:
        """Of its file: the same for the same picture."""
        return _name(repr(self), self.form)


@dataclass(frozen=True, slots=True)
class Clip:
    """A video of ``width`` by ``height`` pixels and ``seconds`` at ``fps`` frames each; ``form`` is mp4 or webm."""

    words: str
    seed: int
    width: int
    height: int
    seconds: int
    fps: int
    form: str

    @property
    def name(self) -> str:
        """Of its file: the same for the same video."""
        return _name(repr(self), self.form)


def digest(words: str, seed: int) -> int:
    """A number that stands for a prompt and its seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}\0{words}".encode("utf-8", "replace")).digest()[:8], "big")


def _name(told: str, form: str) -> str:
    return f"{hashlib.sha256(told.encode('utf-8', 'replace')).hexdigest()[:32]}.{form}"
