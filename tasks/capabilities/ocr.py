"""ocr: pictures to the text in them, with its lines, where they are, and how sure the model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate, prefix_bad_input, to_url_input
from mediamill.tasks.capabilities.parameters import RowsOnly
from mediamill.tasks.capabilities.visual.image_inputs import (
    COPIES_IN_MEMORY,
    DECODING_BYTES,
    ImageInput,
    find_image_flags,
    get_image_fields,
    to_image_columns,
)
from mediamill.tasks.domain import Ask, Item, Usage
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.ocr import OCR, OcrModel
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

    from mediamill.tasks.media.images.image_info import ImageInfo


PAGE_BREAK = "\f"
"""Stands between the pages of a text, as in the text of PDFs."""
_LEGIBLE = 0.75
"""A page that had to be reduced further, against what the model can use, is warned of."""


class OcrParams(BaseModel):
    """Parameters of OCR."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_confidence: Annotated[float, RowsOnly()] = Field(
        0.5,
        ge=0,
        le=1,
        description="lines of which the model is less sure are left out of the text; they stay in lines; another value "
        "buys nothing",
    )
    fetch: bool = Field(default=False, description="download URLs here and send the images instead of the URLs")


class Ocr:
    """Read the text in every image of SOURCE: scans, screenshots, photos of pages and signs.

    SOURCE is a folder, a glob, a file, a URL, a manifest (.csv .tsv .jsonl .parquet), or - for a list on stdin. The
    text is in reading order, columns one after the other; pages may lie on their side, upside down or askew. All
    pages of a TIFF are read, one request each; those of a PDF as images: pdftoppm -r 150 -png FILE.pdf page. Long
    screenshots are read whole, in overlapping bands. Without any key the built-in provider reads Latin letters (not
    Vietnamese), Chinese and Japanese (extra `ocr`). Hosted vision models read by a prompt: mediamill run
    recipe:ocr-prompt.
    """

    name = "ocr"
    operation = OCR
    kinds = frozenset({"image"})
    params: type[BaseModel] = OcrParams
    request_version = 1
    sidecars = "lines"

    def schema(self, params: OcrParams, provider: Provider, model: str) -> pa.Schema:
        """The text, its lines, and the columns about the image."""
        import pyarrow as pa

        from mediamill.tasks.sinks.schema import make_field

        line_type = pa.struct(
            [
                make_field("text", pa.string(), "text of the line, or of the part of it in one column or cell"),
                make_field("confidence", pa.float64(), "how sure the model is, from 0 to 1"),
                make_field("left", pa.int32(), "leftmost pixel"),
                make_field("top", pa.int32(), "topmost pixel"),
                make_field("right", pa.int32(), "rightmost pixel"),
                make_field("bottom", pa.int32(), "lowest pixel"),
                make_field(
                    "corners",
                    pa.list_(pa.int32()),
                    "x and y of its four corners, clockwise as it is read: from where it begins, above",
                ),
                make_field(
                    "row", pa.int32(), "number of its row on its page, from 0; lines beside each other share one"
                ),
                make_field("block", pa.int32(), "number of its column or block on its page, from 0"),
                make_field("page", pa.int32(), "number of its page, from 1; a TIFF can have several"),
            ]
        )
        return pa.schema(
            [
                make_field(
                    "text",
                    pa.string(),
                    "the text in reading order, empty where there is none; pages have a form feed between them",
                ),
                make_field(
                    "lines",
                    pa.list_(line_type),
                    "its lines in reading order, in pixels of the image turned upright by its EXIF data;"
                    " null where the model tells none",
                ),
                make_field(
                    "confidence", pa.float64(), "mean of the text's lines, weighed by their characters; null if unknown"
                ),
                make_field("left_out_lines", pa.int32(), "lines below min_confidence, which the text has not"),
                make_field(
                    "angle",
                    pa.float64(),
                    "degrees by which the text of the first page that has some is turned clockwise",
                ),
                make_field("pages", pa.int32(), "pages that were read, one request each"),
                *get_image_fields(),
                make_field("flags", pa.list_(pa.string()), "truncated: part of the image is missing"),
            ]
        )

    async def run(self, item: Item, params: OcrParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """Read one image, or the pages of a TIFF one after the other: no more than one is in memory."""
        images: list[ImageInput] = []
        pages: list[_Page] = []
        count = 1
        while len(images) < count:
            image = await _prepare(item, params, context, len(images))
            count = _count_pages(image.prepared.info) if image.prepared else 1
            async with context.reserve_memory(COPIES_IN_MEMORY * image.size):
                answer = await call(_build_ask(item, context, image))
            images.append(_drop_bytes(image))
            pages.append(_read_page(answer.data, image, len(images), params.min_confidence))
        lines = (
            None if any(page.lines is None for page in pages) else [line for page in pages for line in page.lines or ()]
        )
        kept = [line for page in pages for line in page.kept]
        return {
            **to_image_columns(images),
            "content_sha256": images[0].input.sha256,
            "text": PAGE_BREAK.join(page.text for page in pages),
            "lines": lines,
            "confidence": _weigh_confidence(kept),
            "left_out_lines": None if lines is None else len(lines) - len(kept),
            "angle": next((page.angle for page in pages if page.angle is not None), None),
            "pages": count,
            "flags": find_image_flags(images),
        }

    async def estimate(self, item: Item, params: OcrParams, context: CapabilityContext) -> Estimate:
        """One request a page; the pages of a TIFF are counted."""
        _check_single(item)
        facts = context.provider.model_facts(OCR, context.model, OcrModel)
        count = 1 if item.is_url and facts.takes_urls and not params.fetch else await _look_up_pages(item, context)
        usage = Usage(requests=count)
        return Estimate(count, usage, usage)


@dataclass(frozen=True, slots=True)
class _Page:
    """What was read on a page: its text, all lines or None, those that the text has, and how it is turned."""

    text: str
    lines: list[dict[str, Any]] | None
    kept: list[dict[str, Any]]
    angle: float | None


def _read_page(data: Mapping[str, Any], image: ImageInput, number: int, min_confidence: float) -> _Page:
    lines = _to_lines(data, image, number)
    kept = [line for line in lines or () if (line["confidence"] or 0) >= min_confidence]
    return _Page(data["text"] if len(kept) == len(lines or ()) else join_lines(kept), lines, kept, data["angle"])


def _count_pages(info: ImageInfo) -> int:
    """The pages of a TIFF; of other formats only the first frame is read."""
    return info.frames if info.format == "tiff" else 1


async def _look_up_pages(item: Item, context: CapabilityContext) -> int:
    from mediamill.tasks.media.images.image_info import read_image_info

    async with context.fetch(item) as media:
        with prefix_bad_input(item):
            return _count_pages(await context.run_in_thread(read_image_info, media.path, media.data))


def _drop_bytes(image: ImageInput) -> ImageInput:
    """What the row tells of an image, without what was sent."""
    payload = image.input.payload
    return image if payload is None else replace(image, input=replace(image.input, payload=replace(payload, data=None)))


def join_lines(lines: Sequence[Mapping[str, Any]]) -> str:
    """Lines as text: rows are lines of it, and an empty line stands between blocks."""
    text = ""
    for before, line in zip((None, *lines), lines, strict=False):
        if before is not None:
            text += "\n\n" if line["block"] != before["block"] else "\n" if line["row"] != before["row"] else " "
        text += line["text"]
    return text


def _check_single(item: Item) -> None:
    if len(item.locations) > 1:
        raise BadInput(
            f"{item.source}: {len(item.locations)} images in one row, and OCR reads one",
            kind="too_many_pictures",
            hint="leave --group-by out",
        )


async def _prepare(item: Item, params: OcrParams, context: CapabilityContext, page: int) -> ImageInput:
    """A page as the model takes it, decoded whole; a URL stays one where the provider fetches it."""
    _check_single(item)
    facts = context.provider.model_facts(OCR, context.model, OcrModel)
    if item.is_url and facts.takes_urls and not params.fetch:
        return ImageInput(item.source, to_url_input(item.location or "", item, context), (0, 0))
    from mediamill.tasks.media.images.prepare import prepare_image
    from mediamill.tasks.media.preparations import describe_image

    limits = facts.image_limits()
    async with context.fetch(item) as media, context.reserve_memory(DECODING_BYTES + 2 * media.size):
        with prefix_bad_input(item):
            prepared = await context.run_in_thread(
                prepare_image,
                media.path,
                media.sha256,
                limits,
                max_side=facts.max_side,
                data=media.data,
                check=context.raise_if_stopped,
                frame=page,
            )
    if _count_pages(prepared.info) == 1 and prepared.info.frames > 1 and prepared.info.format != "jpeg":
        prepared = replace(
            prepared, warnings=(f"frames: the first of {prepared.info.frames} was taken", *prepared.warnings)
        )
    if min(prepared.width, prepared.height) < _LEGIBLE * min(
        facts.max_short_side or 0, prepared.info.width, prepared.info.height
    ):
        warning = (
            f"size: too long to be read in full detail, sent at {prepared.width} x {prepared.height}: cut it into parts"
        )
        prepared = replace(prepared, warnings=(*prepared.warnings, warning))
    name = item.source if _count_pages(prepared.info) == 1 else f"{item.source}, page {page + 1}"
    context.record_preparation(item, describe_image(name, prepared, limits, facts.max_side, context.model))
    return ImageInput(name, prepared.input, (0, 0), prepared)


def _build_ask(item: Item, context: CapabilityContext, image: ImageInput) -> Ask:
    return Ask(
        capability=Ocr.name,
        operation=OCR,
        model=context.model,
        params={},
        inputs=(image.input,),
        ceiling=Usage(requests=1),
        sample=item.sample,
        version=Ocr.request_version,
        item_id=item.item_id,
    )


def _to_lines(data: Mapping[str, Any], image: ImageInput, page: int) -> list[dict[str, Any]] | None:
    """The lines in pixels of the image itself, which may have been sent smaller."""
    if data["lines"] is None:
        return None
    prepared = image.prepared
    scale_x = prepared.info.width / data["width"] if prepared and data["width"] else 1.0
    scale_y = prepared.info.height / data["height"] if prepared and data["height"] else 1.0
    return [{**_to_line(line, scale_x, scale_y), "page": page} for line in data["lines"]]


def _to_line(line: Mapping[str, Any], scale_x: float, scale_y: float) -> dict[str, Any]:
    corners = [(round(x * scale_x), round(y * scale_y)) for x, y in line["corners"]]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    box = {"left": min(xs), "top": min(ys), "right": max(xs), "bottom": max(ys)}
    return {**line, **box, "corners": [number for corner in corners for number in corner]}


def _weigh_confidence(lines: Sequence[Mapping[str, Any]]) -> float | None:
    known = [(line["confidence"], len(line["text"])) for line in lines if line["confidence"] is not None]
    total = sum(length for _, length in known)
    return round(sum(confidence * length for confidence, length in known) / total, 4) if total else None
