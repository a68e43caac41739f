"""The parameters of every speech recognition, and what a request and the cutting take from them."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from mediamill.tasks.capabilities.parameters import Option, ReadsFile, RowsOnly, is_from_row
from mediamill.tasks.capabilities.speech.channel_choice import ChannelMode
from mediamill.tasks.capabilities.speech.glossary import Glossary, get_terms, parse_glossary
from mediamill.tasks.capabilities.speech.speaker_names import SpeakerNames, is_channel_name, parse_speaker_names
from mediamill.tasks.domain import JSON
from mediamill.tasks.errors import UsageError
from mediamill.tasks.media.endpoint_fit import CutOptions

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
    glossary: Annotated[Glossary | None, Option(metavar="FILE|a,b,c"), ReadsFile("--glossary"), RowsOnly(get_terms)] = (
        Field(
            None,
            description="terms that the model should expect, and replacements of whole words in what it wrote "
            "(wrong -> right): a list, or a file with one a line; other replacements buy nothing again",
        )
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
    channels: Annotated[ChannelMode, Option(by_row=False)] = Field(
        "mix",
        description="split: each channel of a call by itself, with its speaker; auto: where they hold one voice each; "
        "default mix: all as one",
    )
    speaker_names: Annotated[
        SpeakerNames | None, Option(metavar="a,b|FILE"), ReadsFile("--speaker-names"), RowsOnly()
    ] = Field(
        None,
        description="names of the speakers: those of the channels in order, or a file (csv, yaml) with item, label and "
        "name; changing it buys nothing again",
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

    @field_validator("speaker_names", mode="before", json_schema_input_type=dict[str, Any] | list[Any] | str | None)
    @classmethod
    def _parse_speaker_names(cls, value: Any, info: ValidationInfo) -> Any:
        return parse_speaker_names(value, reads_file=not is_from_row(info))

    @model_validator(mode="after")
    def _check_channels(self) -> SpeechRecognitionParams:
        if self.channels == "split" and self.pass_urls:
            raise ValueError("channels are taken apart here, and pass_urls lets the provider fetch the file: drop one")
        return self


def refuse_names_of_no_channels(params: SpeechRecognitionParams) -> None:
    """Refuse names of channels for a mix. OUT may keep the channels of a job that names none, so it is known late.

    Raises:
        UsageError: when all names are those of channels.
    """
    if params.channels == "mix" and params.speaker_names and all(map(is_channel_name, params.speaker_names)):
        raise UsageError(
            "speaker_names name channels, which a mix has not", hint="say channels split or auto, or use labels"
        )


class TranscribeParams(SpeechRecognitionParams):
    """Parameters of a transcription."""

    diarize: bool = Field(default=False, description="label who speaks when (speaker diarization), where the model can")
    min_speakers: int | None = Field(None, ge=1, le=64, description="minimum number of speakers to expect")
    max_speakers: int | None = Field(None, ge=1, le=64, description="maximum number of speakers to expect")


_OWN_PARAMS = {
    "normalize",
    "trim",
    "pass_urls",
    "piece_seconds",
    "overlap",
    "audio_track",
    "glossary",
    "channels",
    "speaker_names",
}
"""Parameters of which the provider learns nothing, or what this module makes of them."""


def is_diarized(params: SpeechRecognitionParams) -> bool:
    """Whether speakers are to be labelled."""
    return isinstance(params, TranscribeParams) and params.diarize


@functools.lru_cache(maxsize=256)
def get_cut_options(params: SpeechRecognitionParams) -> CutOptions:
    """How to cut. With diarization nothing is cut for its length alone: models tell speakers apart best in a whole."""
    return CutOptions(
        params.piece_seconds, params.overlap, is_diarized(params), params.normalize, params.trim, params.audio_track
    )


@functools.lru_cache(maxsize=256)
def build_request_params(params: SpeechRecognitionParams) -> dict[str, JSON]:
    """The parameters that a request depends on."""
    fields: dict[str, JSON] = params.model_dump(exclude=_OWN_PARAMS, exclude_none=True)
    terms: list[JSON] = [*get_terms(params.glossary)]
    return {**fields, "glossary": terms} if terms else fields
