"""caption: images to text, one or several in a prompt, free text or fields of a schema."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.text.misread_answers import MISREAD_ANSWERS
from mediamill.tasks.capabilities.text.prompts import PromptParams, render_row
from mediamill.tasks.capabilities.text.structured_completion import Prompt, StructuredCompletion, get_answer_fields
from mediamill.tasks.capabilities.visual.image_inputs import (
    COPIES_IN_MEMORY,
    ImageInput,
    check_image_count,
    estimate_image,
    find_image_flags,
    get_image_fields,
    get_vision,
    is_tiff,
    prepare_image_input,
    to_image_columns,
    to_message_part,
)
from mediamill.tasks.capabilities.visual.near_duplicates import DuplicateGroups
from mediamill.tasks.domain import Item
from mediamill.tasks.providers.operations.vision import Detail
from mediamill.tasks.providers.operations.vision_chat import VISION_CHAT
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_PROMPT = "Describe this picture in one or two plain sentences."


class CaptionParams(PromptParams):
    """Parameters of captions; ``prompt`` and ``system`` are templates over the row's columns."""

    detail: Detail = Field(
        "auto",
        description="image size: auto (default: as large as the model can use), full, or economy (smallest useful)",
    )
    fetch: bool = Field(default=False, description="download URLs here and send the images instead of the URLs")
    dedup: Literal["exact", "near"] | None = Field(
        None,
        description="send one image of a group of equal (exact) or nearly equal (near) images, and copy its answer",
    )


class Caption:
    """Caption every image of SOURCE, or answer any prompt about it.

    SOURCE is a folder, a glob, a file, a URL, a manifest (.csv .tsv .jsonl .parquet), or - for a list on stdin.
    The prompt is a template over the manifest's columns: --prompt "Describe {{ product }} for a shop." Ready prompts
    for alt texts, tags, OCR and more: configs/jobs. Without any key the built-in provider measures and describes.
    """

    name = "caption"
    operation = VISION_CHAT
    kinds = frozenset({"image"})
    params: type[PromptParams] = CaptionParams
    request_version = 1
    misreadings = MISREAD_ANSWERS
    sidecars = "text"
    _completion = StructuredCompletion("caption", VISION_CHAT, 1)

    def schema(self, params: CaptionParams, provider: Provider, model: str) -> pa.Schema:
        """The answer's columns, those about the images, ``duplicate_of``, and those of a schema."""
        import pyarrow as pa

        from mediamill.tasks.sinks.schema import make_field

        group_fields = [
            make_field(
                "duplicate_of",
                pa.string(),
                "item_id of the image that was sent, where this one is equal or looks alike (--dedup)",
            ),
            make_field("looks", pa.string(), "name of the group of equal or similar images; null without --dedup"),
        ]
        return pa.schema([*get_image_fields(), *group_fields, *get_answer_fields(params)])

    @staticmethod
    def is_outdated(columns: Collection[str], row: Mapping[str, Any]) -> bool:
        """True for a row of the time when TIFF images were turned twice; one of an upright image stays as it is."""
        return "flags" not in columns and (not row or any(is_tiff(image) for image in row.get("pictures") or ()))

    async def run(self, item: Item, params: CaptionParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """Send one item's images with the prompt."""
        vision, members = get_vision(context), item.members()
        check_image_count(item, len(members), vision)
        images = [
            await prepare_image_input(
                member,
                context,
                vision,
                params.detail,
                count=len(members),
                fetch=params.fetch,
                thumbnail=params.dedup == "near",
            )
            for member in members
        ]
        prompt = await self._build_prompt(item, params, [image.tokens for image in images], context)
        async with context.reserve_memory(COPIES_IN_MEMORY * sum(image.size for image in images)):
            inputs, duplicate_of, group_name = await self._find_duplicate(item, params, context, images, prompt)
            answer_columns = await self._completion.request_answer(
                item, replace(prompt, inputs=inputs), params, call, context
            )
        del answer_columns["choices"]
        return {
            **answer_columns,
            **to_image_columns(images),
            "duplicate_of": duplicate_of,
            "looks": group_name,
            "flags": [*find_image_flags(images), *answer_columns["flags"]],
        }

    async def estimate(self, item: Item, params: CaptionParams, context: CapabilityContext) -> Estimate:
        """What the images and the prompt would need, from the images' headers."""
        vision, members = get_vision(context), item.members()
        check_image_count(item, len(members), vision)
        estimates = await asyncio.gather(
            *(
                estimate_image(member, context, vision, params.detail, count=len(members), fetch=params.fetch)
                for member in members
            )
        )
        prompt = await self._build_prompt(item, params, [estimate.tokens for estimate in estimates], context)
        return replace(
            self._completion.estimate(item, prompt, params, context),
            saved_tokens=sum(estimate.saved_tokens for estimate in estimates),
            saved_bytes=sum(estimate.saved_bytes for estimate in estimates),
        )

    async def _build_prompt(
        self, item: Item, params: CaptionParams, tokens: Sequence[tuple[int, int]], context: CapabilityContext
    ) -> Prompt:
        """The images first, then the prompt."""
        file_name = PurePosixPath(item.source).name
        question = await render_row(item, "prompt", params.prompt or DEFAULT_PROMPT, context, file_name=file_name)
        vision = get_vision(context)
        parts = [to_message_part(n, vision, params.detail) for n in range(len(tokens))]
        user = {"role": "user", "content": [*parts, {"type": "text", "text": question}]}
        system_prompt = (
            await render_row(item, "system", params.system, context, file_name=file_name) if params.system else None
        )
        system = [{"role": "system", "content": system_prompt}] if system_prompt else []
        min_tokens, max_tokens = (sum(bounds[end] for bounds in tokens) for end in (0, 1))
        return Prompt((*system, user), media_tokens=(min_tokens, max_tokens))

    async def _find_duplicate(
        self,
        item: Item,
        params: CaptionParams,
        context: CapabilityContext,
        images: Sequence[ImageInput],
        prompt: Prompt,
    ) -> tuple[tuple[Any, ...], str | None, str | None]:
        """The inputs to send: the item's own, or those of the first item of its group, whose answer is then reused.

        Returns:
            The inputs, the first item's id when it is another one, and the group's name.
        """
        inputs = tuple(image.input for image in images)
        if params.dedup is None:
            return inputs, None, None
        groups = await context.compute_from_results(DuplicateGroups.from_results)
        prompt_hash = hashlib.sha256(repr((prompt.messages, context.model)).encode()).hexdigest()[:16]
        thumbnails = [image.prepared.thumbnail if image.prepared else None for image in images]
        group_name = groups.to_group_name(prompt_hash, thumbnails, inputs)
        leader = groups.join(group_name, item.item_id, [(source.sha256, source.recipe) for source in inputs])
        if leader is None:
            return inputs, None, group_name
        pairs = zip(inputs, leader.inputs, strict=True)
        leader_inputs = tuple(replace(own, sha256=sha256, recipe=recipe) for own, (sha256, recipe) in pairs)
        return leader_inputs, leader.item_id, group_name
