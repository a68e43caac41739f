"""The text in a picture as a part of its description: a quick look, and what is surely read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediamill.tasks.local.asr_engines.worker_pool import WorkerDied
from mediamill.tasks.local.ocr.base import join_lines
from mediamill.tasks.local.server.api_error import ApiError

if TYPE_CHECKING:
    from mediamill.tasks.local.ocr.engine import OcrEngine

_MAX_SIDE = 1280
_MIN_CONFIDENCE = 0.6
_MAX_CHARS = 2000


async def read_description_text(engine: OcrEngine, data: bytes) -> str | None:
    """The text on one line, cut after 2000 characters; None where there is none.

    Args:
        engine: it reads.
        data: an encoded picture, which was decoded before.

    Raises:
        ApiError: when the process that read it ended.
    """
    try:
        page = await engine.read(data, _MAX_SIDE)
    except WorkerDied as error:
        raise ApiError("failed", f"Processing failed: {error}") from None
    sure = tuple(line for line in page.lines if line.confidence >= _MIN_CONFIDENCE)
    return " ".join(join_lines(sure).split())[:_MAX_CHARS] or None
