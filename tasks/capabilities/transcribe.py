"""transcribe: speech in a recording to text, segments and words with times."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from mediamill.tasks.capabilities.base import EVIDENCE, Call, CapabilityContext, Estimate, Media
from mediamill.tasks.capabilities.parameters import Option, ReadsFile, is_from_row
from mediamill.tasks.capabilities.speech.glossary import (
    Glossary,
    build_replacements_field,
    parse_glossary,
    replace_words,
    split_glossary,
)
from mediamill.tasks.capabilities.speech.length_limits import is_usable_limit, mend_hint, send_first_alone
from mediamill.tasks.capabilities.speech.misread_transcripts import MISREAD_TRANSCRIPTS
from mediamill.tasks.capabilities.speech.piece_transcript import set_to_clock, shift_times
from mediamill.tasks.capabilities.speech.recordings import prepare_whole, to_recording_url, transcribe_pieces
from mediamill.tasks.capabilities.speech.second_opinion import TranscriptOpinion
from mediamill.tasks.capabilities.speech.transcript_checks import check_transcript
from mediamill.tasks.capabilities.speech.transcript_columns import build_transcript_schema
from mediamill.tasks.domain import JSON, Answer, Ask, Input, Item, Usage
from mediamill.tasks.errors import CallFailed
from mediamill.tasks.languages import to_iso_code
from mediamill.tasks.media.audio_info import Timeline
from mediamill.tasks.media.endpoint_fit import CutOptions
from mediamill.tasks.media.preparations import describe_audio
from mediamill.tasks.providers.operations.transcription import TranscriptionModel
from mediamill.tasks.wire import AudioLimits, Provider

if TYPE_CHECKING:
    import pyarrow as pa

    from mediamill.tasks.media.audio_info import PreparedAudio


AUDIO_TRACK = r"^([1-9][0-9]?|[^\s0-9].{1,99}|[0-9]+[^0-9].{0,90})$"
"""A number from 1, of two digits; or a language or title, of at least two characters."""


class SpeechRecognitionParams(BaseModel):
    """Parameters of every speech recognition; the same names for every provider."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str = Field(
        "auto",
        pattern=r"^(auto|[A-Za-z]{2,3}(-[A-Za-z]{2,4})?)$",
        description="ISO-639-1 code of the spoken language; default auto: detected",
    )
    prompt: str | None = Field(None, max_length=4000, description="names and terms that the model should expect")
    glossary: Annotated[Glossary | None, Option(metavar="FILE|a,b,c"), ReadsFile("--glossary")] = Field(
        None,
        description="terms that the model should expect, and replacements of whole words in what it wrote "
        "(wrong -> right): a list, or a file with one a line",
    )
    temperature: float | None = Field(
        None, ge=0, le=1, description="sampling temperature from 0 to 1; 0 is the most literal"
    )
    segments: bool = Field(default=True, description="return segments with start and end times; on by default")
    words: bool = Field(
        default=True, description="return words with start and end times, where the model has them; on by default"
    )
    normalize: bool = Field(default=False, description="normalise the loudness of short clips first")
    trim: bool = Field(default=False, description="cut the silence off both ends of short clips first")
    audio_track: str | None = Field(
        None,
        pattern=AUDIO_TRACK,
        description="sound track of a file with several: number, language (por, pt-BR) or title; default: the file's",
    )
    transport: Literal["http", "socket"] | None = Field(
        None, description="socket uses the provider's realtime WebSocket; default: what the model needs"
    )
    pass_urls: bool = Field(default=False, description="let the provider fetch URLs itself; their length stays unknown")
    piece_seconds: float | None = Field(
        None,
        ge=5,
        le=86_400,
        description="maximum length of a piece of a long recording, in seconds; default: the provider's limit",
    )
    overlap: Annotated[float, Option(metavar="SECONDS")] = Field(
        0.0,
        ge=0,
        le=30,
        description="seconds that neighbouring pieces of a long recording share, for speech without pauses; default 0",
    )

    @field_validator("glossary", mode="before", json_schema_input_type=list[str] | str | None)
    @classmethod
    def _parse_glossary(cls, value: Any, info: ValidationInfo) -> Any:
        return parse_glossary(value, reads_file=not is_from_row(info))


