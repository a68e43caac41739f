"""generate-video: prompts to videos, each a job that is created once, waited for, fetched and looked through."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel

from mediamill.tasks import fault_injection
from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.text.prompts import render_text
from mediamill.tasks.capabilities.visual.reference_images import load_reference_images
from mediamill.tasks.capabilities.visual.video_params import GenerateVideoParams, build_request_params
from mediamill.tasks.domain import JSON, Answer, Ask, Input, Item, Usage
from mediamill.tasks.errors import BadInput, BadReply
from mediamill.tasks.providers.errors.moderation import MODERATED
from mediamill.tasks.providers.operations.image_config import parse_image_size
from mediamill.tasks.providers.operations.videos import VIDEO, VideoConfig, VideoModel
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

    from mediamill.tasks.media.video_probe import DecodedVideo
    from mediamill.tasks.sinks.media import MediaFile

_DEFAULT_REFERENCE_SIZE = (720, 1280)
"""The size of a video whose size is not asked for, where its pictures must have the same (provider docs: OpenAI)."""
_SUFFIXES = {"mp4": ".mp4", "webm": ".webm"}


class GenerateVideo:
    """Make a video of every prompt of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of prompts, a folder of .txt files, a file, or - for
    a prompt on each line of stdin. Columns called like a parameter (model, size, seconds, seed, negative_prompt,
    keyframes, reference_images ...) hold it for their row. Parameters are checked before anything is paid. A job is
    created once: a run that was killed looks it up, and one whose creation got no answer is reported, never repeated
    unasked. With --preview the cheapest version of each is made; `mediamill retry OUT --promote` then makes the final
    one of those whose file still stands in OUT/media.
    """

    name = "generate-video"
    operation = VIDEO
    kinds = frozenset({"text"})
    params: type[BaseModel] = GenerateVideoParams
    request_version = 1

    def schema(self, params: GenerateVideoParams, provider: Provider, model: str) -> pa.Schema:
        """``file`` is relative to OUT; size, ``seconds``, ``frames`` and ``fps`` are measured in the file.

        ``states`` are those the job was seen in, with the seconds since this run began to look.
        """
        import pyarrow as pa

        _get_video_config(provider)  # refused here, before a source is read, where it makes none
        state = pa.struct([("status", pa.string()), ("after_seconds", pa.float64())])
        return pa.schema(
            [
                ("file", pa.string()),
                ("sha256", pa.string()),
                ("bytes", pa.int64()),
                ("format", pa.string()),
                ("width", pa.int32()),
                ("height", pa.int32()),
                ("seconds", pa.float64()),
                ("frames", pa.int64()),
                ("fps", pa.float64()),
                ("codec", pa.string()),
                ("audio", pa.bool_()),
                ("prompt", pa.string()),
                ("asked", pa.string()),
                ("preview", pa.bool_()),
                ("job_id", pa.string()),
                ("states", pa.list_(state)),
            ]
        )

    async def run(
        self, item: Item, params: GenerateVideoParams, call: Call, context: CapabilityContext
    ) -> Mapping[str, Any]:
        """One prompt to its video."""
        model, asked = await self._build_request(item, params, context)
        ask = _build_video_ask(item, asked, model, await _load_input_images(item, params, asked, context), context)
        answer = await call(ask)
        if answer.data["refused"]:
            raise BadReply(answer.data["refused"], kind=MODERATED, hint="change the prompt or the pictures")
        made, clip = await self._fetch_video(item, ask, answer, context)
        return {
            "content_sha256": hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest(),
            "model": model,
            "file": made.file,
            "sha256": made.sha256,
            "bytes": made.size,
            **{name: getattr(clip, name) for name in clip.__slots__},
            "prompt": asked.get("prompt"),
            "asked": orjson.dumps({k: v for k, v in asked.items() if k != "prompt"}).decode(),
            "preview": params.preview,
            "job_id": answer.data["job_id"],
            "states": answer.data["states"],
        }

    async def estimate(self, item: Item, params: GenerateVideoParams, context: CapabilityContext) -> Estimate:
        """What the video would cost; its parameters and pictures are checked as a run checks them."""
        model, asked = await self._build_request(item, params, context)
        inputs = await _load_input_images(item, params, asked, context)
        usage = _max_video_usage(asked, _get_video_model(context.provider, model), len(inputs))
        return Estimate(1, usage, usage, seconds=None, model=model)

    async def _build_request(
        self, item: Item, params: GenerateVideoParams, context: CapabilityContext
    ) -> tuple[str, dict[str, JSON]]:
        """The model, and the fields it is asked with."""
        provider, model = context.provider, params.model or context.model
        prompt = await render_text(item, "prompt", params.prompt, context, optional=True)
        if params.negative_prompt:
            unwanted = await render_text(item, "negative_prompt", params.negative_prompt, context, optional=True)
            params = params.model_copy(update={"negative_prompt": unwanted or None})
        try:
            return model, build_request_params(
                params, prompt.strip(), _get_video_model(provider, model), _get_video_config(provider), model
            )
        except BadInput as error:
            error.message = f"{item.source}: {error.message}"
            raise

    async def _fetch_video(
        self, item: Item, ask: Ask, answer: Answer, context: CapabilityContext
    ) -> tuple[MediaFile, DecodedVideo]:
        """The file, whole and decoded to its last frame, under its final name; that tells its content."""
        from mediamill.tasks.media.video_probe import decode_video
        from mediamill.tasks.sinks.media import publish_media

        path = context.scratch / f"{uuid.uuid4().hex}.video"
        try:
            got = await context.fetch_output(ask, answer.data, path)
            fault_injection.failpoint("collect.after")
            try:
                clip = await context.run_in_thread(decode_video, path, context.raise_if_stopped)
            except BadInput as error:
                raise BadReply(
                    f"{item.source}: the video of job {answer.data['job_id']}: {error.message}",
                    kind="bad_video",
                    hint="mediamill retry OUT fetches it again; it is paid for",
                ) from None
            name = f"{item.item_id}-{got.sha256[:12]}"
            made = await context.run_in_thread(
                publish_media, path, context.out, name, _SUFFIXES.get(clip.format, ".mp4")
            )
        finally:
            path.unlink(missing_ok=True)
        return made, clip


def _get_video_model(provider: Provider, model: str) -> VideoModel:
    return provider.model_facts(VIDEO, model, VideoModel)


def _get_video_config(provider: Provider) -> VideoConfig:
    return provider.operation_config(VIDEO, VideoConfig)


def _build_video_ask(
    item: Item, asked: Mapping[str, JSON], model: str, inputs: tuple[Input, ...], context: CapabilityContext
) -> Ask:
    return Ask(
        capability="generate-video",
        operation=VIDEO,
        model=model,
        params=asked,
        inputs=inputs,
        ceiling=_max_video_usage(asked, _get_video_model(context.provider, model), len(inputs)),
        sample=item.sample,
        version=GenerateVideo.request_version,
        item_id=item.item_id,
    )


def _max_video_usage(asked: Mapping[str, JSON], films: VideoModel, pictures: int) -> Usage:
    """The most it is billed for: of what is not asked for, the longest the model makes."""
    seconds = asked.get("seconds") or max(films.seconds, default=None)
    return Usage(
        videos=1,
        video_seconds=Decimal(str(seconds)) if seconds is not None else None,
        video_lines=_parse_shorter_side(asked),
        input_images=pictures,
        requests=1,
    )


def _parse_shorter_side(asked: Mapping[str, JSON]) -> int | None:
    """The shorter side in pixels, where it is asked for."""
    if asked.get("size"):
        return min(int(side) for side in str(asked["size"]).split("x"))
    digits = "".join(filter(str.isdigit, str(asked.get("resolution") or "")))
    return int(digits) if digits else None


async def _load_input_images(
    item: Item, params: GenerateVideoParams, asked: Mapping[str, JSON], context: CapabilityContext
) -> tuple[Input, ...]:
    """Keyframes, then reference pictures."""
    places = [frame.image for frame in params.keyframes or ()] + list(params.reference_images or ())
    size = parse_image_size(asked.get("size")) or _DEFAULT_REFERENCE_SIZE
    exact = _get_video_config(context.provider).exact_reference_size
    return await load_reference_images(places, item, context, exactly=size if exact else None)
