"""How a recording goes to an endpoint: whole, by its URL, or cut into pieces whose answers are merged."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediamill.tasks.capabilities.base import FETCHED_BY_PROVIDER, CapabilityContext, Media, to_url_input
from mediamill.tasks.capabilities.speech.length_limits import describe_learned_limit
from mediamill.tasks.capabilities.speech.piece_sender import PieceSender, SendPiece
from mediamill.tasks.capabilities.speech.piece_transcript import SAMPLE_RATE, PieceTranscript
from mediamill.tasks.domain import Answer, Input, Item, Preparation
from mediamill.tasks.errors import BadInput
from mediamill.tasks.media.endpoint_fit import CutOptions
from mediamill.tasks.wire import AudioLimits

if TYPE_CHECKING:
    from mediamill.tasks.media.audio_info import PreparedAudio, Timeline, VoiceActivity


@dataclass(frozen=True, slots=True)
class MergedPieces:
    """The transcript of a recording that was sent in pieces.

    Attributes:
        columns: the transcript, with times from the recording's start.
        warnings: what the user should know about the recording and the merging.
        activity: when the recording sounds like speech.
        recipe: how the pieces were prepared.
        count: number of pieces.
        timeline: from these times to the file's own clock.
        track: number of the audio track, from 1.
        first: the first piece's answer.
        avg_logprob: mean log-probability of the tokens; None where a piece states none.
    """

    columns: Mapping[str, Any]
    warnings: list[str]
    activity: VoiceActivity
    recipe: str
    count: int
    timeline: Timeline
    track: int
    first: Answer
    avg_logprob: float | None = None


def to_recording_url(item: Item, context: CapabilityContext, limits: AudioLimits) -> Input:
    """The recording as a URL, which the provider fetches itself.

    Raises:
        BadInput: ``no_urls`` when the provider does not fetch URLs.
    """
    if not limits.takes_urls:
        raise BadInput(
            f"{context.provider.name} does not fetch URLs itself", kind="no_urls", hint="leave out pass_urls"
        )
    context.record_preparation(item, Preparation("recording", changes=(FETCHED_BY_PROVIDER,)))
    return to_url_input(item.location or "", item, context)


async def prepare_whole(
    media: Media, context: CapabilityContext, limits: AudioLimits, cut_options: CutOptions
) -> PreparedAudio | None:
    """Prepare the recording to be sent whole; None when it has to be cut.

    Raises:
        BadInput: as :func:`mediamill.tasks.media.endpoint_fit.prepare_if_fits`.
    """
    from mediamill.tasks.media.endpoint_fit import limit_whole_file, prepare_if_fits
    from mediamill.tasks.media.prepare import add_voice_activity, can_skip_analysis, prepare_plain_wav

    is_plain = not (cut_options.normalize or cut_options.trim) and cut_options.track in (None, "1")
    if media.data is not None and is_plain:
        clip = prepare_plain_wav(media.path, media.data, media.sha256, limit_whole_file(limits, cut_options))
        if clip is not None and not can_skip_analysis(clip):
            clip = await context.run_in_thread(add_voice_activity, clip, media.path, context.raise_if_stopped)
        if clip is not None:
            return clip
    return await context.run_in_thread(
        prepare_if_fits, media.path, media.sha256, limits, context.scratch, cut_options, check=context.raise_if_stopped
    )


async def transcribe_pieces(
    item: Item,
    media: Media,
    context: CapabilityContext,
    send: SendPiece,
    cut_semaphore: asyncio.Semaphore,
    limits: AudioLimits,
    cut_options: CutOptions,
    *,
    diarized: bool,
) -> MergedPieces:
    """Transcribe a recording that is too long to be sent whole: send its pieces in parallel and merge their answers.

    Args:
        item: the item it belongs to.
        media: the recording.
        context: what the item may use.
        send: the paid call for one piece.
        cut_semaphore: how many recordings may be cut at the same time.
        limits: what the endpoint takes.
        cut_options: how to cut.
        diarized: speakers are labelled, so their labels are matched from piece to piece.

    Raises:
        ItemError: naming the piece that failed.
    """
    from mediamill.tasks.capabilities.speech.transcript_merge import merge_transcripts
    from mediamill.tasks.media.preparations import describe_pieces
    from mediamill.tasks.media.segmenter import Segmenter

    sender = PieceSender(context, send, media.sha256, cut_semaphore)
    segmenter = Segmenter(media.path, media.sha256, limits, context.scratch, cut_options, check=sender.raise_if_ended)
    try:
        clips, answers = await sender.send_all(segmenter)
    finally:
        if sender.clips:
            sizes = (segmenter.piece_seconds, context.model)
            context.record_preparation(item, describe_pieces(sender.clips, media.size, limits, cut_options, *sizes))
    ends = [c.input.start + round(c.seconds * SAMPLE_RATE) if c.input.end is None else c.input.end for c in clips]
    transcripts = [
        PieceTranscript.from_answer(a.data, c.input.start, end) for a, c, end in zip(answers, clips, ends, strict=True)
    ]
    columns, warnings = await context.run_in_thread(merge_transcripts, transcripts, diarized=diarized)
    faults = sorted({fault for answer in answers for fault in answer.data.get("time_faults", ())})
    return MergedPieces(
        columns,
        [*segmenter.warnings, *warnings, *faults, *describe_learned_limit(limits, context.model)],
        await context.run_in_thread(lambda: segmenter.voice_activity),
        clips[0].input.recipe,
        len(clips),
        segmenter.timeline,
        segmenter.track.number,
        answers[0],
        _find_mean_log_probability(answers),
    )


def _find_mean_log_probability(answers: Sequence[Answer]) -> float | None:
    """The pieces' mean log-probabilities, weighted by the lengths of their texts."""
    spoken = [answer.data for answer in answers if answer.data.get("text")]
    values = [(data.get("avg_logprob"), len(data["text"])) for data in spoken]
    known = [(value, size) for value, size in values if value is not None]
    return (
        sum(value * size for value, size in known) / sum(size for _, size in known)
        if len(known) == len(values) > 0
        else None
    )
