"""describe-video: videos to text; sent whole when the endpoint takes them, otherwise as frames from windows."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate, Media
from mediamill.tasks.capabilities.parameters import Option
from mediamill.tasks.capabilities.speech.recognition_params import AUDIO_TRACK, SpeechRecognitionParams
from mediamill.tasks.capabilities.text.misread_answers import MISREAD_ANSWERS
from mediamill.tasks.capabilities.text.prompts import PromptParams, render_row
from mediamill.tasks.capabilities.text.structured_completion import StructuredCompletion, get_answer_fields
from mediamill.tasks.capabilities.transcribe import Transcribe
from mediamill.tasks.capabilities.visual.image_inputs import COPIES_IN_MEMORY, get_vision
from mediamill.tasks.capabilities.visual.row_model import check_row_model
from mediamill.tasks.capabilities.visual.video_frames import (
    choose_frame_times,
    estimate_frame_tokens,
    find_missing_frames,
    is_sent_whole,
    load_video_info,
    split_into_windows,
    take_frames,
)
from mediamill.tasks.capabilities.visual.video_prompts import VideoPrompts
from mediamill.tasks.domain import Item, Usage
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.preparations import describe_frames, describe_whole_video
from mediamill.tasks.providers.operations.vision import Detail, Vision
from mediamill.tasks.providers.operations.vision_chat import VISION_CHAT
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

    from mediamill.tasks.media.frames import VideoInfo

DEFAULT_PROMPT = "Describe what happens in this video, in order, in a short paragraph."

_NO_AUDIO_KINDS = frozenset({"no_audio", "empty", "silent", "not_audio"})
_WORDS_PER_SECOND = 3
_BYTES_PER_WORD = 12
_MAX_TRANSCRIPT_CHARACTERS = 200_000
"""Longer transcripts are cut off in the prompt."""


class DescribeVideoParams(PromptParams):
    """Parameters of video descriptions; ``prompt`` and ``system`` are templates over the row's columns."""

    frames: int = Field(8, ge=1, le=128, description="number of frames sent from each window; default 8")
    every: Annotated[float | None, Option(metavar="SECONDS")] = Field(
        None, gt=0, le=3600, description="send a frame every so many seconds, instead of --frames"
    )
    scenes: bool = Field(default=False, description="take the frames where the image changes most")
    window: Annotated[float, Option(metavar="SECONDS")] = Field(
        300.0,
        ge=5,
        le=86_400,
        description="maximum seconds of video in one prompt, default 300; a longer video is summarised from several",
    )
    detail: Detail = Field(
        "auto", description="frame size: auto (default, as large as the model can use), full, or economy"
    )
    whole: bool | None = Field(
        None, description="send the video itself; default: when the model takes videos and it is small enough"
    )
    with_audio: bool = Field(default=False, description="transcribe the speech and add it to the prompt")
    audio_model: str | None = Field(None, description="the provider's transcription model; default: its usual one")
    audio_track: str | None = Field(
        None, pattern=AUDIO_TRACK, description="sound track for --with-audio: its number from 1, language or title"
    )
    language: str | None = Field(None, max_length=20, description="spoken language; default: detected")

    @model_validator(mode="after")
    def _check_frame_choice(self) -> DescribeVideoParams:
        if self.every is not None and self.scenes:
            raise ValueError("every and scenes are two ways to choose frames: give one of them")
        if self.audio_track is not None and not self.with_audio:
            raise ValueError("audio_track chooses what with_audio transcribes: give both")
        return self


