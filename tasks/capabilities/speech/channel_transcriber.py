"""A recording heard channel by channel, where that is asked for and its channels hold one voice each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mediamill.tasks.capabilities.base import CapabilityContext, Media
from mediamill.tasks.capabilities.speech.channel_choice import ChannelChoice, choose_channels
from mediamill.tasks.capabilities.speech.recognition_params import SpeechRecognitionParams
from mediamill.tasks.capabilities.speech.recording_transcriber import HeardRecording, RecordingTranscriber
from mediamill.tasks.domain import Item, Preparation
from mediamill.tasks.errors import ItemError

if TYPE_CHECKING:
    from mediamill.tasks.media.channel_analysis import ChannelAnalysis


async def transcribe_channels(
    item: Item,
    media: Media,
    params: SpeechRecognitionParams,
    context: CapabilityContext,
    transcriber: RecordingTranscriber,
) -> dict[str, Any]:
    """The columns of a recording for ``--channels split`` or ``auto``.

    Raises:
        ItemError: naming the channel that failed. The answers to others are in the journal.
    """
    from mediamill.tasks.capabilities.speech.channel_merge import merge_channels
    from mediamill.tasks.media.channel_analysis import analyze_channels
    from mediamill.tasks.media.crosstalk import measure_leaks

    analysis = await context.run_in_thread(
        analyze_channels, media.path, track=params.audio_track, check=context.raise_if_stopped
    )
    choice = await context.run_in_thread(choose_channels, params.channels, analysis)
    context.record_preparation(item, Preparation("channels", changes=(f"{choice.mode}: {choice.reason}",)))
    if choice.mode == "mix":
        columns = (await transcriber.transcribe(media)).set_to_clock()
        return {**columns, **describe_choice(choice)}
    heard = await _transcribe_each(media, choice, transcriber)
    timeline = next(iter(heard.values())).timeline
    by_number = {number: recording.columns for number, recording in heard.items()}
    leaks = await context.run_in_thread(
        measure_leaks, media.path, choice.heard, track=params.audio_track, check=context.raise_if_stopped
    )
    merged = await context.run_in_thread(merge_channels, analysis, by_number, leaks)
    merged["warnings"] += _warn(choice, analysis)
    return {**HeardRecording(merged, timeline).set_to_clock(), **describe_choice(choice)}


def describe_choice(choice: ChannelChoice) -> dict[str, Any]:
    """The columns that tell how the channels were heard, and why."""
    return {"channel_mode": choice.mode, "channel_reason": choice.reason}


async def _transcribe_each(
    media: Media, choice: ChannelChoice, transcriber: RecordingTranscriber
) -> Mapping[int, HeardRecording]:
    """All channels at once. Where one fails, the others end first: what they paid for is in the journal then."""
    calls = [transcriber.transcribe(media, number) for number in choice.heard]
    results = await asyncio.gather(*calls, return_exceptions=True)
    failures = [(n, each) for n, each in zip(choice.heard, results, strict=True) if isinstance(each, BaseException)]
    for _, error in failures:
        if not isinstance(error, ItemError):
            raise error
    for number, error in failures:
        if isinstance(error, ItemError):
            error.message = f"channel {number}: {error.message}"
            raise error
    return {n: each for n, each in zip(choice.heard, results, strict=True) if isinstance(each, HeardRecording)}


def _warn(choice: ChannelChoice, analysis: ChannelAnalysis) -> list[str]:
    warnings = []
    silent = [str(number) for number in range(1, len(analysis.names) + 1) if number not in choice.heard]
    if silent:
        warnings.append(f"channels: nothing is heard on {' and '.join(silent)} of {choice.count}, not sent")
    if choice.is_same:
        warnings.append(
            f"channels: sent {len(choice.heard)} times although they hold the same sound; auto sends it once"
        )
    return warnings
