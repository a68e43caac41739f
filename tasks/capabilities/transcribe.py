"""transcribe: speech in a recording to text, segments and words with times."""

from __future__ import annotations

import functools
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.speech.channel_choice import PASSED_ON, choose_channels
from mediamill.tasks.capabilities.speech.channel_transcriber import describe_choice, transcribe_channels
from mediamill.tasks.capabilities.speech.glossary import (
    build_expected_text,
    build_replacements_field,
    describe_left_out,
    replace_words,
    split_glossary,
)
from mediamill.tasks.capabilities.speech.misread_transcripts import MISREAD_TRANSCRIPTS
from mediamill.tasks.capabilities.speech.recognition_params import (
    SpeechRecognitionParams,
    TranscribeParams,
    get_cut_options,
    refuse_names_of_no_channels,
)
from mediamill.tasks.capabilities.speech.recording_transcriber import RecordingTranscriber, SpeechOperation
from mediamill.tasks.capabilities.speech.recordings import to_recording_url
from mediamill.tasks.capabilities.speech.second_opinion import TranscriptOpinion
from mediamill.tasks.capabilities.speech.speaker_names import (
    SpeakerNames,
    describe_unused_names,
    list_named_items,
    rename_speakers,
)
from mediamill.tasks.capabilities.speech.transcript_columns import build_channel_fields, build_transcript_schema
from mediamill.tasks.domain import Item, Preparation, Usage
from mediamill.tasks.languages import to_iso_code
from mediamill.tasks.providers.operations.transcription import TranscriptionModel
from mediamill.tasks.run_log import RUN_LOGGER, write_record
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

    from mediamill.tasks.media.audio_info import AudioInfo

