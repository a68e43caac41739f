"""Reads a text file line by line, with a maximum length: one endless line must not fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

MAX_LINE_BYTES = 4 * 2**20

BOM = b"\xef\xbb\xbf"


def read_lines(file: IO[bytes], max_bytes: int = MAX_LINE_BYTES) -> Iterator[tuple[int, bytes, str | None]]:
    """Each line's number from 1, its bytes with the line end, and its problem, if any.

    A line over ``max_bytes`` is skipped without being held in memory, and yielded empty with its problem. A UTF-8
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
