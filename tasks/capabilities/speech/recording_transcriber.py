"""One recording, or one channel of it, through the provider: sent whole or in pieces, its times in decoded seconds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mediamill.tasks.capabilities.base import EVIDENCE, Call, CapabilityContext, Media
from mediamill.tasks.capabilities.speech.glossary import build_expected_text
from mediamill.tasks.capabilities.speech.length_limits import is_usable_limit, mend_hint, send_first_alone
from mediamill.tasks.capabilities.speech.piece_transcript import set_to_clock, shift_times
from mediamill.tasks.capabilities.speech.recognition_params import (
    SpeechRecognitionParams,
    build_request_params,
    get_cut_options,
    is_diarized,
)
from mediamill.tasks.capabilities.speech.recordings import prepare_whole, transcribe_pieces
from mediamill.tasks.capabilities.speech.transcript_checks import check_transcript
from mediamill.tasks.domain import Answer, Ask, Input, Item, Usage
from mediamill.tasks.errors import CallFailed
from mediamill.tasks.media.audio_info import Timeline
from mediamill.tasks.media.endpoint_fit import CutOptions
from mediamill.tasks.media.preparations import describe_audio
from mediamill.tasks.wire import AudioLimits

if TYPE_CHECKING:
    from mediamill.tasks.media.audio_info import PreparedAudio, VoiceActivity

_MAX_LENGTH_REFUSALS = 3
"""How often a recording is cut again because the model states a shorter length; a refusal costs nothing."""
_MAX_CONCURRENT_CUTS = 4
"""Recordings that are cut at the same time; each holds up to a minute of audio in memory."""
_MAX_INLINE_CHECK_CHARACTERS = 2000
_MAX_INLINE_CHECK_SECONDS = 600
"""Longer transcripts are checked in a thread; checking this many characters takes about a millisecond."""


@dataclass(slots=True)
class SpeechOperation:
    """What all recordings of a run share.

    Attributes:
        capability, operation: their names.
        version: the capability's ``request_version``.
        cut_semaphore: how many recordings may be cut at the same time.
        models_without_times: origin and model of those that refused a reply with times.
    """

    capability: str
    operation: str
    version: int
    cut_semaphore: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MAX_CONCURRENT_CUTS))
    models_without_times: set[tuple[str, str]] = field(default_factory=set)

    async def load_audio_limits(self, params: SpeechRecognitionParams, context: CapabilityContext) -> AudioLimits:
        """The provider's limits, and below them the length that the model stated as it refused a longer recording."""
        limits = self.get_audio_limits(params, context)
        learned = await context.load_max_seconds(self.operation)
        if learned is None or params.transport == "socket" or learned >= (limits.max_seconds or math.inf):
            return limits
        return replace(limits, max_seconds=learned, is_learned=True)

    def get_audio_limits(self, params: SpeechRecognitionParams, context: CapabilityContext) -> AudioLimits:
        """The provider's limits."""
        if params.transport is None:
            return context.provider.audio_limits(self.operation, context.model)
        return context.provider.audio_limits(self.operation, context.model, params.transport)


@dataclass(frozen=True, slots=True)
class HeardRecording:
    """What was heard.

    Attributes:
        columns: of a transcript, with times in decoded seconds from the recording's start.
        timeline: from these times to the file's own clock.
    """

    columns: Mapping[str, Any]
    timeline: Timeline

    def set_to_clock(self) -> dict[str, Any]:
        """The columns with times on the file's own clock."""
        if not self.timeline:
            return dict(self.columns)
        timed = {name: set_to_clock(self.columns.get(name), self.timeline) for name in ("segments", "words")}
        return {**self.columns, **timed}


