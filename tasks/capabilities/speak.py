"""speak: texts to audio files. Long texts are cut at sentences, and their audio is joined without clicks."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mediamill.tasks.capabilities.base import Call, CapabilityContext, Estimate
from mediamill.tasks.capabilities.speech.ordered_answers import MAX_PIECES_AHEAD, open_ordered_answers
from mediamill.tasks.capabilities.speech.sentence_split import describe_split, split_text
from mediamill.tasks.domain import JSON, Ask, Item, Usage
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.tts import TTS, AudioFormat, TtsModel
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

    from mediamill.tasks.media.concat import JoinedAudio

_BYTES_PER_CHARACTER = 4_000
"""Memory to reserve for a character's audio: a twelfth of a second at 24 kHz and 16 bit."""

_COPIES_IN_MEMORY = 3
"""Copies of a piece's audio that exist while it is decoded and joined."""
_CHARACTERS_PER_SECOND = Decimal(15)
"""Usual pace of speech (estimate)."""
_MAX_SECONDS_PER_CHARACTER = Decimal("0.25")
"""The longest that a character can take, with pauses (estimate)."""

_MAX_REPLY_BYTES = 48_000_000
"""The size that a reply should not exceed. A quarter more is still read; a paid reply beyond that would be lost."""

_SLOW_SECONDS_PER_CHARACTER = 0.12
"""What a character takes in slow speech (estimate); with the byte rates it decides where long texts are cut."""

_LOSSY_BYTES_PER_SECOND, _DEFAULT_SAMPLE_RATE = 24_000, 24_000
_BASE64_FACTOR = 4 / 3
_EXTRA_CEILING_SECONDS = Decimal(10)
"""Added to the ceiling of every piece, so that a very short text has one, too."""
_MAX_CHARACTERS_PER_SECOND = 60
"""Speech that would have to be faster gets the warning ``short``."""


