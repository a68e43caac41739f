"""generate-image: prompts to pictures."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.text.prompts import render_text
from mediamill.tasks.capabilities.visual.image_outputs import publish_image
from mediamill.tasks.capabilities.visual.image_params import GenerateImageParams
from mediamill.tasks.capabilities.visual.reference_images import load_reference_images
from mediamill.tasks.domain import JSON, Answer, Ask, Input, Item, Usage
from mediamill.tasks.errors import BadReply, UnknownOutcome
from mediamill.tasks.providers.operations.image_config import IMAGE, ImageModel
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_REPLY_BYTES = 48_000_000
"""Bytes that a reply should have at most; a third more is read, and beyond that a paid reply would be lost."""
_BYTES_PER_PIXEL = 4
"""Of a PNG that hardly shrinks, in base64 (estimate)."""
_MAX_CONCURRENT_REQUESTS = 4
"""Requests of one prompt that are under way at once."""
_SAMPLE_STRIDE = 1 << 20
"""Samples between the requests of one item, so that a retry of one is never the purchase of the next."""
_BYTES_PER_TOKEN = 4
_EXTRA_PROMPT_TOKENS = 100
"""Tokens a request may have beside its prompt's, of which each is a byte at least (estimate)."""


class GenerateImage:
    """Draw every prompt of SOURCE, each into picture files under OUT/media.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of prompts, a folder of .txt files, a file, a URL,
    or - for a prompt on each line of stdin; columns such as size, seed or n count for their row. Every picture is
    decoded to its end before it is published. What may have been billed without an answer is told as `unknown` and
    not bought again unasked.
    """

    name = "generate-image"
    operation = IMAGE
    kinds = frozenset({"text"})
    params: type[BaseModel] = GenerateImageParams
    request_version = 1

    def schema(self, params: Any, provider: Provider, model: str) -> pa.Schema:
        """``file``, ``bytes``, ``width`` and ``height`` are the first picture's; files are relative to OUT.

        ``seed`` is that of the request a picture came with, where one was sent.

        Raises:
            UsageError: when the provider makes no pictures.
        """
        import pyarrow as pa

        _get_image_model(provider, model)
        one = [
            ("file", pa.string()),
            ("sha256", pa.string()),
            ("bytes", pa.int64()),
            ("format", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("seed", pa.int64()),
            ("revised_prompt", pa.string()),
        ]
        return pa.schema(
            [
                ("prompt", pa.string()),
                ("file", pa.string()),
                ("bytes", pa.int64()),
                ("width", pa.int32()),
                ("height", pa.int32()),
                ("images", pa.list_(pa.struct(one))),
                ("warnings", pa.list_(pa.string())),
            ]
        )

    async def run(
        self, item: Item, params: GenerateImageParams, call: Call, context: CapabilityContext
    ) -> Mapping[str, Any]:
        """One prompt to its pictures."""
        asks = await self._build_asks(item, params, context)
        context.provider.to_wire(asks[0])  # what the model does not take is told before anything is paid
        parts = await _generate_all(asks, item, call, context)
        images = [image for part in parts for image in part]
        if not images:
            raise BadReply(
                f"{item.source}: what was made was withheld by the provider's moderation",
                kind="moderated",
                hint="say it in other words",
            )
        prompt = str(asks[0].params["prompt"])
        shown = [prompt, *(one.sha256 for one in asks[0].inputs)]
        return {
            "content_sha256": hashlib.sha256("\n".join(shown).encode("utf-8", "replace")).hexdigest(),
            "model": asks[0].model,
            "prompt": prompt,
            **{name: images[0][name] for name in ("file", "bytes", "width", "height")},
            "images": images,
            "warnings": [f"{params.n} pictures asked for, {len(images)} came"] if len(images) < params.n else [],
        }

    async def estimate(self, item: Item, params: GenerateImageParams, context: CapabilityContext) -> Estimate:
        """What the prompt would need; a picture whose size the provider decides has about a million pixels."""
        asks = await self._build_asks(item, params, context)
        for ask in asks:
            context.provider.to_wire(ask)
        model = asks[0].model
        facts = _get_image_model(context.provider, model)
        prompt = len(str(asks[0].params["prompt"])) // _BYTES_PER_TOKEN + 1
        likely = _expected_usage(facts, asks[0].params, params.n, prompt * len(asks), ceiling=False)
        ceiling = _expected_usage(
            facts, asks[0].params, params.n, sum(a.ceiling.input_tokens or 0 for a in asks), ceiling=True
        )
        likely, ceiling = (replace(one, requests=len(asks)) for one in (likely, ceiling))
        return Estimate(len(asks), likely, ceiling, model=model)

    async def _build_asks(self, item: Item, params: GenerateImageParams, context: CapabilityContext) -> list[Ask]:
        """As many requests as the pictures take, each with a seed or a sample of its own."""
        model = params.model or context.model
        facts, asked = _get_image_model(context.provider, model), await _build_image_params(item, params, context)
        inputs = await load_reference_images(params.reference_images or (), item, context)
        return [
            self._build_ask(item, model, facts, asked, inputs, first, count)
            for first, count in _split_into_requests(facts, params, asked)
        ]

    def _build_ask(
        self,
        item: Item,
        model: str,
        facts: ImageModel,
        asked: Mapping[str, JSON],
        inputs: tuple[Input, ...],
        first: int,
        count: int,
    ) -> Ask:
        own: dict[str, JSON] = {"n": count} if count > 1 else {}
        seed = asked.get("seed")
        if isinstance(seed, int):
            own["seed"] = seed + first
        told = len(str(asked["prompt"]).encode("utf-8", "replace")) + _EXTRA_PROMPT_TOKENS
        return Ask(
            capability=self.name,
            operation=self.operation,
            model=model,
            params={**asked, **own},
            inputs=inputs,
            ceiling=_expected_usage(facts, asked, count, told, ceiling=True),
            sample=item.sample + first * _SAMPLE_STRIDE,
            version=self.request_version,
            item_id=item.item_id,
        )


async def _generate_all(
    asks: Sequence[Ask], item: Item, call: Call, context: CapabilityContext
) -> list[list[dict[str, Any]]]:
    """The pictures of all requests, a few asked for at once. After a failure what is under way may end, no more."""
    gate, failed = asyncio.Semaphore(_MAX_CONCURRENT_REQUESTS), asyncio.Event()

    async def one(ask: Ask, first: int) -> list[dict[str, Any]]:
        async with gate:
            if failed.is_set():
                return []
            try:
                return await _generate_images(ask, first, item, call, context)
            except BaseException:
                failed.set()
                raise

    firsts = [sum(_requested_count(ask) for ask in asks[:place]) for place in range(len(asks))]
    parts = await asyncio.gather(*map(one, asks, firsts), return_exceptions=True)
    made = []
    for part in parts:
        if isinstance(part, BaseException):
            raise part
        made.append(part)
    return made


async def _generate_images(
    ask: Ask, first: int, item: Item, call: Call, context: CapabilityContext
) -> list[dict[str, Any]]:
    """The pictures of one request, bought anew only where a retry was asked for and the earlier ones are of no use.

    A retry raises the item's sample, yet what other requests of the item brought is kept: earlier samples are looked
    at first, and only an old loss, never one of this moment, leads on to the next.
    """
    least = item.sample if context.refresh else 0
    for sample in range(ask.sample - item.sample + least, ask.sample):
        began, old = time.time_ns() // 1000, True
        try:
            answer = await call(replace(ask, sample=sample))
            old = answer.started_at is not None and answer.started_at < began
            made = await _publish_images(answer, ask, first, item, context)
        except (UnknownOutcome, BadReply) as lost:
            if lost.attempts or not old:
                raise
            continue
        if made or not old:
            return made
    return await _publish_images(await call(ask), ask, first, item, context)


async def _publish_images(
    answer: Answer, ask: Ask, first: int, item: Item, context: CapabilityContext
) -> list[dict[str, Any]]:
    seed = ask.params.get("seed")
    passed = [picture for picture in answer.data["pictures"] if not picture["moderated"]]
    return [
        await publish_image(
            {**picture, "seed": seed if picture["seed"] is None else picture["seed"]}, number, item, context
        )
        for number, picture in enumerate(passed, first + 1)
    ]


def _get_image_model(provider: Provider, model: str) -> ImageModel:
    return provider.model_facts(IMAGE, model, ImageModel)


def _requested_count(ask: Ask) -> int:
    count = ask.params.get("n", 1)
    return count if isinstance(count, int) else 1


async def _build_image_params(item: Item, params: GenerateImageParams, context: CapabilityContext) -> dict[str, JSON]:
    """The parameters that are set, by their neutral names, with the prompts as they are sent."""
    own = {"model", "n", "reference_images"}
    asked: dict[str, JSON] = params.model_dump(mode="json", exclude=own, exclude_none=True)
    asked["prompt"] = await render_text(item, "prompt", params.prompt, context)
    if params.negative_prompt:
        asked["negative_prompt"] = await render_text(
            item, "negative_prompt", params.negative_prompt, context, optional=True
        )
    return asked


def _split_into_requests(
    facts: ImageModel, params: GenerateImageParams, asked: Mapping[str, JSON]
) -> Sequence[tuple[int, int]]:
    """The first picture of each request and how many it asks for: as the model takes and a reply surely holds."""
    pixels = int(facts.max_billed_megapixels({**asked, "steps": None}) * 1_000_000)
    held = max(1, _MAX_REPLY_BYTES // max(1, pixels * _BYTES_PER_PIXEL))
    most = facts.max_n if params.response_format == "url" else min(facts.max_n, held)
    return [(first, min(most, params.n - first)) for first in range(0, params.n, most)]


def _expected_usage(facts: ImageModel, asked: Mapping[str, JSON], count: int, prompt: int, *, ceiling: bool) -> Usage:
    """What so many pictures are billed for: likely, or at the most."""
    each = facts.max_billed_megapixels(asked) if ceiling else facts.likely_billed_megapixels(asked)
    tokens = facts.output_tokens(asked, ceiling=ceiling)
    drawn = None if tokens is None else tokens * count
    return Usage(
        input_tokens=None if drawn is None else prompt,
        output_tokens=drawn,
        image_output_tokens=drawn,
        images=count,
        megapixels=None if facts.flat else Decimal(count) * each,
        requests=1,
    )
