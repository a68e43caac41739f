"""generate-image: prompts to images."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mediamill.tasks.capabilities.base import BYTES_PER_TOKEN, Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.text.prompts import render_text
from mediamill.tasks.capabilities.visual.image_outputs import publish_image
from mediamill.tasks.capabilities.visual.image_params import GenerateImageParams
from mediamill.tasks.capabilities.visual.reference_images import load_reference_images
from mediamill.tasks.capabilities.visual.row_model import check_row_model, warn_of_model_end
from mediamill.tasks.domain import JSON, Answer, Ask, Input, Item, Usage
from mediamill.tasks.errors import BadReply, UnknownOutcome
from mediamill.tasks.providers.operations.image_config import IMAGE, ImageModel
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_REPLY_BYTES = 48_000_000
"""The size that a reply should not exceed. A third more is still read; a paid reply beyond that would be lost."""
_BYTES_PER_PIXEL = 4
"""Of a PNG that hardly compresses, in base64 (estimate)."""
_MAX_CONCURRENT_REQUESTS = 4
"""Requests for one prompt that are in flight at the same time."""
_SAMPLE_STRIDE = 1 << 20
"""Distance between the sample numbers of an item's requests, so that a retry of one never equals the next one."""

_EXTRA_PROMPT_TOKENS = 100
"""Tokens of a request in addition to its prompt's, each of which is at least one byte (estimate)."""


