"""A text file line by line, with a bound on each: one endless line must not fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

MAX_LINE_BYTES = 4 * 2**20
"""Longest line, in characters or bytes."""

BOM = b"\xef\xbb\xbf"


def read_lines(file: IO[bytes], max_bytes: int = MAX_LINE_BYTES) -> Iterator[tuple[int, bytes, str | None]]:
    """Number from 1, bytes with the line end, and what is wrong with it.

    A line over ``limit`` comes empty with its problem, and is passed over without being held. A UTF-8
    byte order mark at the start is dropped.
    """
    number = 0
    while True:
        line = file.readline(max_bytes + 2)
        if not line:
            return
        number += 1
        problem = None
        if len(line) >= max_bytes + 2 and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(max_bytes)
            line, problem = b"", f"the line is longer than {max_bytes:,} bytes"
        if number == 1:
            line = line.removeprefix(BOM)
        yield number, line, problem