class SpeakParams(BaseModel):
    """Parameters of speech synthesis; the same names for every provider. What is unset is not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voice: str | None = Field(
        None, min_length=1, max_length=200, description="one of the model's voices; default: the model's own"
    )
    format: Literal["mp3", "wav", "flac", "opus"] | None = Field(
        None, description="file format; default: the provider's first. Converted where the provider does not offer it"
    )
    speed: float | None = Field(
        None, gt=0, le=10, allow_inf_nan=False, description="speaking rate; 1 is the voice's own pace"
    )
    language: str | None = Field(
        None, pattern=r"^(auto|[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})?)$", description="ISO-639-1 code of the text"
    )
    instructions: str | None = Field(
        None, max_length=4000, description="how to speak, where the model takes instructions"
    )
    sample_rate: int | None = Field(
        None, ge=8000, le=48000, description="sample rate of the file in Hz; default: the provider's"
    )
    stream: bool = Field(default=False, description="receive the audio as a stream of events, where the model has one")
    transport: Literal["http", "socket"] | None = Field(
        None, description="socket uses the provider's WebSocket for speech; default: what the model needs"
    )
    piece_characters: int | None = Field(
        None, ge=20, le=100_000, description="maximum characters of a piece of a long text; default: the model's limit"
    )


class Speak:
    """Speak every text of SOURCE, each into an audio file under OUT/media.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of texts, a folder of .txt files, a file, a
    URL, or - for a text on each line of stdin. Long texts are cut at sentences and joined without clicks. A request
    that may have been billed without an answer is reported as `unknown` and sent again only by
    `mediamill retry OUT --only unknown`.
    """

    name = "speak"
    operation = TTS
    kinds = frozenset({"text"})
    params: type[BaseModel] = SpeakParams
    request_version = 1

    def schema(self, params: Any, provider: Provider, model: str) -> pa.Schema:
        """``file`` is relative to OUT; ``seconds`` is the decoded length; ``pieces`` is the number of requests."""
        import pyarrow as pa

        from mediamill.tasks.sinks.schema import make_field

        return pa.schema(
            [
                make_field("file", pa.string(), "path relative to OUT"),
                make_field("sha256", pa.string(), "SHA-256 of the file"),
                make_field("bytes", pa.int64(), "size of the file"),
                make_field("format", pa.string(), "format of the file, e.g. mp3"),
                make_field("sample_rate", pa.int32(), "samples per second"),
                make_field("channels", pa.int32(), "number of channels"),
                make_field("seconds", pa.float64(), "decoded length in seconds"),
                make_field("characters", pa.int64(), "characters that were sent"),
                make_field("voice", pa.string(), "the voice"),
                make_field("pieces", pa.int32(), "number of pieces, each a request"),
                make_field("warnings", pa.list_(pa.string()), "what a reader should know about the row"),
            ]
        )

    async def run(self, item: Item, params: SpeakParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """Speak one text into one file."""
        text = await self._read_text(item, context)
        limits = _get_tts_model(context)
        asks = self._build_asks(item, text, params, limits, context.model)
        audio_format = params.format or _get_default_format(limits)
        texts = [str(ask.params["text"]) for ask in asks]
        formats = (str(asks[0].params["format"]), audio_format)
        context.record_preparation(item, describe_split(text, texts, params.piece_characters, context.model, formats))
        max_characters = max(map(len, texts))
        async with context.reserve_memory(
            max_characters * _BYTES_PER_CHARACTER * (min(MAX_PIECES_AHEAD, len(asks)) + _COPIES_IN_MEMORY)
        ):
            path = context.scratch / f"{uuid.uuid4().hex}.{audio_format}"
            try:
                joined, warnings = await self._write_audio(
                    item, asks, call, context, path, audio_format, params.sample_rate
                )
                from mediamill.tasks.sinks.media import publish_media

                published = await context.run_in_thread(publish_media, path, context.out, item, f".{audio_format}")
            finally:
                path.unlink(missing_ok=True)
        return {
            "content_sha256": hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(),
            "file": published.file,
            "sha256": published.sha256,
            "bytes": published.size,
            "format": audio_format,
            "sample_rate": joined.rate,
            "channels": joined.channels,
            "seconds": float(joined.seconds),
            "characters": sum(len(str(ask.params["text"])) for ask in asks),
            "voice": params.voice or limits.default_voice,
            "pieces": len(asks),
            "warnings": [*warnings, *_find_audio_warnings(joined, text)],
        }

    async def estimate(self, item: Item, params: SpeakParams, context: CapabilityContext) -> Estimate:
        """The characters that would be sent; their speaking time is an estimate."""
        asks = self._build_asks(
            item, await self._read_text(item, context), params, _get_tts_model(context), context.model
        )
        characters = sum(ask.ceiling.characters or 0 for ask in asks)
        seconds = (characters / _CHARACTERS_PER_SECOND / Decimal(str(params.speed or 1))).quantize(Decimal("0.001"))
        max_seconds = sum((ask.ceiling.speech_seconds or Decimal(0) for ask in asks), Decimal(0))
        return Estimate(
            len(asks),
            Usage(characters=characters, speech_seconds=seconds, requests=len(asks)),
            Usage(characters=characters, speech_seconds=max_seconds, requests=len(asks)),
            seconds,
        )

    async def _read_text(self, item: Item, context: CapabilityContext) -> str:
        text = (await context.read_text(item)).replace("\0", " ").strip()
        if not text:
            raise BadInput(f"{item.source}: the text is empty", kind="empty", hint="write one, or leave it out")
        return text

    def _build_asks(self, item: Item, text: str, params: SpeakParams, limits: TtsModel, model: str) -> list[Ask]:
        """One Ask for each piece. Several pieces are requested in a lossless format, so that joining loses nothing."""
        audio_format = _choose_wire_format(params, limits, 1)
        parts = split_text(text, _compute_max_characters(params, limits, audio_format))
        if len(parts) > 1:
            audio_format = _choose_wire_format(params, limits, len(parts))
            parts = split_text(text, _compute_max_characters(params, limits, audio_format))
        shared_params = {**_build_speech_params(params), "format": audio_format}
        seconds_per_character = _MAX_SECONDS_PER_CHARACTER / Decimal(str(min(params.speed or 1, 1)))
        return [
            Ask(
                capability=self.name,
                operation=self.operation,
                model=model,
                params={**shared_params, "text": part},
                ceiling=Usage(
                    characters=len(part),
                    speech_seconds=len(part) * seconds_per_character + _EXTRA_CEILING_SECONDS,
                    requests=1,
                ),
                sample=item.sample,
                version=self.request_version,
                item_id=item.item_id,
            )
            for part in parts
        ]

    async def _write_audio(
        self,
        item: Item,
        asks: Sequence[Ask],
        call: Call,
        context: CapabilityContext,
        path: Path,
        audio_format: str,
        rate: int | None,
    ) -> tuple[JoinedAudio, list[str]]:
        """Write the file from the answers as they arrive.

        Returns:
            The joined audio, and the warnings of all answers.
        """
        from mediamill.tasks.media.concat import AudioJoiner, AudioPart, write_unchanged

        warnings: dict[str, None] = {}
        async with open_ordered_answers(asks, call, item.sample if context.refresh else 0) as answers:
            with AudioJoiner(path, audio_format, rate) as joiner:
                count = 0
                async for answer in answers:
                    count += 1
                    speech = answer.data
                    warnings.update(dict.fromkeys(speech.warnings))
                    stretch = AudioPart(speech.audio, speech.format, speech.rate)
                    if len(asks) == 1:
                        whole = await context.run_in_thread(write_unchanged, stretch, path, audio_format, rate)
                        if whole is not None:
                            return whole, list(warnings)
                    await context.run_in_thread(joiner.add, stretch, first=count == 1, last=count == len(asks))
                return await context.run_in_thread(joiner.finish), list(warnings)


def _get_tts_model(context: CapabilityContext) -> TtsModel:
    return context.provider.model_facts(TTS, context.model, TtsModel)


def _get_default_format(limits: TtsModel) -> AudioFormat:
    return next(audio_format for audio_format in limits.formats if audio_format != "pcm")


def _choose_wire_format(params: SpeakParams, limits: TtsModel, parts: int) -> AudioFormat:
    """The format to request: the file's own when one request makes the file, otherwise a lossless one.

    Raises:
        BadInput: when the parameters ask for a stream that the model does not have.
    """
    if _uses_socket(params, limits):
        return "pcm"
    if params.stream:
        if limits.stream is None:
            raise BadInput("the model has no stream of events", kind="bad_request", hint="leave out --stream")
        return "pcm"
    file_format = params.format or _get_default_format(limits)
    return file_format if parts == 1 and file_format in limits.formats else limits.choose_lossless_format()


def _compute_max_characters(params: SpeakParams, limits: TtsModel, audio_format: AudioFormat) -> int:
    """Maximum characters of a piece: the provider's limit, and what surely fits a reply of ``_MAX_REPLY_BYTES``."""
    bytes_per_second = (
        _LOSSY_BYTES_PER_SECOND if audio_format in ("mp3", "opus") else 2 * (params.sample_rate or _DEFAULT_SAMPLE_RATE)
    )
    max_seconds = _MAX_REPLY_BYTES / (
        bytes_per_second * (_BASE64_FACTOR if params.stream or _uses_socket(params, limits) else 1)
    )
    fitting = int(max_seconds / _SLOW_SECONDS_PER_CHARACTER * min(params.speed or 1, 1))
    return min(limits.max_characters, params.piece_characters or limits.max_characters, fitting)


def _uses_socket(params: SpeakParams, limits: TtsModel) -> bool:
    """True when the request goes over a WebSocket, which answers in raw samples whatever the file's format."""
    return params.transport == "socket" or (params.transport is None and limits.transport == "socket")


def _build_speech_params(params: SpeakParams) -> dict[str, JSON]:
    excluded = {"format", "piece_characters"} | (set() if params.stream else {"stream"})
    return params.model_dump(exclude=excluded, exclude_none=True)


def _find_audio_warnings(joined: JoinedAudio, text: str) -> list[str]:
    """Warnings about audio that is silent, or too short for its text."""
    from mediamill.tasks.media.concat import MAX_SILENT_PEAK

    warnings = []
    if joined.peak <= MAX_SILENT_PEAK:
        warnings.append("silent: the audio is inaudible")
    elif joined.seconds * _MAX_CHARACTERS_PER_SECOND < len(text):
        warnings.append(f"short: {joined.seconds:.1f} s for {len(text)} characters")
    return warnings
