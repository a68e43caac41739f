"""describe-video: videos to words, whole where the endpoint takes them, otherwise frame by frame and in windows."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from mediamill.tasks.capabilities.base import Call, Estimate, Kit, Media
from mediamill.tasks.capabilities.speech.piece_sender import clock
from mediamill.tasks.capabilities.text.prompts import PromptParams, render_row
from mediamill.tasks.capabilities.text.structured_completion import Prompt, StructuredCompletion, answer_fields
from mediamill.tasks.capabilities.transcribe import HearingParams, Transcribe
from mediamill.tasks.capabilities.visual.image_inputs import image_part, vision_of
from mediamill.tasks.domain import Input, Item, Payload, Usage
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.base import Provider
from mediamill.tasks.providers.chatting import VISION
from mediamill.tasks.providers.vision import Detail, Vision

if TYPE_CHECKING:
    import pyarrow as pa

    from mediamill.tasks.media.frames import Frame, VideoInfo

USUAL = "Describe what happens in this video, in order, in a short paragraph."
_PART = "These are frames of one part of a longer video. Describe what happens in this part, in order."
_JOINED = "These are descriptions of the parts of one video, in order.\n\n{parts}\n\n{asked}"
_HEARD = "What is said in it:\n{text}"
_DECODED = 96 * 2**20
"""Bytes held while a video is decoded: a few of its frames."""
_BASE64 = 3
_NO_SOUND = frozenset({"no_audio", "empty", "silent", "not_audio"})
_WORDS_A_SECOND = 3
_BYTES_A_WORD = 12
_MOST_HEARD = 200_000


class VideoParams(PromptParams):
    """What can be asked about videos; ``prompt`` and ``system`` are templates over the row's columns."""

    frames: int = Field(8, ge=1, le=128, description="frames of each window that the model is shown")
    every: float | None = Field(None, gt=0, le=3600, description="a frame every so many seconds, instead of frames")
    scenes: bool = Field(default=False, description="take frames where the picture changes most")
    window: float = Field(300.0, ge=5, le=86_400, description="seconds of video in one prompt; more are summed up")
    detail: Detail = Field("auto", description="auto: as large as the model can use; full; economy")
    whole: bool | None = Field(
        None, description="send the video itself; by default where the model takes videos and it is small enough"
    )
    with_audio: bool = Field(default=False, description="transcribe what is said and tell the model")
    audio_model: str | None = Field(None, description="the provider's model that transcribes; default its usual one")
    language: str | None = Field(None, max_length=20, description="language that is spoken; default detected")

    @model_validator(mode="after")
    def _one_way(self) -> VideoParams:
        if self.every is not None and self.scenes:
            raise ValueError("every and scenes are two ways to choose frames: give one")
        return self