class RecordingTranscriber:
    """Transcribes one item's recording.

    Args:
        shared: what all recordings of the run share.
        expected_language: of the text; None when it is to be detected.
    """

    def __init__(
        self,
        shared: SpeechOperation,
        item: Item,
        params: SpeechRecognitionParams,
        call: Call,
        context: CapabilityContext,
        expected_language: str | None,
    ) -> None:
        self._shared, self._item, self._params = shared, item, params
        self._call, self._context, self._expected_language = call, context, expected_language

    async def transcribe(self, media: Media, channel: int | None = None) -> HeardRecording:
        """Transcribe the mix of the recording, or one channel by its number; cut anew where the model says so."""
        params, context = self._params, self._context
        options = replace(get_cut_options(params), channel=channel)
        for _ in range(_MAX_LENGTH_REFUSALS):
            limits = await self._shared.load_audio_limits(params, context)
            try:
                return await self._transcribe_media(media, limits, options)
            except CallFailed as error:
                if not is_usable_limit(error, limits):
                    mend_hint(error, limits, params.piece_seconds)
                    raise
                await context.save_max_seconds(self._shared.operation, error.max_seconds or 0)
        limits = await self._shared.load_audio_limits(params, context)
        return await self._transcribe_media(media, limits, options)

    async def transcribe_url(self, source: Input) -> HeardRecording:
        """Transcribe a recording that the provider fetches itself."""
        return await self._transcribe_whole(source, None)

    async def _transcribe_media(self, media: Media, limits: AudioLimits, options: CutOptions) -> HeardRecording:
        """Send the recording whole, or in pieces where it is longer than the limits."""
        context = self._context
        clip = await prepare_whole(media, context, limits, options)
        if clip is None:
            return await self._transcribe_in_pieces(media, limits, options)
        context.record_preparation(self._item, describe_audio(clip, media.size, limits, context.model, options.channel))
        payload = clip.input.payload
        try:
            async with context.reserve_memory(len(payload.data or b"") if payload else 0):
                return await self._transcribe_whole(clip.input, clip)
        finally:
            if payload and payload.path and payload.path != media.path:
                payload.path.unlink(missing_ok=True)

    async def _transcribe_whole(self, source: Input, clip: PreparedAudio | None) -> HeardRecording:
        seconds = clip.seconds if clip else None
        answer = await self._request(self._build_ask(source, seconds))
        warnings = (*(clip.warnings if clip else ()), *answer.data.get("time_faults", ()))
        audio_seconds = None if seconds is None else float(seconds)
        activity = clip.voice_activity if clip else None
        columns = {
            **_shift_transcript(answer.data, source.start),
            "content_sha256": source.sha256,
            "audio_seconds": audio_seconds,
            "recipe": source.recipe,
            "pieces": 1,
            "audio_track": clip.info.track.number if clip else None,
            "warnings": list(warnings),
            **await self._check(answer.data, audio_seconds, activity, warnings, answer.data.get("avg_logprob")),
            **_describe_request(answer),
        }
        return HeardRecording(columns, clip.timeline if clip else Timeline())

    async def _transcribe_in_pieces(self, media: Media, limits: AudioLimits, options: CutOptions) -> HeardRecording:
        async def send(clip: PreparedAudio) -> Answer:
            return await self._request(self._build_ask(clip.input, clip.seconds))

        context = self._context
        is_sure = limits.max_seconds is not None or context.provider.billing.free
        merged = await transcribe_pieces(
            self._item,
            media,
            context,
            send if is_sure else send_first_alone(send),
            self._shared.cut_semaphore,
            limits,
            options,
            diarized=is_diarized(self._params),
        )
        length = merged.columns["duration_s"]
        columns = {
            **_shift_transcript(merged.columns, 0),
            "content_sha256": media.sha256,
            "audio_seconds": length,
            "recipe": merged.recipe,
            "pieces": merged.count,
            "audio_track": merged.track,
            "warnings": merged.warnings,
            **await self._check(merged.columns, length, merged.activity, merged.warnings, merged.avg_logprob),
            **_describe_request(merged.first),
        }
        return HeardRecording(columns, merged.timeline)

    async def _check(
        self,
        data: Mapping[str, Any],
        seconds: float | None,
        activity: VoiceActivity | None,
        warnings: tuple[str, ...] | list[str],
        avg_logprob: float | None,
    ) -> dict[str, Any]:
        """What was checked, with the mean log-probability of the tokens as evidence for a second opinion."""
        arguments = (data, self._expected_language, seconds, activity, warnings)
        is_short = len(data.get("text") or "") <= _MAX_INLINE_CHECK_CHARACTERS
        if is_short and (seconds or 0.0) <= _MAX_INLINE_CHECK_SECONDS:
            checked = check_transcript(*arguments)
        else:
            checked = await self._context.run_in_thread(check_transcript, *arguments)
        return {**checked, EVIDENCE: {**checked[EVIDENCE], "avg_logprob": avg_logprob}}

    async def _request(self, ask: Ask) -> Answer:
        """The answer; where the server has no verbose_json for the model, the text alone.

        A refusal is not billed. The journal has the later Ask's answer under its own key, and the models that refused
        are remembered, so that other items are sent once.
        """
        plain = replace(ask, params={**ask.params, "response_format": "json"})
        model = (self._context.provider.endpoint.origin, self._context.model)
        if model in self._shared.models_without_times:
            return await self._call(plain)
        try:
            return await self._call(ask)
        except CallFailed as error:
            if error.kind != "response_format":
                raise
        self._shared.models_without_times.add(model)
        return await self._call(plain)

    def _build_ask(self, source: Input, seconds: Decimal | None) -> Ask:
        params, item = self._params, self._item
        return Ask(
            capability=self._shared.capability,
            operation=self._shared.operation,
            model=self._context.model,
            params=build_request_params(params),
            inputs=(source,),
            ceiling=Usage(audio_seconds=seconds, input_tokens=len(build_expected_text(params).encode()), requests=1),
            sample=item.sample,
            version=self._shared.version,
            item_id=item.item_id,
        )


def _shift_transcript(data: Mapping[str, Any], start: int) -> dict[str, Any]:
    """Make times count from the recording's start, when the sent audio begins ``start`` samples (16 kHz) in it."""
    shifted = {name: value for name, value in data.items() if name not in ("time_faults", "avg_logprob")}
    if start:
        shifted |= {name: shift_times(data.get(name), start) for name in ("segments", "words")}
    return shifted


def _describe_request(answer: Answer) -> dict[str, Any]:
    """The columns of the first request."""
    return {
        "request_key": answer.request_key,
        "request_id": answer.request_id,
        "started_at": answer.started_at,
    }
