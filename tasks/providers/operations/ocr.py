"""OCR: a picture to its text, in the form of Mistral's API (provider docs); lines and boxes where a reply has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from mediamill.tasks.domain import JSON, Ask, Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.media.images.prepare import ImageLimits
from mediamill.tasks.money.per_unit import UnitMeter
from mediamill.tasks.providers.operations.base import ModelFacts, Operation, OperationConfig, to_parsed
from mediamill.tasks.providers.operations.payload_url import to_payload_url
from mediamill.tasks.providers.operations.reply_json import decode_reply, to_mapping
from mediamill.tasks.wire import Parsed, Reply, Request, Wire

OCR = "ocr"
"""The operation's name, also in price lists."""

_TIMEOUT_SECONDS = 600.0
_CORNERS = 4


class OcrModel(ModelFacts):
    """A model that reads text in pictures, and which pictures it takes (provider docs)."""

    formats: frozenset[str] = frozenset({"jpeg", "png", "webp", "gif"})
    max_bytes: int = Field(default=20_000_000, gt=0, description="maximum number of bytes of a picture")
    max_pixels: int | None = Field(default=None, gt=0, description="maximum number of its pixels")
    max_side: int | None = Field(default=None, gt=0, description="longest side that the model can use, in pixels")
    max_short_side: int | None = Field(
        default=None, gt=0, description="shorter side that the model can use of pages longer than max_side, in pixels"
    )
    takes_urls: bool = Field(default=True, description="fetches pictures itself")

    def image_limits(self) -> ImageLimits:
        """What a picture must keep to."""
        return ImageLimits(self.formats, self.max_bytes, self.max_pixels, self.max_short_side)

    def abilities(self) -> tuple[str, ...]:
        """That it reads text."""
        return ("text in pictures",)


class OcrConfig(OperationConfig[OcrModel]):
    """An endpoint that reads text in pictures."""


class OcrOperation(Operation[OcrConfig, OcrModel]):
    """``POST /ocr`` with one picture, the Ask's input."""

    config_model = OcrConfig
    facts_model = OcrModel
    meter = UnitMeter()

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the model; the picture is put in when the request is built."""
        body: dict[str, JSON] = {"model": ask.model}
        return Wire(self.provider.key_origin(ask.model), self.path, body, timeout=_TIMEOUT_SECONDS)

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The body with the picture as a URL."""
        url = to_payload_url(asks[0].inputs[0].payload)
        document: dict[str, JSON] = {"type": "image_url", "image_url": url}
        return Request("POST", wire.path, json={**wire.params, "document": document})

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """``text``, ``lines`` or None, ``width``, ``height`` and ``angle`` or None.

        Raises:
            BadReply: when it has no page with text, or a line is no line.
        """
        pages = to_mapping(decode_reply(reply.body)).get("pages")
        page = pages[0] if isinstance(pages, list) and pages and isinstance(pages[0], dict) else {}
        if not isinstance(page.get("markdown"), str):
            raise BadReply("the reply holds no page with text")
        size = page.get("dimensions")
        size = size if isinstance(size, dict) else {}
        data = {
            "text": page["markdown"],
            "lines": _parse_lines(page.get("lines")),
            "width": _to_count(size.get("width")),
            "height": _to_count(size.get("height")),
            "angle": page.get("angle") if _is_number(page.get("angle")) else None,
        }
        return [to_parsed(reply, data, Usage(requests=1))]


def _parse_lines(lines: Any) -> list[dict[str, Any]] | None:
    """The lines in reading order; None where the reply tells none."""
    if lines is None:
        return None
    if not isinstance(lines, list):
        raise BadReply("the lines of the page are no list")
    return [_parse_line(line) for line in lines]


def _parse_line(line: Any) -> dict[str, Any]:
    fields: Mapping[str, Any] = line if isinstance(line, dict) else {}
    corners = fields.get("corners")
    is_quad = isinstance(corners, list) and len(corners) == _CORNERS and all(map(_is_point, corners))
    confidence = fields.get("confidence")
    if not isinstance(fields.get("text"), str) or not is_quad or not (confidence is None or _is_number(confidence)):
        raise BadReply("a line of the page has no text, no four corners, or a confidence that is no number")
    return {
        "text": fields["text"],
        "confidence": confidence,
        "corners": corners,
        "row": _to_count(fields.get("row")),
        "block": _to_count(fields.get("block")),
    }


def _is_point(corner: Any) -> bool:
    return isinstance(corner, list) and len(corner) == 2 and all(map(_is_number, corner))  # noqa: PLR2004


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _to_count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