class DescribeVideo:
    """Videos to descriptions, or to any answer about them."""

    name = "describe-video"
    operation = VISION
    kinds = frozenset({"video"})
    params: type[PromptParams] = VideoParams
    request_version = 1
    _asker = StructuredCompletion("describe-video", VISION, 1)

    def schema(self, params: VideoParams, provider: Provider, model: str) -> pa.Schema:
        """The answer's columns, what the video is, what was shown of it and when, and what is said in it."""
        import pyarrow as pa

        window = pa.struct([("start", pa.float64()), ("end", pa.float64()), ("text", pa.string())])
        return pa.schema(
            [
                pa.field("width", pa.int32()),
                pa.field("height", pa.int32()),
                pa.field("format", pa.string()),
                pa.field("fps", pa.float64()),
                pa.field("seconds", pa.float64()),
                pa.field("whole", pa.bool_()),
                pa.field("shown_at", pa.list_(pa.float64())),
                pa.field("windows", pa.list_(window)),
                pa.field("transcript", pa.string()),
                pa.field("warnings", pa.list_(pa.string())),
                *answer_fields(params),
            ]
        )

    async def run(self, item: Item, params: VideoParams, call: Call, kit: Kit) -> Mapping[str, Any]:
        """One video to an answer."""
        vision = vision_of(kit)
        async with kit.fetch(item) as media:
            info = await self._looked(item, media, kit)
            heard, warnings = await self._heard(item, params, call, kit, info)
            if _goes_whole(params, vision, info):
                answered = await self._as_a_whole(item, params, call, kit, media, info, heard)
                windows, at = list[dict[str, Any]](), list[float]()
            else:
                answered, windows, at = await self._in_windows(item, params, call, kit, media, info, heard)
        answered.pop("choices", None)
        return {
            **answered,
            "content_sha256": media.sha256,
            "width": info.width,
            "height": info.height,
            "format": info.format,
            "fps": info.fps,
            "seconds": info.seconds,
            "whole": not at,
            "shown_at": at,
            "windows": windows,
            "transcript": heard,
            "warnings": warnings,
        }

    async def estimate(self, item: Item, params: VideoParams, kit: Kit) -> Estimate:
        """What the frames and the prompts would come to; what is said in it is a guess."""
        vision = vision_of(kit)
        async with kit.fetch(item) as media:
            info = await self._looked(item, media, kit)
        letters = min(int(info.seconds * _WORDS_A_SECOND * _BYTES_A_WORD), _MOST_HEARD) if params.with_audio else 0
        heard = "x" * letters or None
        if _goes_whole(params, vision, info):
            prompt = self._prompt(item, params, [{"type": "video", "input": 0}], None, heard)
            told = self._asker.estimate(item, replace(prompt, media_tokens=(0, None)), params, kit)
            return replace(told, seconds=Decimal(str(round(info.seconds, 3))))
        spans = _spans(params, info)
        counts = [len(_moments(params, start, end)) for start, end in spans]
        scale = min(1.0, (vision.longest(params.detail) or 10**6) / max(info.width, info.height))
        low, high = vision.estimate(round(info.width * scale) or 1, round(info.height * scale) or 1, params.detail)
        likely, most, asks = Usage(input_tokens=0, output_tokens=0), Usage(input_tokens=0, output_tokens=0), 0
        for count in [*counts, *([0] if len(counts) > 1 else [])]:
            parts = [image_part(n, vision, params.detail) for n in range(count)]
            prompt = replace(self._prompt(item, params, parts, None, heard), media_tokens=(low * count, high * count))
            one = self._asker.estimate(item, prompt, params, kit)
            likely, most, asks = _sum(likely, one.usage), _sum(most, one.ceiling), asks + 1
        return Estimate(asks, likely, most, Decimal(str(round(info.seconds, 3))))

    async def _looked(self, item: Item, media: Media, kit: Kit) -> VideoInfo:
        from mediamill.tasks.media.frames import read_video_info

        async with kit.hold(_DECODED):
            try:
                return await kit.thread(read_video_info, media.path)
            except BadInput as error:
                error.message = f"{item.source}: {error.message}"
                raise

    async def _heard(
        self, item: Item, params: VideoParams, call: Call, kit: Kit, info: VideoInfo
    ) -> tuple[str | None, list[str]]:
        """What is said in it, where that is asked for and there is a sound track."""
        if not params.with_audio or not info.audio:
            return None, []
        hearing: Any = copy.copy(kit)
        hearing.model = kit.provider.model("transcription", params.audio_model)
        asked = HearingParams.model_validate({"language": params.language} if params.language else {})
        try:
            told = await Transcribe().run(item, asked, call, hearing)
        except BadInput as error:
            if error.kind not in _NO_SOUND:
                raise
            return None, [f"audio: {error.message}"]
        return str(told["text"])[:_MOST_HEARD], list(told["warnings"])

    async def _as_a_whole(
        self, item: Item, params: VideoParams, call: Call, kit: Kit, media: Media, info: VideoInfo, heard: str | None
    ) -> dict[str, Any]:
        from mediamill.tasks.media.frames import mime_of

        payload = Payload(media.path.name, mime_of(info), media.size, path=media.path)
        prompt = self._prompt(item, params, [{"type": "video", "input": 0}], None, heard)
        inputs = (Input(media.sha256, payload=payload),)
        async with kit.hold(_BASE64 * media.size):
            whole = replace(prompt, inputs=inputs, media_tokens=(0, None))
            return await self._asker.answer(item, whole, params, call, kit)

    async def _in_windows(
        self, item: Item, params: VideoParams, call: Call, kit: Kit, media: Media, info: VideoInfo, heard: str | None
    ) -> tuple[dict[str, Any], list[dict[str, Any]], list[float]]:
        """Each window's frames in one prompt; several windows are then summed up in words."""
        spans, told, at = _spans(params, info), list[dict[str, Any]](), list[float]()
        answered: dict[str, Any] = {}
        for start, end in spans:
            frames = await self._frames(item, params, kit, media, start, end)
            at += [frame.at for frame in frames]
            alone = len(spans) == 1
            asked = params if alone else params.model_copy(update={"json_schema": None})
            prompt = self._shown(item, asked, kit, media, frames, None if alone else _PART, heard if alone else None)
            async with kit.hold(_BASE64 * sum(len(frame.data) for frame in frames)):
                answered = await self._asker.answer(item, prompt, asked, call, kit)
            told.append({"start": start, "end": end, "text": answered["text"]})
        if len(spans) > 1:
            parts = "\n\n".join(f"[{clock(one['start'])} to {clock(one['end'])}] {one['text']}" for one in told)
            prompt = self._prompt(item, params, [], parts, heard)
            answered = await self._asker.answer(item, prompt, params, call, kit)
        return answered, told, at

    async def _frames(
        self, item: Item, params: VideoParams, kit: Kit, media: Media, start: float, end: float
    ) -> list[Frame]:
        from mediamill.tasks.media.frames import frames_at, scene_times

        vision = vision_of(kit)
        async with kit.hold(_DECODED):
            try:
                wanted = _moments(params, start, end)
                if params.scenes:
                    wanted = await kit.thread(scene_times, media.path, start, end, params.frames, kit.check)
                if len(wanted) > vision.max_pictures:
                    raise BadInput(
                        f"{len(wanted)} frames in one prompt, the model takes {vision.max_pictures}",
                        kind="too_many_pictures",
                        hint="lower --frames, or --set window to less",
                    )
                return await kit.thread(frames_at, media.path, wanted, vision.longest(params.detail), kit.check)
            except BadInput as error:
                error.message = f"{item.source}: {error.message}"
                raise

    def _shown(
        self,
        item: Item,
        params: VideoParams,
        kit: Kit,
        media: Media,
        frames: Sequence[Frame],
        asked: str | None,
        heard: str | None,
    ) -> Prompt:
        """Frames, each behind its time, then what is asked."""
        vision = vision_of(kit)
        parts: list[dict[str, Any]] = []
        inputs = []
        low = high = 0
        for number, frame in enumerate(frames):
            parts += [{"type": "text", "text": f"At {clock(frame.at)}:"}, image_part(number, vision, params.detail)]
            payload = Payload("frame.jpg", "image/jpeg", len(frame.data), data=frame.data)
            recipe = f"frame-{round(frame.at * 1000)}-{frame.width}x{frame.height}"
            inputs.append(Input(media.sha256, recipe, payload=payload))
            least, most = vision.estimate(frame.width, frame.height, params.detail)
            low, high = low + least, high + most
        made = self._prompt(item, params, parts, None, heard, asked)
        return replace(made, inputs=tuple(inputs), media_tokens=(low, high))

    def _prompt(
        self,
        item: Item,
        params: VideoParams,
        parts: Sequence[Mapping[str, Any]],
        descriptions: str | None,
        heard: str | None,
        instead: str | None = None,
    ) -> Prompt:
        asked = instead or render_row(item, "prompt", params.prompt or USUAL)
        if descriptions is not None:
            asked = _JOINED.format(parts=descriptions, asked=asked)
        words = asked if heard is None else f"{_HEARD.format(text=heard)}\n\n{asked}"
        content: Any = [*parts, {"type": "text", "text": words}] if parts else words
        system = [{"role": "system", "content": render_row(item, "system", params.system)}] if params.system else []
        return Prompt((*system, {"role": "user", "content": content}))


