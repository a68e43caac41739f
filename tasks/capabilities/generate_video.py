"""generate-video: prompts to videos, each a job that is created once, waited for, downloaded and decoded."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import BaseModel

from mediamill.tasks import fault_injection
from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate, prefix_bad_input
from mediamill.tasks.capabilities.text.prompts import render_text
from mediamill.tasks.capabilities.visual.reference_images import load_reference_images
from mediamill.tasks.capabilities.visual.row_model import check_row_model, warn_of_model_end
from mediamill.tasks.capabilities.visual.video_params import (
    GenerateVideoParams,
    build_request_params,
    find_documented_warnings,
)
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
"""A video's size when none is requested, for endpoints whose input images must have it (provider docs: OpenAI)."""
_SUFFIXES = {"mp4": ".mp4", "webm": ".webm"}


class GenerateVideo:
    """Generate a video from every prompt of SOURCE.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of prompts, a folder of .txt files, a file, or - for
    a prompt on each line of stdin. Columns named like a parameter (model, size, seconds, seed, negative_prompt,
    keyframes, reference_images ...) set it for their row. Parameters are checked before anything is paid. A job is
    created once: a later run of a killed one looks it up, and a job whose creation got no answer is reported and
    created again only by `mediamill retry OUT --only unknown`. With --preview the cheapest version of each video is
    generated; `mediamill retry OUT --promote` then generates the final version of those whose file is still in
    OUT/media.
    """

    name = "generate-video"
    operation = VIDEO
    kinds = frozenset({"text"})
    params: type[BaseModel] = GenerateVideoParams
    request_version = 1

    def schema(self, params: GenerateVideoParams, provider: Provider, model: str) -> pa.Schema:
        """``file`` is relative to OUT; size, ``seconds``, ``frames`` and ``fps`` are measured in the file.

        ``states`` are the job's states, with the seconds since this run began to poll it.
        """
        import pyarrow as pa

        from mediamill.tasks.sinks.schema import make_field

        _get_video_config(provider)  # raises, before the source is read, when the provider generates no videos
        state = pa.struct(
            [
                make_field("status", pa.string(), "the job's state, as the provider named it"),
                make_field("after_seconds", pa.float64(), "seconds since this run began to poll the job"),
            ]
        )
        return pa.schema(
            [
                make_field("file", pa.string(), "path relative to OUT"),
                make_field("sha256", pa.string(), "SHA-256 of the file"),
                make_field("bytes", pa.int64(), "size of the file"),
                make_field("format", pa.string(), "container, e.g. mp4"),
                make_field("width", pa.int32(), "width in pixels, measured in the file"),
                make_field("height", pa.int32(), "height in pixels, measured in the file"),
                make_field("seconds", pa.float64(), "length, measured in the file"),
                make_field("frames", pa.int64(), "number of frames, counted in the file"),
                make_field("fps", pa.float64(), "frames per second, measured in the file"),
                make_field("codec", pa.string(), "video codec"),
                make_field("audio", pa.bool_(), "true when the file has an audio track"),
                make_field("prompt", pa.string(), "the prompt that was sent"),
                make_field("asked", pa.string(), "the other parameters that were sent, as JSON"),
                make_field(
                    "preview", pa.bool_(), "true for a preview, which `retry --promote` makes a full version of"
                ),
                make_field("job_id", pa.string(), "the job's id at the provider"),
                make_field("states", pa.list_(state), "states of the job in their order"),
                make_field("warnings", pa.list_(pa.string()), "what a reader should know about the row"),
            ]
        )

    async def run(
        self, item: Item, params: GenerateVideoParams, call: Call, context: CapabilityContext
    ) -> Mapping[str, Any]:
        """Generate the video of one prompt."""
        model, request_params = await self._build_request(item, params, context)
        ask = _build_video_ask(
            item, request_params, model, await _load_input_images(item, params, request_params, context), context
        )
        answer = await call(ask)
        if answer.data["refused"]:
            raise BadReply(answer.data["refused"], kind=MODERATED, hint="change the prompt or the images")
        published, video = await self._fetch_video(item, ask, answer, context, preview=params.preview)
        return {
            "content_sha256": hashlib.sha256(orjson.dumps(request_params, option=orjson.OPT_SORT_KEYS)).hexdigest(),
            "model": model,
            "file": published.file,
            "sha256": published.sha256,
            "bytes": published.size,
            **{name: getattr(video, name) for name in video.__slots__},
            "prompt": request_params.get("prompt"),
            "asked": orjson.dumps({k: v for k, v in request_params.items() if k != "prompt"}).decode(),
            "preview": params.preview,
            "job_id": answer.data["job_id"],
            "states": answer.data["states"],
            "warnings": [
                *find_documented_warnings(
                    request_params,
                    _get_video_model(context.provider, model),
                    _get_video_config(context.provider),
                    model,
                ),
                *(warn_of_model_end(context.provider, VIDEO, params.model) if params.model else []),
            ],
        }

    async def estimate(self, item: Item, params: GenerateVideoParams, context: CapabilityContext) -> Estimate:
        """What the video would need; its parameters and images are checked as in a run."""
        model, request_params = await self._build_request(item, params, context)
        inputs = await _load_input_images(item, params, request_params, context)
        usage = _compute_max_usage(request_params, _get_video_model(context.provider, model), len(inputs))
        return Estimate(1, usage, usage, seconds=None, model=model)

    async def _build_request(
        self, item: Item, params: GenerateVideoParams, context: CapabilityContext
    ) -> tuple[str, dict[str, JSON]]:
        """The model, and the parameters of the request."""
        provider = context.provider
        with prefix_bad_input(item):
            model = check_row_model(provider, VIDEO, params.model) if params.model else context.model
        prompt = await render_text(item, "prompt", params.prompt, context, optional=True)
        if params.negative_prompt:
            negative_prompt = await render_text(item, "negative_prompt", params.negative_prompt, context, optional=True)
            params = params.model_copy(update={"negative_prompt": negative_prompt or None})
        with prefix_bad_input(item):
            return model, build_request_params(
                params, prompt.strip(), _get_video_model(provider, model), _get_video_config(provider), model
            )

    async def _fetch_video(
        self, item: Item, ask: Ask, answer: Answer, context: CapabilityContext, *, preview: bool
    ) -> tuple[MediaFile, DecodedVideo]:
        """Download the video, decode it to its last frame, and publish it; no other video is written over."""
        from mediamill.tasks.media.video_probe import decode_video
        from mediamill.tasks.sinks.media import publish_media

        path = context.scratch / f"{uuid.uuid4().hex}.video"
        try:
            await context.fetch_output(ask, answer.data, path)
            fault_injection.failpoint("collect.after")
            try:
                video = await context.run_in_thread(decode_video, path, context.raise_if_stopped)
            except BadInput as error:
                raise BadReply(
                    f"{item.source}: the video of job {answer.data['job_id']}: {error.message}",
                    kind="bad_video",
                    hint="mediamill retry OUT fetches it again; it is paid for",
                ) from None
            suffix, part = _SUFFIXES.get(video.format, ".mp4"), "preview" if preview else None
            published = await context.run_in_thread(
                publish_media, path, context.out, item, suffix, part, keeps_others=True
            )
        finally:
            path.unlink(missing_ok=True)
        return published, video


