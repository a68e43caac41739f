"""Requests for pictures in every style, and their replies in one (wire facts: provider docs)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from mediamill.tasks.domain import JSON, Ask, Usage
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.media.images.image_info import read_image_info
from mediamill.tasks.money.images import ImageMeter
from mediamill.tasks.providers.errors.moderation import refusals_named
from mediamill.tasks.providers.operations.base import Operation, parsed
from mediamill.tasks.providers.operations.image_config import ImageConfig, ImageModel, megapixels, wrong
from mediamill.tasks.providers.operations.payload_url import payload_url
from mediamill.tasks.wire import Parsed, Problem, Reply, Request, Wire

_DEADLINE = 600.0
_TICK = Decimal("1e-10")
"""US dollars of one of xAI's ``cost_in_usd_ticks`` (provider docs)."""
_HEAD = 65_536
"""Characters of a picture in base64 that its header is looked for in."""

_TOGETHER = frozenset(
    [
        *("n", "width", "height", "steps", "seed", "negative_prompt", "guidance_scale", "output_format"),
        *("aspect_ratio", "reference_images", "image_loras", "prompt_upsampling", "disable_safety_checker"),
    ]
)
_OPENAI = frozenset({"n", "size", "quality", "background", "output_format", "output_compression", "moderation"})
_XAI = frozenset({"n", "aspect_ratio", "resolution", "quality"})
FIELDS: Mapping[str, frozenset[str]] = {
    "together": _TOGETHER,
    "openai": _OPENAI,
    "xai": _XAI,
    "any": _TOGETHER | _OPENAI | _XAI,
}
"""Fields of a request by style, beside model, prompt and response_format; ``size`` is also width and height."""
_REPLY_FORMS = {"together": "base64", "xai": "b64_json", "any": "b64_json"}
"""How a reply that holds the pictures is asked for; OpenAI's always does, and refuses the field."""


class Images(Operation[ImageConfig, ImageModel]):
    """``POST /images/generations``. An Ask's params are the capability's own; its inputs are reference pictures."""

    config_model = ImageConfig
    facts_model = ImageModel
    meter = ImageMeter()

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the request's fields; nothing that was not asked for is in them.

        What was lost on the way back may have been made and billed, so it is not asked for again unasked.

        Raises:
            BadInput: when the model does not take what is asked, naming what it does take.
        """
        facts, style = self.model_facts(ask.model), self.config.api_style
        asked = {name: value for name, value in ask.params.items() if value is not None}
        body: dict[str, JSON] = {"model": ask.model, "prompt": asked.pop("prompt")}
        form = asked.pop("response_format", None)
        if form == "url" and style == "openai":
            raise wrong(ask.model, "response_format url", "base64, always")
        if form is not None and style in _REPLY_FORMS:
            body["response_format"] = "url" if form == "url" else _REPLY_FORMS[style]
        facts.check(ask.model, {**ask.params, "reference_images": ask.inputs})
        body.update(_size(facts, asked, style, ask.model))
        for name, value in asked.items():
            if name in ("size", "width", "height"):
                continue
            if name not in FIELDS[style]:
                raise wrong(ask.model, name, None)
            body[name] = value
        if ask.inputs and "reference_images" not in FIELDS[style]:
            raise wrong(ask.model, "reference_images", None)
        return Wire(self.provider.key_origin(ask.model), self.path, body, repeatable=False, timeout=_DEADLINE)

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The body, with reference pictures as they are or as ``data:`` URLs."""
        body, shown = dict(wire.params), [payload_url(one.payload) for one in asks[0].inputs]
        if shown:
            single = self.model_facts(asks[0].model).reference_field == "image_url"
            body |= {"image_url": shown[0]} if single else {"reference_images": list[JSON](shown)}
        return Request("POST", wire.path, json=body)

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """``pictures``: one mapping each with ``b64`` or ``url``, ``revised_prompt``, ``seed`` and ``moderated``.

        Raises:
            BadReply: when there is no picture, or one with neither data nor a link.
        """
        try:
            content = orjson.loads(reply.body)
        except ValueError:
            raise BadReply("the reply is not JSON") from None
        content = content if isinstance(content, dict) else {}
        data = content.get("data")
        if not isinstance(data, list) or not data:
            raise BadReply("the reply holds no pictures")
        refused = content.get("respect_moderation") is False
        pictures = [_picture(one, place, len(data), refused=refused) for place, one in enumerate(data, 1)]
        facts = self.model_facts(asks[0].model)
        usage = _usage(content.get("usage"), pictures, facts, asks[0].params)
        return [parsed(reply, {"pictures": pictures}, usage)]

    def classify(self, reply: Reply) -> Problem | None:
        """What an error means; a prompt that was refused for what it says is ``moderated``, whatever the status."""
        return refusals_named(super().classify(reply), reply)


