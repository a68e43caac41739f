"""The Range header (RFC 9110)."""

from __future__ import annotations

import re

_RANGE = re.compile(r"bytes=(\d{0,30})-(\d{0,30})", re.ASCII)


def parse_range(told: str, size: int) -> range | None:
    """The bytes that are asked for: empty when there are none such, None when all of the file is to be sent.

    Several ranges in one header are answered with the whole file, as a server may.
    """
    found = _RANGE.fullmatch(told.strip().replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(size, int(last) + 1) if last else size)