class TranscribeParams(SpeechRecognitionParams):
    """Parameters of a transcription."""

    diarize: bool = Field(default=False, description="label who speaks when (speaker diarization), where the model can")
    min_speakers: int | None = Field(None, ge=1, le=64, description="minimum number of speakers to expect")
    max_speakers: int | None = Field(None, ge=1, le=64, description="maximum number of speakers to expect")


_OWN_PARAMS = {"normalize", "trim", "pass_urls", "piece_seconds", "overlap", "audio_track", "glossary"}
"""Parameters of which the provider learns nothing, or what this module makes of them."""
_MAX_LENGTH_REFUSALS = 3
"""How often a recording is cut again because the model states a shorter length; a refusal costs nothing."""
_MAX_CONCURRENT_CUTS = 4
"""Recordings that are cut at the same time; each holds up to a minute of audio in memory."""

_MAX_INLINE_CHECK_CHARACTERS = 2000
"""Longer transcripts are checked in a thread; checking this many characters takes about a millisecond."""


class Transcribe:
    """Transcribe every recording of SOURCE.

    SOURCE is a folder, a glob, a file, a URL, a manifest (.csv .tsv .jsonl .parquet), or - for a list on
    stdin. Without any key the built-in provider does it, free, with Whisper base where its weights are installed.
    """

    name = "transcribe"
    operation = "transcription"
    kinds = frozenset({"audio"})
    params: type[SpeechRecognitionParams] = TranscribeParams
    request_version = 1
    misreadings = MISREAD_TRANSCRIPTS
    sidecars = "subtitles"
    second_opinion = TranscriptOpinion()

    def __init__(self) -> None:
        self._cut_semaphore = asyncio.Semaphore(_MAX_CONCURRENT_CUTS)
        self._models_without_times: set[tuple[str, str]] = set()

    def schema(self, params: Any, provider: Provider, model: str) -> pa.Schema:
        """The columns of a transcript."""
        schema = build_transcript_schema()
        return schema if params.glossary is None else schema.append(build_replacements_field())

    def describe_unused_params(self, params: Any, provider: Provider, model: str) -> str | None:
        """Says so where the model takes no glossary."""
        terms, pairs = split_glossary(params.glossary)
        facts = provider.model_facts(self.operation, model, TranscriptionModel)
        if not terms or facts.takes_glossary(params.transport):
            return None
        what = "its replacements alone are made" if pairs else "it is not used"
        return f"{provider.name} {model} takes no glossary here: {what}"

    def expected_language(self, params: Any) -> str | None:
        """The language that the text should be in; None when it is to be detected."""
        return None if params.language == "auto" else to_iso_code(params.language)

    @staticmethod
    def is_outdated(columns: Collection[str], row: Mapping[str, Any]) -> bool:
        """True for a row of the time when times were not on the file's clock, and words in segments were passed over.

        A row with text and words of a recording that was sent as it is was right then.
        """
        is_right = row.get("recipe") == "as-is" and row.get("text") and row.get("words")
        return "audio_track" not in columns and not is_right

    async def run(
        self, item: Item, params: SpeechRecognitionParams, call: Call, context: CapabilityContext
    ) -> Mapping[str, Any]:
        """Transcribe one recording, and make the glossary's replacements."""
        columns = await self._transcribe(item, params, call, context)
        if params.glossary is None:
            return columns
        return await context.run_in_thread(replace_words, columns, params.glossary)

    async def _transcribe(
        self, item: Item, params: SpeechRecognitionParams, call: Call, context: CapabilityContext
    ) -> Mapping[str, Any]:
        if params.pass_urls and item.is_url:
            source = to_recording_url(item, context, self._get_audio_limits(params, context))
            return await self._transcribe_whole(item, params, call, context, source, None)
        async with context.fetch(item) as media:
            for _ in range(_MAX_LENGTH_REFUSALS):
                limits = await self._load_audio_limits(params, context)
                try:
                    return await self._transcribe_media(item, media, params, call, context, limits)
                except CallFailed as error:
                    if not is_usable_limit(error, limits):
                        mend_hint(error, limits, params.piece_seconds)
                        raise
                    await context.save_max_seconds(self.operation, error.max_seconds or 0)
            limits = await self._load_audio_limits(params, context)
            return await self._transcribe_media(item, media, params, call, context, limits)

    async def _transcribe_media(
        self,
        item: Item,
        media: Media,
        params: SpeechRecognitionParams,
        call: Call,
        context: CapabilityContext,
        limits: AudioLimits,
    ) -> Mapping[str, Any]:
        """Send the recording whole, or in pieces where it is longer than the limits."""
        clip = await prepare_whole(media, context, limits, _get_cut_options(params))
        if clip is None:
            return await self._transcribe_in_pieces(item, media, params, call, context, limits)
        context.record_preparation(item, describe_audio(clip, media.size, limits, context.model))
        payload = clip.input.payload
        try:
            async with context.reserve_memory(len(payload.data or b"") if payload else 0):
                return await self._transcribe_whole(item, params, call, context, clip.input, clip)
        finally:
            if payload and payload.path and payload.path != media.path:
                payload.path.unlink(missing_ok=True)

    async def _transcribe_whole(
        self,
        item: Item,
        params: SpeechRecognitionParams,
        call: Call,
        context: CapabilityContext,
        source: Input,
        clip: PreparedAudio | None,
    ) -> Mapping[str, Any]:
        seconds = clip.seconds if clip else None
        answer = await self._request(call, self._build_ask(item, params, context, source, seconds), context)
        warnings = (*(clip.warnings if clip else ()), *answer.data.get("time_faults", ()))
        audio_seconds = None if seconds is None else float(seconds)
        check_arguments = (
            answer.data,
            self.expected_language(params),
            audio_seconds,
            clip.voice_activity if clip else None,
            warnings,
        )
        is_short = len(answer.data.get("text") or "") <= _MAX_INLINE_CHECK_CHARACTERS
        checked = (
            check_transcript(*check_arguments)
            if is_short
            else await context.run_in_thread(check_transcript, *check_arguments)
        )
        return {
            **_shift_transcript(answer.data, source.start, clip.timeline if clip else Timeline()),
            "content_sha256": source.sha256,
            "audio_seconds": audio_seconds,
            "recipe": source.recipe,
            "pieces": 1,
            "audio_track": clip.info.track.number if clip else None,
            "warnings": list(warnings),
            **_add_log_probability(checked, answer.data.get("avg_logprob")),
        }

    async def _transcribe_in_pieces(
        self,
        item: Item,
        media: Media,
        params: SpeechRecognitionParams,
        call: Call,
        context: CapabilityContext,
        limits: AudioLimits,
    ) -> Mapping[str, Any]:
        async def send(clip: PreparedAudio) -> Answer:
            return await self._request(call, self._build_ask(item, params, context, clip.input, clip.seconds), context)

        is_sure = limits.max_seconds is not None or context.provider.billing.free
        merged = await transcribe_pieces(
            item,
            media,
            context,
            send if is_sure else send_first_alone(send),
            self._cut_semaphore,
            limits,
            _get_cut_options(params),
            diarized=_is_diarized(params),
        )
        columns, length = merged.columns, merged.columns["duration_s"]
        check_arguments = (columns, self.expected_language(params), length, merged.activity, merged.warnings)
        checked = await context.run_in_thread(check_transcript, *check_arguments)
        return {
            **_shift_transcript(columns, 0, merged.timeline),
            "content_sha256": media.sha256,
            "audio_seconds": length,
            "recipe": merged.recipe,
            "pieces": merged.count,
            "audio_track": merged.track,
            "warnings": merged.warnings,
            **_add_log_probability(checked, merged.avg_logprob),
            "request_key": merged.first.request_key,
            "request_id": merged.first.request_id,
            "started_at": merged.first.started_at,
        }

    async def _request(self, call: Call, ask: Ask, context: CapabilityContext) -> Answer:
        """The answer; where the server has no verbose_json for the model, the text alone.

        A refusal is not billed. The journal has the later Ask's answer under its own key, and the models that refused
        are remembered, so that other items are sent once.
        """
        plain = replace(ask, params={**ask.params, "response_format": "json"})
        model = (context.provider.endpoint.origin, context.model)
        if model in self._models_without_times:
            return await call(plain)
        try:
            return await call(ask)
        except CallFailed as error:
            if error.kind != "response_format":
                raise
        self._models_without_times.add(model)
        return await call(plain)

    def _build_ask(
        self,
        item: Item,
        params: SpeechRecognitionParams,
        context: CapabilityContext,
        source: Input,
        seconds: Decimal | None,
    ) -> Ask:
        expected = ", ".join([params.prompt or "", *split_glossary(params.glossary)[0]])
        return Ask(
            capability=self.name,
            operation=self.operation,
            model=context.model,
            params=_build_request_params(params),
            inputs=(source,),
            ceiling=Usage(audio_seconds=seconds, input_tokens=len(expected.encode()), requests=1),
            sample=item.sample,
            version=self.request_version,
            item_id=item.item_id,
        )

    async def estimate(self, item: Item, params: SpeechRecognitionParams, context: CapabilityContext) -> Estimate:
        """One Ask for each piece. The length comes from the file's header, which can be wrong."""
        if item.is_url:
            return Estimate(1, Usage(requests=1), Usage(requests=1))
        from mediamill.tasks.media.endpoint_fit import estimate_pieces
        from mediamill.tasks.media.probe import read_audio_info

        path = Path(item.location or "")
        info = await context.run_in_thread(functools.partial(read_audio_info, path, track=params.audio_track))
        limits = await self._load_audio_limits(params, context)
        asks = estimate_pieces(info, path.stat().st_size, limits, _get_cut_options(params))
        sent_seconds = info.seconds + (asks - 1) * Decimal(str(params.overlap))
        usage = Usage(audio_seconds=sent_seconds, requests=asks)
        return Estimate(asks, usage, usage, info.seconds)

    async def _load_audio_limits(self, params: SpeechRecognitionParams, context: CapabilityContext) -> AudioLimits:
        """The provider's limits, and below them the length that the model stated as it refused a longer recording."""
        limits = self._get_audio_limits(params, context)
        learned = await context.load_max_seconds(self.operation)
        if learned is None or params.transport == "socket" or learned >= (limits.max_seconds or math.inf):
            return limits
        return replace(limits, max_seconds=learned, is_learned=True)

    def _get_audio_limits(self, params: SpeechRecognitionParams, context: CapabilityContext) -> AudioLimits:
        if params.transport is None:
            return context.provider.audio_limits(self.operation, context.model)
        return context.provider.audio_limits(self.operation, context.model, params.transport)


