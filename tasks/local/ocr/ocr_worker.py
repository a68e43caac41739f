"""What a worker of the OCR engine does: loads the models once, finds lines, turns the page upright, reads them."""

from __future__ import annotations

import os
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias

from mediamill.tasks.local.ocr.bands import cut_bands, fit_scale, merge_bands
from mediamill.tasks.local.ocr.base import PageText, TextLine
from mediamill.tasks.local.ocr.page_angle import measure_line_angle, order_corners, turn_upright
from mediamill.tasks.local.ocr.reading_order import Box, order_lines

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from mediamill.tasks.local.ocr.base import Quads

    Pixels: TypeAlias = npt.NDArray[np.uint8]
    """Blue, green and red: (rows, columns, 3)."""

_MAX_SIDE = 2048
"""Longest side at which a page is read, in pixels: of A4 that is 175 dots per inch. Longer ones are read in bands."""
_MAX_DETECTOR_SIDE = 1280
"""Longest side at which lines are looked for; they are read in the larger picture."""
_TRIAL_LINES = 4
"""Lines that are read both ways up, to see which is right."""
_TRIAL_ASPECT = 12
_FEW_CHARACTERS = 10
"""With fewer on white a transparent picture is read on black too."""
_TALL = 1.5
"""A box that is so much taller than wide stands across the page's direction."""


def read_page(data: bytes, threads: int, max_side: int | None = None) -> PageText:
    """The text of an encoded picture, which the caller has checked. Its EXIF orientation is applied.

    Args:
        data: a picture in a format that Pillow opens.
        threads: how many the models may use.
        max_side: the longest side at which it is read, in pixels; None for the best result. Pages that are longer than
            paper is are read as wide as a sheet of that length.
    """
    model = _load_model(threads)
    side = max_side or _MAX_SIDE
    picture, size, scale = _decode(data, side)
    page = _read_pixels(model, _to_pixels(picture, "white"), size, scale, side)
    if picture.mode == "RGBA" and _count_sure_characters(page) < _FEW_CHARACTERS:
        on_black = _read_pixels(model, _to_pixels(picture, "black"), size, scale, side)
        if _count_sure_characters(on_black) > _count_sure_characters(page):
            return on_black
    return page


def _read_pixels(model: Any, pixels: Pixels, size: tuple[int, int], scale: float, max_side: int) -> PageText:
    quads = _find_all_lines(model, pixels, max_side)
    if not len(quads):
        return PageText(*size, None, ())
    angle, quads = _turn_page(model, pixels, quads)
    read = [_read_line(model, pixels, quad) for quad in quads]
    kept = [n for n, (text, _) in enumerate(read) if text]
    upright = turn_upright(quads, angle)
    boxes = [Box(n, *upright[n].min(axis=0).tolist(), *upright[n].max(axis=0).tolist()) for n in kept]
    lines = tuple(
        TextLine(*read[each.index], _to_corners(quads[each.index] * scale, size), each.row, each.block)
        for each in order_lines(boxes)
    )
    return PageText(*size, round(angle, 1) if lines else None, lines)


def _count_sure_characters(page: PageText) -> float:
    """Characters, each weighed by its line's confidence."""
    return sum(len(line.text) * line.confidence for line in page.lines)


