"""What one evaluation may use, and the error when it fails or would use more."""

from __future__ import annotations

MAX_CPU_SECONDS = 5.0
MAX_WALL_SECONDS = 25.0
"""Ends a worker that gets no processor time, as on a machine that swaps."""
MAX_MEMORY_BYTES = 256 * 2**20
MAX_RENDERED_CHARACTERS = 16_000_000

CPU_MESSAGE = f"it takes more than {MAX_CPU_SECONDS:.0f} s of processor time"
WALL_MESSAGE = f"it takes longer than {MAX_WALL_SECONDS:.0f} s"
MEMORY_MESSAGE = f"it needs more than {MAX_MEMORY_BYTES // 2**20} MB of memory"
SIZE_MESSAGE = f"it gives more than {MAX_RENDERED_CHARACTERS // 10**6} million characters"
DEPTH_MESSAGE = "it is nested too deep"

_MAX_MESSAGE_CHARACTERS = 1000

LIMIT_KIND = "over_limit"
"""The ``error_kind`` of an item whose evaluation would exceed a limit."""


class WorkFailed(Exception):
    """An evaluation failed.

    Attributes:
        kind: ``over_limit``, or a word of the function that failed.
        message: one line.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = " ".join(message.split())[:_MAX_MESSAGE_CHARACTERS] or "it failed without a reason"
