"""Replies of OCR: those with text alone, those with lines, and those that are none."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from mediamill.tasks.errors import BadReply
from mediamill.tasks.wire import Reply
from tests.providers.builders import build_ask, build_provider

_CORNERS = [[0, 0], [9, 0], [9, 5], [0, 5]]
_LINE = {"text": "Exit", "confidence": 0.9, "corners": _CORNERS, "row": 0, "block": 0}


def parse(body: Any) -> Any:
    operation = build_provider("local").operation("ocr")
    reply = Reply(200, {}, orjson.dumps(body))
    return operation.parse(reply, [build_ask("ocr", "rapidocr")])[0].data


def test_a_reply_with_text_alone_has_no_lines_and_no_angle() -> None:
    data = parse({"pages": [{"index": 0, "markdown": "Exit"}]})
    assert data == {"text": "Exit", "lines": None, "width": None, "height": None, "angle": None}


def test_lines_keep_their_boxes_and_confidences() -> None:
    size = {"width": 20, "height": 10, "dpi": None}
    data = parse({"pages": [{"markdown": "Exit", "dimensions": size, "angle": -90.0, "lines": [_LINE]}]})
    assert data == {"text": "Exit", "lines": [_LINE], "width": 20, "height": 10, "angle": -90.0}


@pytest.mark.parametrize(
    "page",
    [None, {}, {"markdown": 5}, {"markdown": "a", "lines": "b"}]
    + [
        {"markdown": "a", "lines": [{**_LINE, **wrong}]}
        for wrong in ({"text": None}, {"corners": [[1]]}, {"confidence": "x"})
    ],
)
def test_what_is_no_page_is_no_reply(page: Any) -> None:
    with pytest.raises(BadReply):
        parse({"pages": [] if page is None else [page]})