def _goes_whole(params: VideoParams, vision: Vision, info: VideoInfo) -> bool:
    """Whether the video itself is sent.

    Raises:
        BadInput: when it should be and cannot.
    """
    fits = info.size <= min(vision.max_bytes, vision.max_request * 3 // 4)
    if params.whole and not (vision.video and fits):
        why = f"the video has {info.size} bytes, more than the endpoint takes" if vision.video else "it takes no videos"
        raise BadInput(f"it cannot be sent whole: {why}", kind="too_large", hint="leave whole out: frames are shown")
    return vision.video and fits if params.whole is None else params.whole


def _spans(params: VideoParams, info: VideoInfo) -> list[tuple[float, float]]:
    """Windows of equal length, none longer than asked for."""
    seconds = max(info.seconds, 1 / (info.fps or 25))
    count = max(1, -(-int(seconds * 1000) // int(params.window * 1000)))
    return [(n * seconds / count, (n + 1) * seconds / count) for n in range(count)]


def _moments(params: VideoParams, start: float, end: float) -> list[float]:
    from mediamill.tasks.media.frames import times

    return times(start, end, frames=params.frames, every=params.every)


def _sum(one: Usage, other: Usage) -> Usage:
    told = (one.input_tokens, other.input_tokens)
    return Usage(
        input_tokens=None if None in told else sum(tokens or 0 for tokens in told),
        output_tokens=(one.output_tokens or 0) + (other.output_tokens or 0),
        requests=(one.requests or 0) + (other.requests or 0),
    )
