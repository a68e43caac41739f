"""A text file line by line, with a bound on each: one endless line must not fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

MAX_LINE = 4 * 2**20
"""Longest line, in characters or bytes."""

BOM = b"\xef\xbb\xbf"


def read_lines(file: IO[bytes], limit: int = MAX_LINE) -> Iterator[tuple[int, bytes, str | None]]:
    """Number from 1, bytes with the line end, and what is wrong with it.

    A line over ``limit`` comes empty with its problem, and is passed over without being held. A UTF-8
    byte order mark at the start is dropped.
    """
    number = 0
    while True:
        line = file.readline(limit + 2)
        if not line:
            return
        number += 1
        problem = None
        if len(line) >= limit + 2 and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(limit)
            line, problem = b"", f"the line is longer than {limit:,} bytes"
        if number == 1:
            line = line.removeprefix(BOM)
        yield number, line, problem
