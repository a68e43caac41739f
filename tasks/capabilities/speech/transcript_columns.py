"""The columns of a transcript and of a translation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def build_transcript_schema() -> pa.Schema:
    """The columns of a recording's text.

    Times are seconds on the file's own clock, from its first picture or sound. Speakers of a recording in several
    pieces are matched where the pieces overlap. What each flag means is in
    :mod:`mediamill.tasks.capabilities.speech.transcript_checks`.
    """
    import pyarrow as pa

    from mediamill.tasks.sinks.schema import make_field

    segment = pa.struct(
        [
            make_field("id", pa.int32(), "number of the segment, from 0"),
            make_field("start", pa.float64(), "start in seconds from the file's first picture or sound"),
            make_field("end", pa.float64(), "end in seconds from the file's first picture or sound"),
            make_field("text", pa.string(), "what is said"),
            make_field(
                "speaker", pa.string(), "who speaks: label, channel or name; null without --diarize and --channels"
            ),
        ]
    )
    word = pa.struct(
        [
            make_field("word", pa.string(), "the word, as the model wrote it"),
            make_field("start", pa.float64(), "start in seconds from the file's first picture or sound"),
            make_field("end", pa.float64(), "end in seconds from the file's first picture or sound"),
            make_field(
                "speaker", pa.string(), "who speaks: label, channel or name; null without --diarize and --channels"
            ),
            make_field("confidence", pa.float64(), "the model's confidence from 0 to 1; null where it states none"),
        ]
    )
    return pa.schema(
        [
            make_field("text", pa.string(), "the whole transcript, or its translation"),
            make_field("language", pa.string(), "language of the recording, as the provider named it"),
            make_field(
                "duration_s",
                pa.float64(),
                "length in seconds, as the provider stated it; of a recording in pieces the decoded length",
            ),
            make_field("audio_seconds", pa.float64(), "decoded length in seconds"),
            make_field(
                "segments",
                pa.list_(segment),
                "segments with times on the file's clock; null where the model returns none",
            ),
            make_field(
                "words",
                pa.list_(word),
                "words with times on the file's clock; null where the model returns none",
            ),
            make_field(
                "speakers",
                pa.list_(pa.string()),
                "every speaker: label, channel or name; a label that is valid in one piece only begins with its number",
            ),
            make_field("files", pa.list_(pa.string()), "files of its subtitles, paths relative to OUT"),
            make_field("recipe", pa.string(), "how the audio was prepared: as-is, or the format it was converted to"),
            make_field("pieces", pa.int32(), "number of pieces, each a request; 1 for a recording sent whole"),
            make_field(
                "audio_track",
                pa.int32(),
                "number of the file's sound track that was heard, from 1; null where the provider fetched the file",
            ),
            make_field("warnings", pa.list_(pa.string()), "what a reader should know about the row"),
            make_field("speech_seconds", pa.float64(), "seconds that sound like speech"),
            make_field("flags", pa.list_(pa.string()), "likely faults of the transcript, found without a reference"),
        ]
    )


def build_channel_fields() -> list[pa.Field]:
    """The columns that ``--channels split`` and ``auto`` add."""
    import pyarrow as pa

    from mediamill.tasks.sinks.schema import make_field

    channel = pa.struct(
        [
            make_field("number", pa.int32(), "number of the channel in the file, from 1"),
            make_field("name", pa.string(), "its place, as the file names it, such as FL; null where it names none"),
            make_field("speaker", pa.string(), "who speaks on it: channel and number, or the name"),
            make_field("sent", pa.bool_(), "false for a channel on which nothing is heard"),
            make_field("speech_seconds", pa.float64(), "seconds that sound like speech on this channel"),
            make_field("language", pa.string(), "its language, as the provider named it"),
            make_field("flags", pa.list_(pa.string()), "likely faults of its transcript"),
            make_field(
                "left_out",
                pa.string(),
                "words left out of it as crosstalk, where a leak of another channel is measured; null without any",
            ),
        ]
    )
    return [
        make_field("channel_mode", pa.string(), "how the recording was heard: split, each channel by itself, or mix"),
        make_field("channel_reason", pa.string(), "why it was heard so"),
        make_field("channels", pa.list_(channel), "the channels of a recording that was split; null for a mix"),
    ]