@cache
def _load_model(threads: int) -> Any:
    """RapidOCR with the models of its wheel: their paths are given, so that it never looks for them elsewhere."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    import cv2
    from rapidocr import RapidOCR

    from mediamill.tasks.system.ocr_models import find_ocr_models

    cv2.setNumThreads(threads)
    models = find_ocr_models()
    return RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.max_side_len": _MAX_SIDE,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.model_path": str(models.detector),
            "Det.limit_type": "max",
            "Det.limit_side_len": _MAX_DETECTOR_SIDE,
            "Rec.model_path": str(models.recogniser),
            "Rec.rec_batch_num": 1,  # a line's text does not depend on the lines beside it
        }
    )


def _decode(data: bytes, max_side: int) -> tuple[Image, tuple[int, int], float]:
    """The picture as it is read, RGBA where some of it is transparent; its own size, and how much larger that is."""
    from PIL import Image, ImageOps

    with Image.open(BytesIO(data)) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            if image.getchannel("A").getextrema() == (255, 255):
                image = image.convert("RGB")
        else:
            image = image.convert("RGB")
    size = image.size
    scale = fit_scale(*size, max_side)
    if scale > 1:
        smaller = max(1, round(size[0] / scale)), max(1, round(size[1] / scale))
        image = image.resize(smaller, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return image, size, scale


def _to_pixels(image: Image, ground: str) -> Pixels:
    """The picture on a ground, where some of it is transparent."""
    import numpy as np
    from PIL import Image

    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")
    return np.ascontiguousarray(np.asarray(image)[:, :, ::-1])


def _find_all_lines(model: Any, pixels: Pixels, max_side: int) -> Quads:
    """The boxes of all lines; a long page is looked at in bands."""
    height, width = pixels.shape[:2]
    bands = cut_bands(width, height, max_side)
    if len(bands) == 1:
        return _find_lines(model, pixels)
    found = []
    for band in bands:
        part = pixels[band.start : band.stop] if band.axis else pixels[:, band.start : band.stop]
        quads = _find_lines(model, part)
        quads[..., band.axis] += band.start
        found.append(quads)
    return merge_bands(bands, found, (width, height))


def _find_lines(model: Any, pixels: Pixels) -> Quads:
    import numpy as np

    found = model(np.ascontiguousarray(pixels), use_det=True, use_cls=False, use_rec=False)
    boxes = [] if found.boxes is None else found.boxes
    return np.array(boxes, dtype=np.float32).reshape(-1, 4, 2)


def _turn_page(model: Any, pixels: Pixels, quads: Quads) -> tuple[float, Quads]:
    """The page's angle, and the corners in the order of the text."""
    angle = measure_line_angle(quads)
    ways = [(way, order_corners(quads, way)) for way in (angle, angle - 180 if angle > 0 else angle + 180)]
    sureness = [_try_reading(model, pixels, ordered) for _, ordered in ways]
    return ways[0] if sureness[0] >= sureness[1] else ways[1]


def _try_reading(model: Any, pixels: Pixels, quads: Quads) -> float:
    """How surely some lines are read: their confidence, weighed by their length."""
    import numpy as np

    widths = np.linalg.norm(quads[:, 1] - quads[:, 0], axis=1)
    heights = np.maximum(np.linalg.norm(quads[:, 3] - quads[:, 0], axis=1), 1)
    aspects = np.minimum(widths / heights, _TRIAL_ASPECT)
    chosen = np.argsort(-aspects, kind="stable")[:_TRIAL_LINES]
    total = 0.0
    for n in chosen:
        line = _cut_out(pixels, quads[n])
        middle, half = line.shape[1] // 2, round(_TRIAL_ASPECT / 2 * line.shape[0])
        text, confidence = _recognise(model, line[:, max(0, middle - half) : middle + half])
        total += confidence * len(text)
    return total


def _read_line(model: Any, pixels: Pixels, quad: Quads) -> tuple[str, float]:
    """A line's text and confidence; what stands across the page is read both ways."""
    import numpy as np

    line = _cut_out(pixels, quad)
    if line.shape[0] < _TALL * line.shape[1]:
        return _recognise(model, line)
    return max((_recognise(model, np.rot90(line, way)) for way in (1, 3)), key=lambda read: read[1])


def _recognise(model: Any, line: Pixels) -> tuple[str, float]:
    import numpy as np

    read = model.recognize_txt([np.ascontiguousarray(line)])
    return str(read.txts[0]).strip(), round(float(read.scores[0]), 3)


def _cut_out(pixels: Pixels, quad: Quads) -> Pixels:
    """The box as an upright picture, at least a pixel each way."""
    import cv2
    import numpy as np

    top, right, bottom, left = (np.linalg.norm(quad[n] - quad[n - 3]) for n in range(4))
    width, height = max(1, round(float(max(top, bottom)))), max(1, round(float(max(left, right))))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(np.ascontiguousarray(quad), target)
    cut = cv2.warpPerspective(pixels, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, dtype=np.uint8)


def _to_corners(quad: Quads, size: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    return tuple((min(max(round(x), 0), size[0]), min(max(round(y), 0), size[1])) for x, y in quad.tolist())