def _find_documented_warnings(request_params: Mapping[str, JSON], provider: Provider, model: str) -> list[str]:
    video_model, config = _get_video_model(provider, model), _get_video_config(provider)
    return list(find_documented_warnings(request_params, video_model, config, model))


def _get_video_model(provider: Provider, model: str) -> VideoModel:
    return provider.model_facts(VIDEO, model, VideoModel)


def _get_video_config(provider: Provider) -> VideoConfig:
    return provider.operation_config(VIDEO, VideoConfig)


def _build_video_ask(
    item: Item, request_params: Mapping[str, JSON], model: str, inputs: tuple[Input, ...], context: CapabilityContext
) -> Ask:
    return Ask(
        capability="generate-video",
        operation=VIDEO,
        model=model,
        params=request_params,
        inputs=inputs,
        ceiling=_compute_max_usage(request_params, _get_video_model(context.provider, model), len(inputs)),
        sample=item.sample,
        version=GenerateVideo.request_version,
        item_id=item.item_id,
    )


def _compute_max_usage(request_params: Mapping[str, JSON], video_model: VideoModel, n_images: int) -> Usage:
    """The most that is billed; without a requested length, the longest that the model generates."""
    seconds = request_params.get("seconds") or max(video_model.seconds, default=None)
    return Usage(
        videos=1,
        video_seconds=Decimal(str(seconds)) if seconds is not None else None,
        video_lines=_parse_shorter_side(request_params),
        input_images=n_images,
        requests=1,
    )


def _parse_shorter_side(request_params: Mapping[str, JSON]) -> int | None:
    """The requested shorter side in pixels; None when no size is requested."""
    if request_params.get("size"):
        return min(int(side) for side in str(request_params["size"]).split("x"))
    digits = "".join(filter(str.isdigit, str(request_params.get("resolution") or "")))
    return int(digits) if digits else None


async def _load_input_images(
    item: Item, params: GenerateVideoParams, request_params: Mapping[str, JSON], context: CapabilityContext
) -> tuple[Input, ...]:
    """Load the keyframes, then the reference images."""
    references = [frame.image for frame in params.keyframes or ()] + list(params.reference_images or ())
    size = parse_image_size(request_params.get("size")) or _DEFAULT_REFERENCE_SIZE
    needs_exact_size = _get_video_config(context.provider).exact_reference_size
    return await load_reference_images(references, item, context, exact_size=size if needs_exact_size else None)
