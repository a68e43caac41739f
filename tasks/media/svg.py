"""SVG of others as pictures: no scripts, nothing that is loaded from elsewhere, and a bounded size."""

from __future__ import annotations

import re
from typing import Any
from xml.parsers import expat

from mediamill.tasks.errors import BadInput

MAX_SVG_BYTES = 10_000_000
_MAX_DEPTH = 200
"""Nested elements; the filter indents each, so that its output grows with the square of them."""
_KEPT_DATA = {"image": ["png", "jpeg", "gif", "webp"]}
"""Types of pictures that may be embedded: none of them can hold another document."""
_REFERENCE = re.compile(
    rb"""(?:\bhref\s*=\s*["']|url\s*\()\s*["']?(?!\#|data:image/(?:png|jpeg|gif|webp)[;,])""", re.IGNORECASE
)


def clean_svg(data: bytes) -> bytes:
    """The SVG as UTF-8, without scripts, events, embedded documents and links, and with references to itself only.

    Raises:
        BadInput: ``undecodable`` when it is no SVG, is too large or too deep, declares entities, or still refers to
            something elsewhere.
    """
    from py_svg_hush import filter_svg

    if len(data) > MAX_SVG_BYTES:
        raise _refuse(f"larger than {MAX_SVG_BYTES // 1_000_000} MB")
    _check_structure(data)
    try:
        cleaned: bytes = filter_svg(data, _KEPT_DATA)
    except ValueError:
        raise _refuse("not an SVG") from None
    if b"<svg" not in cleaned:
        raise _refuse("not an SVG")
    if _REFERENCE.search(cleaned) or b"\\" in cleaned:  # a backslash can spell any name in a style
        raise _refuse("it refers to something outside of itself")
    return cleaned


def _check_structure(data: bytes) -> None:
    """Refuse entities, which can grow without bound, and deep nesting, before anything builds a tree."""
    depth = 0

    def on_start(_: str, __: Any) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise _refuse(f"more than {_MAX_DEPTH} elements in each other")

    def on_end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def on_entity(*_: Any) -> None:
        raise _refuse("it declares entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = on_start, on_end
    parser.EntityDeclHandler = on_entity
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError):
        raise _refuse("not an SVG") from None


def _refuse(reason: str) -> BadInput:
    return BadInput(f"the SVG is not kept: {reason}", kind="undecodable")
