"""caption: pictures to words, one or several in a prompt, free or held to a schema."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.text.prompts import PromptParams, render_row
from mediamill.tasks.capabilities.text.structured_completion import Prompt, StructuredCompletion, answer_fields
from mediamill.tasks.capabilities.visual.image_inputs import (
    ImageInput,
    check_image_count,
    estimate_image,
    get_vision,
    image_fields,
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
_COPIES_IN_MEMORY = 3
"""Times a picture's size that a request holds: its bytes, their base64, the body."""


class CaptionParams(PromptParams):
    """What can be asked about pictures; ``prompt`` and ``system`` are templates over the row's columns."""

    detail: Detail = Field(
        "auto", description="auto: as large as the model can use; full; economy: the least that is useful"
    )
    fetch: bool = Field(default=False, description="fetch URLs here and send the pictures, not their addresses")
    dedup: Literal["exact", "near"] | None = Field(
        None, description="send one of a group of equal (exact) or nearly equal (near) pictures, copy its answer"
    )


class Caption:
    """Caption every picture of SOURCE, or answer any prompt about it.

    SOURCE is a folder, a glob, a file, a URL, a manifest (.csv .tsv .jsonl .parquet), or - for a list on stdin.
    The prompt is a template over the manifest's columns: --prompt "Describe {{ product }} for a shop." Ready prompts
    for alt texts, tags, OCR and more: configs/jobs. Without any key the built-in provider measures and describes.
    """

    name = "caption"
    operation = VISION_CHAT
    kinds = frozenset({"image"})
    params: type[PromptParams] = CaptionParams
    request_version = 1
    _completion = StructuredCompletion("caption", VISION_CHAT, 1)

    def schema(self, params: CaptionParams, provider: Provider, model: str) -> pa.Schema:
        """The answer's columns, what was shown, ``duplicate_of``, and a schema's own."""
        import pyarrow as pa

        own = [pa.field("duplicate_of", pa.string()), pa.field("looks", pa.string())]
        return pa.schema([*image_fields(), *own, *answer_fields(params)])

    async def run(self, item: Item, params: CaptionParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """One item's pictures to an answer."""
        vision, members = get_vision(context), item.members()
        check_image_count(item, len(members), vision)
        near = params.dedup == "near"
        wanted = {"count": len(members), "fetch": params.fetch, "thumbnail": near}
        found = [await prepare_image_input(one, context, vision, params.detail, **wanted) for one in members]  # type: ignore[arg-type]
        prompt = self._build_prompt(item, params, [one.tokens for one in found], context)
        async with context.reserve_memory(_COPIES_IN_MEMORY * sum(one.size for one in found)):
            inputs, first, looks = await self._find_duplicate(item, params, context, found, prompt)
            answered = await self._completion.request_answer(
                item, replace(prompt, inputs=inputs), params, call, context
            )
        del answered["choices"]
        return {**answered, **to_image_columns(found), "duplicate_of": first, "looks": looks}

    async def estimate(self, item: Item, params: CaptionParams, context: CapabilityContext) -> Estimate:
        """What the pictures and the prompt would come to, from the pictures' headers."""
        vision, members = get_vision(context), item.members()
        check_image_count(item, len(members), vision)
        glances = await asyncio.gather(
            *(
                estimate_image(one, context, vision, params.detail, count=len(members), fetch=params.fetch)
                for one in members
            )
        )
        prompt = self._build_prompt(item, params, [one.tokens for one in glances], context)
        return replace(
            self._completion.estimate(item, prompt, params, context),
            saved_tokens=sum(one.saved_tokens for one in glances),
            saved_bytes=sum(one.saved_bytes for one in glances),
        )

    def _build_prompt(
        self, item: Item, params: CaptionParams, tokens: Sequence[tuple[int, int]], context: CapabilityContext
    ) -> Prompt:
        """Pictures first, then what is asked about them."""
        file_name = PurePosixPath(item.source).name
        asked = render_row(item, "prompt", params.prompt or DEFAULT_PROMPT, file_name=file_name)
        vision = get_vision(context)
        parts = [to_message_part(n, vision, params.detail) for n in range(len(tokens))]
        user = {"role": "user", "content": [*parts, {"type": "text", "text": asked}]}
        words = render_row(item, "system", params.system, file_name=file_name) if params.system else None
        system = [{"role": "system", "content": words}] if words else []
        low, high = (sum(one[end] for one in tokens) for end in (0, 1))
        return Prompt((*system, user), media_tokens=(low, high))

    async def _find_duplicate(
        self, item: Item, params: CaptionParams, context: CapabilityContext, found: Sequence[ImageInput], prompt: Prompt
    ) -> tuple[tuple[Any, ...], str | None, str | None]:
        """The inputs to ask about: the item's own, or those of the first that looks the same, which is then named."""
        inputs = tuple(one.input for one in found)
        if params.dedup is None:
            return inputs, None, None
        known = await context.compute_from_results(DuplicateGroups.from_results)
        asked = hashlib.sha256(repr((prompt.messages, context.model)).encode()).hexdigest()[:16]
        pictures = [one.prepared for one in found]
        looks = known.to_group_name(asked, [picture.thumbnail if picture else None for picture in pictures], inputs)
        first = known.join(looks, item.item_id, [(one.sha256, one.recipe) for one in inputs])
        if first is None:
            return inputs, None, looks
        same = zip(inputs, first.inputs, strict=True)
        taken = tuple(replace(own, sha256=sha256, recipe=recipe) for own, (sha256, recipe) in same)
        return taken, first.item_id, looks