_COMPARED_SECONDS = 60.0
"""What a quote compares of the channels; a run compares all of it."""


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
        self._shared = SpeechOperation(self.name, self.operation, self.request_version)
        self._reported: WeakSet[CapabilityContext] = WeakSet()

    def schema(self, params: Any, provider: Provider, model: str) -> pa.Schema:
        """The columns of a transcript."""
        refuse_names_of_no_channels(params)
        schema = build_transcript_schema()
        for field in build_channel_fields() if params.channels != "mix" else ():
            schema = schema.append(field)
        return schema if params.glossary is None else schema.append(build_replacements_field())

    def describe_unused_params(self, params: Any, provider: Provider, model: str) -> str | None:
        """Says so where the model takes no glossary."""
        terms, pairs = split_glossary(params.glossary)
        facts = provider.model_facts(self.operation, model, TranscriptionModel)
        if params.prompt and facts.is_too_long(params.prompt):
            limit = f"{facts.max_prompt_tokens} tokens of prompt, and yours may have more"
            return f"{provider.name} {model} takes {limit}: it is refused, or its beginning is not read"
        if facts.takes_glossary(params.transport):
            return describe_left_out(terms, facts.count_sent_terms(params.prompt, tuple(terms)), facts, model)
        if not terms:
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
        """Transcribe one recording, make the glossary's replacements, and put names in place of speakers' labels."""
        columns = await self._transcribe(item, params, call, context)
        if params.glossary is not None:
            columns = await context.run_in_thread(replace_words, columns, params.glossary)
            columns = self._tell_left_out(columns, item, params, context)
        if params.speaker_names is not None:
            self._report_unused_names(item, columns, params.speaker_names, context)
            columns = await context.run_in_thread(rename_speakers, columns, params.speaker_names, item.item_id)
        return columns

    @staticmethod
    def list_named_items(params: SpeechRecognitionParams) -> set[str]:
        """The ids of items that the job names."""
        return list_named_items(params.speaker_names)

    def _report_unused_names(
        self, item: Item, columns: Mapping[str, Any], names: SpeakerNames, context: CapabilityContext
    ) -> None:
        """Say once in a run that a recording has none of the speakers that are named."""
        words = None if context in self._reported else describe_unused_names(columns, names)
        if words is not None:
            self._reported.add(context)
            message = f"{item.source}: {words}; other recordings without them are not named here"
            write_record(RUN_LOGGER, logging.WARNING, "names_not_used", message, notice=True)

    def _tell_left_out(
        self,
        columns: Mapping[str, Any],
        item: Item,
        params: SpeechRecognitionParams,
        context: CapabilityContext,
    ) -> Mapping[str, Any]:
        """Name the terms that did not fit into the prompt: how many in the row, all of them in what explain tells."""
        terms, _ = split_glossary(params.glossary)
        facts = context.provider.model_facts(self.operation, context.model, TranscriptionModel)
        if not facts.takes_glossary(params.transport):
            return columns
        n_sent = facts.count_sent_terms(params.prompt, tuple(terms))
        words = describe_left_out(terms, n_sent, facts, context.model)
        if words is None:
            return columns
        context.record_preparation(item, Preparation("glossary", changes=(f"left out: {', '.join(terms[n_sent:])}",)))
        return {**columns, "warnings": [*columns["warnings"], words]}

    async def _transcribe(
        self, item: Item, params: SpeechRecognitionParams, call: Call, context: CapabilityContext
    ) -> Mapping[str, Any]:
        transcriber = RecordingTranscriber(self._shared, item, params, call, context, self.expected_language(params))
        if params.pass_urls and item.is_url:
            source = to_recording_url(item, context, self._shared.get_audio_limits(params, context))
            heard = (await transcriber.transcribe_url(source)).set_to_clock()
            return heard if params.channels == "mix" else {**heard, **describe_choice(PASSED_ON)}
        async with context.fetch(item) as media:
            if params.channels == "mix":
                return (await transcriber.transcribe(media)).set_to_clock()
            return await transcribe_channels(item, media, params, context, transcriber)

    async def estimate(self, item: Item, params: SpeechRecognitionParams, context: CapabilityContext) -> Estimate:
        """One Ask for each piece. The length comes from the file's header, which can be wrong."""
        if item.is_url:
            return Estimate(1, Usage(requests=1), Usage(requests=1))
        from mediamill.tasks.media.endpoint_fit import estimate_pieces
        from mediamill.tasks.media.probe import read_audio_info

        path = Path(item.location or "")
        info = await context.run_in_thread(functools.partial(read_audio_info, path, track=params.audio_track))
        limits = await self._shared.load_audio_limits(params, context)
        options = get_cut_options(params)
        channels, max_channels = await _count_sent_channels(path, info, params, context)

        def estimate(count: int) -> tuple[Usage, Usage]:
            heard = replace(options, channel=1) if count > 1 else options
            pieces = estimate_pieces(info, path.stat().st_size, limits, heard)
            return count_usage(count, pieces[0]), count_usage(count, pieces[1])

        def count_usage(count: int, pieces: int) -> Usage:
            sent_seconds = count * (info.seconds + (pieces - 1) * Decimal(str(params.overlap)))
            return Usage(audio_seconds=sent_seconds, requests=count * pieces)

        def add_prompt(usage: Usage) -> Usage:
            prompt_bytes = len(build_expected_text(params).encode())
            return replace(usage, input_tokens=(usage.requests or 1) * prompt_bytes)

        usage, ceiling = estimate(channels)[0], estimate(max_channels)[1]
        return Estimate(usage.requests or 1, usage, add_prompt(ceiling), info.seconds)


async def _count_sent_channels(
    path: Path, info: AudioInfo, params: SpeechRecognitionParams, context: CapabilityContext
) -> tuple[int, int]:
    """How many channels are likely to be sent, and how many at most: all of them.

    The recording's beginning is compared: those that are silent there, or hold the same sound as others, may not be
    sent. Without any sound the mix is sent once.
    """
    if params.channels == "mix" or info.channels == 1:
        return 1, 1
    from mediamill.tasks.media.channel_analysis import analyze_channels

    beginning = functools.partial(
        analyze_channels, path, track=params.audio_track, check=context.raise_if_stopped, max_seconds=_COMPARED_SECONDS
    )
    choice = choose_channels(params.channels, await context.run_in_thread(beginning))
    return max(len(choice.heard), 1), info.channels
