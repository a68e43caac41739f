"""Image generation: requests in every API style, and their replies in one shape (provider docs)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from mediamill.tasks.domain import JSON, Ask, Usage
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.media.images.image_info import read_image_info
from mediamill.tasks.money.images import ImageMeter
from mediamill.tasks.providers.errors.moderation import mark_refusal
from mediamill.tasks.providers.operations.base import Operation, to_parsed
from mediamill.tasks.providers.operations.image_config import ImageConfig, ImageModel, to_megapixels, unsupported_param
from mediamill.tasks.providers.operations.payload_url import to_payload_url
from mediamill.tasks.providers.operations.reply_json import USD_PER_TICK, decode_reply, to_mapping
from mediamill.tasks.wire import Parsed, Problem, Reply, Request, Wire

_TIMEOUT_SECONDS = 600.0
_MAX_HEADER_CHARACTERS = 65_536
"""Characters of a base64 image that are decoded to read its header."""

_TOGETHER_FIELDS = frozenset(
    [
        *("n", "width", "height", "steps", "seed", "negative_prompt", "guidance_scale", "output_format"),
        *("aspect_ratio", "reference_images", "image_loras", "prompt_upsampling", "disable_safety_checker"),
    ]
)
_OPENAI_FIELDS = frozenset({"n", "size", "quality", "background", "output_format", "output_compression", "moderation"})
_XAI_FIELDS = frozenset({"n", "aspect_ratio", "resolution", "quality"})
FIELDS_BY_STYLE: Mapping[str, frozenset[str]] = {
    "together": _TOGETHER_FIELDS,
    "openai": _OPENAI_FIELDS,
    "xai": _XAI_FIELDS,
    "any": _TOGETHER_FIELDS | _OPENAI_FIELDS | _XAI_FIELDS,
}
"""Request fields by style, in addition to model, prompt and response_format; ``size`` includes width and height."""
_RESPONSE_FORMATS = {"together": "base64", "xai": "b64_json", "any": "b64_json"}
"""The ``response_format`` of replies that hold the images. OpenAI's always do, and it refuses the field."""


class ImageOperation(Operation[ImageConfig, ImageModel]):
    """``POST /images/generations``. An Ask's params are those of the capability; its inputs are reference images."""

    config_model = ImageConfig
    facts_model = ImageModel
    meter = ImageMeter()

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the request's fields, only those that are set.

        Images of a lost reply may have been generated and billed, so the request is not repeated automatically.

        Raises:
            BadInput: when the model does not accept a parameter; it names what the model accepts.
        """
        facts, style = self.model_facts(ask.model), self.config.api_style
        params = {name: value for name, value in ask.params.items() if value is not None}
        body: dict[str, JSON] = {"model": ask.model, "prompt": params.pop("prompt")}
        response_format = params.pop("response_format", None)
        if response_format == "url" and style == "openai":
            raise unsupported_param(ask.model, "response_format url", "base64, always")
        if response_format is not None and style in _RESPONSE_FORMATS:
            body["response_format"] = "url" if response_format == "url" else _RESPONSE_FORMATS[style]
        facts.check_params(ask.model, {**ask.params, "reference_images": ask.inputs})
        body.update(_build_size_fields(facts, params, style, ask.model))
        for name, value in params.items():
            if name in ("size", "width", "height"):
                continue
            if name not in FIELDS_BY_STYLE[style]:
                raise unsupported_param(ask.model, name, None)
            body[name] = value
        if ask.inputs and "reference_images" not in FIELDS_BY_STYLE[style]:
            raise unsupported_param(ask.model, "reference_images", None)
        return Wire(self.provider.key_origin(ask.model), self.path, body, repeatable=False, timeout=_TIMEOUT_SECONDS)

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The body, with reference images as URLs: passed through, or ``data:`` URLs of their bytes."""
        body, urls = dict(wire.params), [to_payload_url(source.payload) for source in asks[0].inputs]
        if urls:
            single = self.model_facts(asks[0].model).reference_field == "image_url"
            body |= {"image_url": urls[0]} if single else {"reference_images": list[JSON](urls)}
        return Request("POST", wire.path, json=body)

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """``pictures``: a list of mappings with ``b64`` or ``url``, ``revised_prompt``, ``seed`` and ``moderated``.

        Raises:
            BadReply: when the reply holds no image, or one has neither data nor a URL.
        """
        content = to_mapping(decode_reply(reply.body))
        data = content.get("data")
        if not isinstance(data, list) or not data:
            raise BadReply("the reply holds no images")
        refused = content.get("respect_moderation") is False
        images = [_parse_image(image, number, len(data), refused=refused) for number, image in enumerate(data, 1)]
        facts = self.model_facts(asks[0].model)
        usage = _parse_image_usage(content.get("usage"), images, facts, asks[0].params)
        return [to_parsed(reply, {"pictures": images}, usage)]

    def classify(self, reply: Reply) -> Problem | None:
        """What an error means; a prompt that was refused for its content is ``moderated``, whatever the status."""
        return mark_refusal(super().classify(reply), reply)