class GenerateImage:
    """Generate images from every prompt of SOURCE, as files under OUT/media.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of prompts, a folder of .txt files, a file, a URL,
    or - for a prompt on each line of stdin; columns such as size, seed or n apply to their row. Every image is
    decoded completely before it is published. A request that may have been billed without an answer is reported as
    `unknown` and sent again only by `mediamill retry OUT --only unknown`.
    """

    name = "generate-image"
    operation = IMAGE
    kinds = frozenset({"text"})
    params: type[BaseModel] = GenerateImageParams
    request_version = 1

    def schema(self, params: Any, provider: Provider, model: str) -> pa.Schema:
        """``file``, ``bytes``, ``width`` and ``height`` are those of the first image; files are relative to OUT.

        ``seed`` is that of the image's request, when one was sent.

        Raises:
            UsageError: when the provider generates no images.
        """
        import pyarrow as pa

        from mediamill.tasks.sinks.schema import make_field

        _get_image_model(provider, model)
        image = [
            make_field("file", pa.string(), "path relative to OUT"),
            make_field("sha256", pa.string(), "SHA-256 of the file"),
            make_field("bytes", pa.int64(), "size of the file"),
            make_field("format", pa.string(), "format of the file, e.g. png"),
            make_field("width", pa.int32(), "width in pixels"),
            make_field("height", pa.int32(), "height in pixels"),
            make_field("seed", pa.int64(), "seed of the image's request, when one was sent"),
            make_field("revised_prompt", pa.string(), "the prompt as the provider changed it"),
        ]
        return pa.schema(
            [
                make_field("prompt", pa.string(), "the prompt that was sent"),
                make_field("file", pa.string(), "path of the first image, relative to OUT"),
                make_field("bytes", pa.int64(), "size of the first image's file"),
                make_field("width", pa.int32(), "width of the first image in pixels"),
                make_field("height", pa.int32(), "height of the first image in pixels"),
                make_field("images", pa.list_(pa.struct(image)), "every image"),
                make_field("warnings", pa.list_(pa.string()), "what a reader should know about the row"),
            ]
        )

    async def run(
        self, item: Item, params: GenerateImageParams, call: Call, context: CapabilityContext
    ) -> Mapping[str, Any]:
        """Generate the images of one prompt."""
        asks = await self._build_asks(item, params, context)
        context.provider.to_wire(asks[0])  # a parameter that the model does not take is refused before anything is paid
        parts = await _generate_all(asks, item, call, context)
        images = [image for part in parts for image in part]
        if not images:
            raise BadReply(
                f"{item.source}: the provider's moderation withheld the images",
                kind="moderated",
                hint="change the prompt",
            )
        prompt = str(asks[0].params["prompt"])
        contents = [prompt, *(source.sha256 for source in asks[0].inputs)]
        return {
            "content_sha256": hashlib.sha256("\n".join(contents).encode("utf-8", "replace")).hexdigest(),
            "model": asks[0].model,
            "prompt": prompt,
            **{name: images[0][name] for name in ("file", "bytes", "width", "height")},
            "images": images,
            "warnings": [
                *([f"{params.n} images requested, {len(images)} received"] if len(images) < params.n else []),
                *(warn_of_model_end(context.provider, IMAGE, params.model) if params.model else []),
            ],
        }

    async def estimate(self, item: Item, params: GenerateImageParams, context: CapabilityContext) -> Estimate:
        """What the prompt would need; an image whose size the provider chooses has about a million pixels."""
        asks = await self._build_asks(item, params, context)
        for ask in asks:
            context.provider.to_wire(ask)
        model = asks[0].model
        image_model = _get_image_model(context.provider, model)
        prompt_tokens = len(str(asks[0].params["prompt"])) // BYTES_PER_TOKEN + 1
        likely = _estimate_usage(image_model, asks[0].params, params.n, prompt_tokens * len(asks), ceiling=False)
        ceiling = _estimate_usage(
            image_model, asks[0].params, params.n, sum(a.ceiling.input_tokens or 0 for a in asks), ceiling=True
        )
        likely, ceiling = (replace(usage, requests=len(asks)) for usage in (likely, ceiling))
        return Estimate(len(asks), likely, ceiling, model=model)

    async def _build_asks(self, item: Item, params: GenerateImageParams, context: CapabilityContext) -> list[Ask]:
        """As many Asks as the images need, each with its own seed or sample."""
        model = check_row_model(context.provider, IMAGE, params.model) if params.model else context.model
        image_model, request_params = (
            _get_image_model(context.provider, model),
            await _build_image_params(item, params, context),
        )
        inputs = await load_reference_images(params.reference_images or (), item, context)
        return [
            self._build_ask(item, model, image_model, request_params, inputs, first, count)
            for first, count in _split_into_requests(image_model, params, request_params)
        ]

    def _build_ask(
        self,
        item: Item,
        model: str,
        image_model: ImageModel,
        request_params: Mapping[str, JSON],
        inputs: tuple[Input, ...],
        first: int,
        count: int,
    ) -> Ask:
        own_params: dict[str, JSON] = {"n": count} if count > 1 else {}
        seed = request_params.get("seed")
        if isinstance(seed, int):
            own_params["seed"] = seed + first
        max_prompt_tokens = len(str(request_params["prompt"]).encode("utf-8", "replace")) + _EXTRA_PROMPT_TOKENS
        return Ask(
            capability=self.name,
            operation=self.operation,
            model=model,
            params={**request_params, **own_params},
            inputs=inputs,
            ceiling=_estimate_usage(image_model, request_params, count, max_prompt_tokens, ceiling=True),
            sample=item.sample + first * _SAMPLE_STRIDE,
            version=self.request_version,
            item_id=item.item_id,
        )


async def _generate_all(
    asks: Sequence[Ask], item: Item, call: Call, context: CapabilityContext
) -> list[list[dict[str, Any]]]:
    """The images of all requests, a few in flight at a time. After a failure those in flight may end, none begins."""
    semaphore, failed = asyncio.Semaphore(_MAX_CONCURRENT_REQUESTS), asyncio.Event()

    async def generate(ask: Ask, first: int) -> list[dict[str, Any]]:
        async with semaphore:
            if failed.is_set():
                return []
            try:
                return await _generate_images(ask, first, item, call, context)
            except BaseException:
                failed.set()
                raise

    firsts = [sum(_get_requested_count(ask) for ask in asks[:position]) for position in range(len(asks))]
    parts = await asyncio.gather(*map(generate, asks, firsts), return_exceptions=True)
    images = []
    for part in parts:
        if isinstance(part, BaseException):
            raise part
        images.append(part)
    return images