class DescribeVideo:
    """Describe every video of SOURCE, or answer any prompt about it.

    SOURCE is a folder, a glob, a file, a URL, a manifest (.csv .tsv .jsonl .parquet), or - for a list on stdin.
    Endpoints that take videos get them whole; others get frames with their times. Long videos are described in windows
    and summarised at the end. --with-audio transcribes the audio with the same provider and adds it to the prompt.
    """

    name = "describe-video"
    operation = VISION_CHAT
    kinds = frozenset({"video"})
    params: type[PromptParams] = DescribeVideoParams
    request_version = 1
    misreadings = MISREAD_ANSWERS
    sidecars = "text"
    _completion = StructuredCompletion("describe-video", VISION_CHAT, 1)

    def schema(self, params: DescribeVideoParams, provider: Provider, model: str) -> pa.Schema:
        """The answer's columns, the video's properties, the times of the frames, the windows, and the transcript."""
        import pyarrow as pa

        from mediamill.tasks.sinks.schema import make_field

        window = pa.struct(
            [
                make_field("start", pa.float64(), "start in seconds"),
                make_field("end", pa.float64(), "end in seconds"),
                make_field("text", pa.string(), "description of this part"),
            ]
        )
        return pa.schema(
            [
                make_field("width", pa.int32(), "width in pixels"),
                make_field("height", pa.int32(), "height in pixels"),
                make_field("format", pa.string(), "container, e.g. mp4"),
                make_field("fps", pa.float64(), "frames per second"),
                make_field("seconds", pa.float64(), "length in seconds"),
                make_field("whole", pa.bool_(), "true when the video was sent whole, not as frames"),
                make_field("shown_at", pa.list_(pa.float64()), "times of the frames that were sent, in seconds"),
                make_field("windows", pa.list_(window), "parts that were described one by one, in order"),
                make_field("transcript", pa.string(), "transcript of the audio (--with-audio)"),
                make_field("warnings", pa.list_(pa.string()), "what a reader should know about the row"),
                *get_answer_fields(params),
            ]
        )

    @staticmethod
    def is_outdated(columns: Collection[str], row: Mapping[str, Any]) -> bool:
        """True for a row of the time when frames of some containers were those of other moments, or not stretched."""
        return "flags" not in columns and not row.get("whole")

    async def run(
        self, item: Item, params: DescribeVideoParams, call: Call, context: CapabilityContext
    ) -> Mapping[str, Any]:
        """Describe one video."""
        vision = get_vision(context)
        async with context.fetch(item) as media:
            info = await load_video_info(item, media, context)
            prompts = await _build_prompts(item, params, vision, context)
            transcript, warnings = await self._transcribe(item, params, call, context, info)
            prompts = replace(prompts, transcript=transcript)
            if is_sent_whole(params, vision, info):
                context.record_preparation(item, describe_whole_video(info, context.model))
                async with context.reserve_memory(COPIES_IN_MEMORY * media.size):
                    answer_columns = await self._completion.request_answer(
                        item, prompts.build_whole_prompt(media, info), params, call, context
                    )
                windows, frame_times, missing = list[dict[str, Any]](), list[float](), list[str]()
            else:
                spans = split_into_windows(params, info)
                answer_columns, windows, frame_times, missing = await self._describe_windows(
                    item, params, call, context, media, prompts, info, spans
                )
        answer_columns.pop("choices", None)
        return {
            **answer_columns,
            "content_sha256": media.sha256,
            "width": info.width,
            "height": info.height,
            "format": info.format,
            "fps": info.fps,
            "seconds": info.seconds,
            "whole": not frame_times,
            "shown_at": frame_times,
            "windows": windows,
            "transcript": transcript,
            "flags": [*_find_damage_flags(info, missing), *answer_columns["flags"]],
            "warnings": list(dict.fromkeys([*info.warnings, *warnings, *missing])),
        }

    async def estimate(self, item: Item, params: DescribeVideoParams, context: CapabilityContext) -> Estimate:
        """What the frames and the prompts would need; the length of the transcript is an estimate."""
        vision = get_vision(context)
        async with context.fetch(item) as media:
            info = await load_video_info(item, media, context)
        transcript_characters = (
            min(int(info.seconds * _WORDS_PER_SECOND * _BYTES_PER_WORD), _MAX_TRANSCRIPT_CHARACTERS)
            if params.with_audio
            else 0
        )
        prompts = await _build_prompts(item, params, vision, context)
        prompts = replace(prompts, transcript="x" * transcript_characters or None)
        seconds = Decimal(str(round(info.seconds, 3)))
        if is_sent_whole(params, vision, info):
            return replace(
                self._completion.estimate(item, prompts.estimate_whole_prompt(), params, context), seconds=seconds
            )
        counts = [len(choose_frame_times(params, span)) for span in split_into_windows(params, info)]
        tokens = estimate_frame_tokens(params, vision, info)
        likely, ceiling, asks = Usage(input_tokens=0, output_tokens=0), Usage(input_tokens=0, output_tokens=0), 0
        for count in [*counts, *([0] if len(counts) > 1 else [])]:
            estimate = self._completion.estimate(item, prompts.estimate_frames_prompt(count, tokens), params, context)
            likely, ceiling = _add_usage(likely, estimate.usage), _add_usage(ceiling, estimate.ceiling)
            asks += 1
        return Estimate(asks, likely, ceiling, seconds)

    async def _transcribe(
        self, item: Item, params: DescribeVideoParams, call: Call, context: CapabilityContext, info: VideoInfo
    ) -> tuple[str | None, list[str]]:
        """The transcript, where it is requested and there is sound; and warnings, also that there is none."""
        if not params.with_audio:
            return None, []
        if not info.audio:
            return None, ["audio: the video has no sound track, so there is no transcript"]
        audio_context: Any = copy.copy(context)
        audio_context.model = (
            check_row_model(context.provider, "transcription", params.audio_model)
            if params.audio_model
            else context.provider.choose_model("transcription", None)
        )
        chosen = {"language": params.language, "audio_track": params.audio_track}
        audio_params = SpeechRecognitionParams.model_validate({name: value for name, value in chosen.items() if value})
        try:
            columns = await Transcribe().run(item, audio_params, call, audio_context)
        except BadInput as error:
            if error.kind not in _NO_AUDIO_KINDS:
                raise
            return None, [f"audio: {error.message}"]
        return str(columns["text"])[:_MAX_TRANSCRIPT_CHARACTERS], list(columns["warnings"])

    async def _describe_windows(
        self,
        item: Item,
        params: DescribeVideoParams,
        call: Call,
        context: CapabilityContext,
        media: Media,
        prompts: VideoPrompts,
        info: VideoInfo,
        spans: Sequence[tuple[float, float]],
    ) -> tuple[dict[str, Any], list[dict[str, Any]], list[float], list[str]]:
        """Send each window's frames in one prompt; several windows' descriptions are then summarised.

        Returns:
            The answer's columns, each window's description, when frames were taken, in seconds, and warnings.
        """
        windows, frame_times = list[dict[str, Any]](), list[float]()
        warnings, flags = list[str](), set[str]()
        answer_columns: dict[str, Any] = {}
        is_single = len(spans) == 1
        window_params = params if is_single else params.model_copy(update={"json_schema": None})
        for start, end in spans:
            frames, n_chosen = await take_frames(item, media, params, prompts.vision, (start, end), context)
            warnings += find_missing_frames(frames, n_chosen)
            if windows and all(frame.is_stale for frame in frames):
                continue  # the file ends before this window
            frame_times += [frame.at for frame in frames]
            max_side = prompts.vision.max_side(params.detail)
            context.record_preparation(item, describe_frames(info, (start, end), frames, max_side, context.model))
            prompt = (prompts.build_frames_prompt if is_single else prompts.build_window_prompt)(media.sha256, frames)
            async with context.reserve_memory(COPIES_IN_MEMORY * sum(len(frame.data) for frame in frames)):
                answer_columns = await self._completion.request_answer(item, prompt, window_params, call, context)
            flags |= set(answer_columns["flags"])
            windows.append({"start": start, "end": end, "text": answer_columns["text"]})
        if not is_single:
            answer_columns = await self._completion.request_answer(
                item, prompts.build_summary_prompt(windows), params, call, context
            )
        answer_columns["flags"] = sorted(flags | set(answer_columns["flags"]))
        return answer_columns, windows, frame_times, list(dict.fromkeys(warnings))


async def _build_prompts(
    item: Item, params: DescribeVideoParams, vision: Vision, context: CapabilityContext
) -> VideoPrompts:
    """Fill the templates, before anything is paid: one that cannot be filled costs nothing."""
    question = await render_row(item, "prompt", params.prompt or DEFAULT_PROMPT, context)
    system = await render_row(item, "system", params.system, context) if params.system else None
    return VideoPrompts(question, system, vision, params.detail)


def _find_damage_flags(info: VideoInfo, missing: Sequence[str]) -> list[str]:
    is_cut_off = any(warning.startswith("truncated:") for warning in info.warnings)
    return ["truncated"] * is_cut_off + ["few_frames"] * bool(missing)


def _add_usage(one: Usage, other: Usage) -> Usage:
    input_tokens = (one.input_tokens, other.input_tokens)
    return Usage(
        input_tokens=None if None in input_tokens else sum(tokens or 0 for tokens in input_tokens),
        output_tokens=(one.output_tokens or 0) + (other.output_tokens or 0),
        requests=(one.requests or 0) + (other.requests or 0),
    )