def _add_log_probability(checked: Mapping[str, Any], avg_logprob: float | None) -> dict[str, Any]:
    """What was checked, with the mean log-probability of the tokens as evidence for a second opinion."""
    return {**checked, EVIDENCE: {**checked[EVIDENCE], "avg_logprob": avg_logprob}}


def _shift_transcript(data: Mapping[str, Any], start: int, timeline: Timeline) -> Mapping[str, Any]:
    """Make times count on the file's own clock, when the sent audio begins ``start`` samples (16 kHz) in the track."""
    data = {name: value for name, value in data.items() if name not in ("time_faults", "avg_logprob")}
    if not start and not timeline:
        return data
    shifted = {name: set_to_clock(shift_times(data.get(name), start), timeline) for name in ("segments", "words")}
    return {**data, **shifted}


def _is_diarized(params: SpeechRecognitionParams) -> bool:
    return isinstance(params, TranscribeParams) and params.diarize


@functools.lru_cache(maxsize=256)
def _get_cut_options(params: SpeechRecognitionParams) -> CutOptions:
    """How to cut. With diarization nothing is cut for its length alone: models tell speakers apart best in a whole."""
    return CutOptions(
        params.piece_seconds, params.overlap, _is_diarized(params), params.normalize, params.trim, params.audio_track
    )


@functools.lru_cache(maxsize=256)
def _build_request_params(params: SpeechRecognitionParams) -> dict[str, JSON]:
    fields: dict[str, JSON] = params.model_dump(exclude=_OWN_PARAMS, exclude_none=True)
    terms: list[JSON] = [*split_glossary(params.glossary)[0]]
    return {**fields, "glossary": terms} if terms else fields
