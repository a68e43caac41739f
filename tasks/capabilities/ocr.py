"""ocr: pictures to the text in them, with its lines, where they are, and how sure the model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    text is in reading order, columns one after the other; pages may lie on their side, upside down or askew. Without
    any key the built-in provider reads Latin letters (not Vietnamese), Chinese and Japanese (extra `ocr`). Hosted
    vision models read by a prompt: mediamill run recipe:ocr-prompt.
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
                make_field("row", pa.int32(), "number of its row, from 0; lines beside each other share one"),
                make_field("block", pa.int32(), "number of its column or block, from 0"),
            ]
        )
        return pa.schema(
            [
                make_field("text", pa.string(), "the text in reading order, empty where there is none"),
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
                make_field("angle", pa.float64(), "degrees by which the text is turned clockwise in the image"),
                *get_image_fields(),
                make_field("flags", pa.list_(pa.string()), "truncated: part of the image is missing"),
            ]
        )

    async def run(self, item: Item, params: OcrParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """Read one image."""
        image = await _prepare(item, params, context)
        async with context.reserve_memory(COPIES_IN_MEMORY * image.size):
            answer = await call(_build_ask(item, context, image))
        data = answer.data
        lines = _to_lines(data, image)
        kept = [line for line in lines or () if (line["confidence"] or 0) >= params.min_confidence]
        left_out = None if lines is None else len(lines) - len(kept)
        return {
            **to_image_columns([image]),
            "text": data["text"] if not left_out else join_lines(kept),
            "lines": lines,
            "confidence": _weigh_confidence(kept),
            "left_out_lines": left_out,
            "angle": data["angle"],
            "flags": find_image_flags([image]),
        }

    async def estimate(self, item: Item, params: OcrParams, context: CapabilityContext) -> Estimate:
        """One request."""
        _check_single(item)
        usage = Usage(requests=1)
        return Estimate(1, usage, usage)


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


async def _prepare(item: Item, params: OcrParams, context: CapabilityContext) -> ImageInput:
    """The image as the model takes it, decoded whole; a URL stays one where the provider fetches it."""
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
            )
    context.record_preparation(item, describe_image(item.source, prepared, limits, facts.max_side, context.model))
    return ImageInput(item.source, prepared.input, (0, 0), prepared)


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


def _to_lines(data: Mapping[str, Any], image: ImageInput) -> list[dict[str, Any]] | None:
    """The lines in pixels of the image itself, which may have been sent smaller."""
    if data["lines"] is None:
        return None
    prepared = image.prepared
    scale_x = prepared.info.width / data["width"] if prepared and data["width"] else 1.0
    scale_y = prepared.info.height / data["height"] if prepared and data["height"] else 1.0
    return [_to_line(line, scale_x, scale_y) for line in data["lines"]]


def _to_line(line: Mapping[str, Any], scale_x: float, scale_y: float) -> dict[str, Any]:
    corners = [(round(x * scale_x), round(y * scale_y)) for x, y in line["corners"]]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    box = {"left": min(xs), "top": min(ys), "right": max(xs), "bottom": max(ys)}
    return {**line, **box, "corners": [number for corner in corners for number in corner]}


def _weigh_confidence(lines: Sequence[Mapping[str, Any]]) -> float | None:
    known = [(line["confidence"], len(line["text"])) for line in lines if line["confidence"] is not None]
    total = sum(length for _, length in known)
    return round(sum(confidence * length for confidence, length in known) / total, 4) if total else None