async def _generate_images(
    ask: Ask, first: int, item: Item, call: Call, context: CapabilityContext
) -> list[dict[str, Any]]:
    """The images of one request. They are bought again only when a retry was requested and earlier ones are unusable.

    A retry raises the item's sample, yet images of the item's other requests are kept: the answers of earlier samples
    are tried first. Only a failure from an earlier run leads to the next sample, never one that happens now.
    """
    first_sample = item.sample if context.refresh else 0
    for sample in range(ask.sample - item.sample + first_sample, ask.sample):
        began_at, is_old = time.time_ns() // 1000, True
        try:
            answer = await call(replace(ask, sample=sample))
            is_old = answer.started_at is not None and answer.started_at < began_at
            images = await _publish_images(answer, ask, first, item, context)
        except (UnknownOutcome, BadReply) as error:
            if error.attempts or not is_old:
                raise
            continue
        if images or not is_old:
            return images
    return await _publish_images(await call(ask), ask, first, item, context)


async def _publish_images(
    answer: Answer, ask: Ask, first: int, item: Item, context: CapabilityContext
) -> list[dict[str, Any]]:
    seed = ask.params.get("seed")
    images = [image for image in answer.data["pictures"] if not image["moderated"]]
    return [
        await publish_image({**image, "seed": seed if image["seed"] is None else image["seed"]}, number, item, context)
        for number, image in enumerate(images, first + 1)
    ]


def _get_image_model(provider: Provider, model: str) -> ImageModel:
    return provider.model_facts(IMAGE, model, ImageModel)


def _get_requested_count(ask: Ask) -> int:
    count = ask.params.get("n", 1)
    return count if isinstance(count, int) else 1


async def _build_image_params(item: Item, params: GenerateImageParams, context: CapabilityContext) -> dict[str, JSON]:
    """The parameters that are set, by their provider-neutral names, with the prompts' templates filled."""
    excluded = {"model", "n", "reference_images"}
    request_params: dict[str, JSON] = params.model_dump(mode="json", exclude=excluded, exclude_none=True)
    request_params["prompt"] = await render_text(item, "prompt", params.prompt, context)
    if params.negative_prompt:
        request_params["negative_prompt"] = await render_text(
            item, "negative_prompt", params.negative_prompt, context, optional=True
        )
    return request_params


def _split_into_requests(
    image_model: ImageModel, params: GenerateImageParams, request_params: Mapping[str, JSON]
) -> Sequence[tuple[int, int]]:
    """The first image of each request and how many it requests: what the model takes and a reply surely holds."""
    pixels = int(image_model.max_billed_megapixels({**request_params, "steps": None}) * 1_000_000)
    max_per_reply = max(1, _MAX_REPLY_BYTES // max(1, pixels * _BYTES_PER_PIXEL))
    max_images = image_model.max_n if params.response_format == "url" else min(image_model.max_n, max_per_reply)
    return [(first, min(max_images, params.n - first)) for first in range(0, params.n, max_images)]


def _estimate_usage(
    image_model: ImageModel, request_params: Mapping[str, JSON], count: int, prompt_tokens: int, *, ceiling: bool
) -> Usage:
    """What ``count`` images are billed for: likely, or at most."""
    megapixels = (
        image_model.max_billed_megapixels(request_params)
        if ceiling
        else image_model.likely_billed_megapixels(request_params)
    )
    tokens = image_model.estimate_output_tokens(request_params, ceiling=ceiling)
    output_tokens = None if tokens is None else tokens * count
    return Usage(
        input_tokens=None if output_tokens is None else prompt_tokens,
        output_tokens=output_tokens,
        image_output_tokens=output_tokens,
        images=count,
        megapixels=None if image_model.flat else Decimal(count) * megapixels,
        requests=1,
    )