def _size(facts: ImageModel, asked: Mapping[str, JSON], style: str, model: str) -> dict[str, JSON]:
    """The size as the endpoint spells it, where one is asked for."""
    given = {name: asked[name] for name in ("size", "width", "height") if name in asked}
    if not given:
        return {}
    if "size" in given and given["size"] == "auto" and "size" in FIELDS[style]:
        return {"size": "auto"}
    size = facts.size(asked)
    if style == "xai":
        raise wrong(model, next(iter(given)), "aspect_ratio and resolution")
    if style == "together" and "size" not in given:
        return dict(given)
    if size is None:
        raise BadInput(
            f"{model}: {' and '.join(given)} alone make no size", kind="bad_request", hint="write --size 1024x1024"
        )
    if style == "together":
        return {"width": size[0], "height": size[1]}
    return {"size": f"{size[0]}x{size[1]}"}


def _picture(value: Any, place: int, count: int, *, refused: bool) -> dict[str, Any]:
    """One picture of a reply, found by what it holds: the words for it differ between request and reply."""
    entry: Mapping[str, Any] = value if isinstance(value, dict) else {}
    held, url = entry.get("b64_json") or entry.get("base64"), entry.get("url")
    if isinstance(url, str) and url.startswith("data:"):
        held, url = url.partition(",")[2], None
    moderated = refused or entry.get("respect_moderation") is False
    if not moderated and not (isinstance(held, str) and held) and not (isinstance(url, str) and url):
        raise BadReply(f"picture {place} of {count} has neither data nor a link")
    revised, seed = entry.get("revised_prompt"), _whole(entry.get("seed"))
    return {
        "b64": held if isinstance(held, str) and held else None,
        "url": url if isinstance(url, str) and url else None,
        "revised_prompt": revised if isinstance(revised, str) and revised else None,
        "seed": seed if seed is not None and seed < 1 << 63 else None,
        "moderated": moderated,
    }


def _usage(value: Any, pictures: Sequence[Mapping[str, Any]], facts: ImageModel, asked: Mapping[str, JSON]) -> Usage:
    """Pictures always; pixels where they are known; tokens and dollars where the reply tells them."""
    usage: Mapping[str, Any] = value if isinstance(value, dict) else {}
    into, out = (usage.get(f"{way}_tokens_details") for way in ("input", "output"))
    into, out = (one if isinstance(one, dict) else {} for one in (into, out))
    output, ticks = _whole(usage.get("output_tokens")), _whole(usage.get("cost_in_usd_ticks"))
    image_tokens = _whole(out.get("image_tokens"))
    return Usage(
        input_tokens=_whole(usage.get("input_tokens")),
        cached_input_tokens=_whole(into.get("cached_tokens")),
        image_input_tokens=_whole(into.get("image_tokens")),
        output_tokens=output,
        image_output_tokens=output if image_tokens is None else image_tokens,
        images=len(pictures),
        megapixels=None if facts.flat else _pixels(pictures, facts, asked),
        requests=1,
        billed_usd=None if ticks is None else ticks * _TICK,
    )


def _pixels(pictures: Sequence[Mapping[str, Any]], facts: ImageModel, asked: Mapping[str, JSON]) -> Decimal | None:
    """Millions of pixels that are billed: those that were asked for, else those that came; None for neither."""
    steps = asked.get("steps")
    factor, size = facts.steps_factor(steps if isinstance(steps, int) else None), facts.size(asked)
    if factor is None:
        return None
    if size is not None:
        return megapixels(*size) * len(pictures) * factor
    came = [_measured(one["b64"]) for one in pictures]
    return None if None in came else sum((one for one in came if one is not None), Decimal(0)) * factor


def _measured(held: str | None) -> Decimal | None:
    """Millions of pixels by a picture's header."""
    try:
        info = read_image_info(Path(), base64.b64decode((held or "")[:_HEAD]))
    except (BadInput, binascii.Error, ValueError):
        return None
    return megapixels(info.width, info.height)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None