def _build_size_fields(facts: ImageModel, params: Mapping[str, JSON], style: str, model: str) -> dict[str, JSON]:
    """The size fields in the endpoint's style; empty if no size is requested."""
    fields = {name: params[name] for name in ("size", "width", "height") if name in params}
    if not fields:
        return {}
    if "size" in fields and fields["size"] == "auto" and "size" in FIELDS_BY_STYLE[style]:
        return {"size": "auto"}
    size = facts.resolve_size(params)
    if style == "xai":
        raise unsupported_param(model, next(iter(fields)), "aspect_ratio and resolution")
    if style == "together" and "size" not in fields:
        return dict(fields)
    if size is None:
        raise BadInput(_describe_missing_size(model, fields), kind="bad_request", hint="write --size 1024x1024")
    if style == "together":
        return {"width": size[0], "height": size[1]}
    return {"size": f"{size[0]}x{size[1]}"}


def _describe_missing_size(model: str, fields: Mapping[str, JSON]) -> str:
    """What a request lacks whose fields give no size: ``auto``, or one side alone."""
    if "size" in fields:
        return f"{model} needs a size, not {fields['size']}"
    given, missing = ("width", "height") if "width" in fields else ("height", "width")
    return f"{model}: {given} needs a {missing}"


def _parse_image(value: Any, number: int, count: int, *, refused: bool) -> dict[str, Any]:
    """One image of a reply. Its format is recognised by its fields, for requests and replies name it differently."""
    entry: Mapping[str, Any] = value if isinstance(value, dict) else {}
    encoded, url = entry.get("b64_json") or entry.get("base64"), entry.get("url")
    if isinstance(url, str) and url.startswith("data:"):
        encoded, url = url.partition(",")[2], None
    moderated = refused or entry.get("respect_moderation") is False
    if not moderated and not (isinstance(encoded, str) and encoded) and not (isinstance(url, str) and url):
        raise BadReply(f"image {number} of {count} has neither data nor a URL")
    revised, seed = entry.get("revised_prompt"), _to_safe_count(entry.get("seed"))
    return {
        "b64": encoded if isinstance(encoded, str) and encoded else None,
        "url": url if isinstance(url, str) and url else None,
        "revised_prompt": revised if isinstance(revised, str) and revised else None,
        "seed": seed if seed is not None and seed < 1 << 63 else None,
        "moderated": moderated,
    }


def _parse_image_usage(
    value: Any, images: Sequence[Mapping[str, Any]], facts: ImageModel, params: Mapping[str, JSON]
) -> Usage:
    """The number of images, megapixels if they are known, and tokens and dollars if the reply states them."""
    usage: Mapping[str, Any] = value if isinstance(value, dict) else {}
    input_details, output_details = (usage.get(f"{side}_tokens_details") for side in ("input", "output"))
    input_details, output_details = (
        details if isinstance(details, dict) else {} for details in (input_details, output_details)
    )
    output, ticks = _to_safe_count(usage.get("output_tokens")), _to_safe_count(usage.get("cost_in_usd_ticks"))
    image_tokens = _to_safe_count(output_details.get("image_tokens"))
    return Usage(
        input_tokens=_to_safe_count(usage.get("input_tokens")),
        cached_input_tokens=_to_safe_count(input_details.get("cached_tokens")),
        image_input_tokens=_to_safe_count(input_details.get("image_tokens")),
        output_tokens=output,
        image_output_tokens=output if image_tokens is None else image_tokens,
        images=len(images),
        megapixels=None if facts.flat else _count_billed_megapixels(images, facts, params),
        requests=1,
        billed_usd=None if ticks is None else ticks * USD_PER_TICK,
    )


def _count_billed_megapixels(
    images: Sequence[Mapping[str, Any]], facts: ImageModel, params: Mapping[str, JSON]
) -> Decimal | None:
    """Billed megapixels: of the requested size, otherwise of the images received; None if neither is known."""
    steps = params.get("steps")
    factor, size = facts.steps_factor(steps if isinstance(steps, int) else None), facts.resolve_size(params)
    if factor is None:
        return None
    if size is not None:
        return to_megapixels(*size) * len(images) * factor
    measured = [_read_megapixels(image["b64"]) for image in images]
    known = [megapixels for megapixels in measured if megapixels is not None]
    return sum(known, Decimal(0)) * factor if len(known) == len(measured) else None


def _read_megapixels(encoded: str | None) -> Decimal | None:
    """Megapixels from the header of a base64 image; None if it cannot be read."""
    try:
        info = read_image_info(Path(), base64.b64decode((encoded or "")[:_MAX_HEADER_CHARACTERS]))
    except (BadInput, binascii.Error, ValueError):
        return None
    return to_megapixels(info.width, info.height)


def _to_safe_count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None
