"""speak: texts to audio files; long texts cut at sentences and joined without clicks."""

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
from mediamill.tasks.capabilities.speech.sentence_split import split_text
from mediamill.tasks.domain import JSON, Ask, Item, Usage
from mediamill.tasks.errors import BadInput
from mediamill.tasks.providers.operations.tts import TTS, Form, TtsModel
from mediamill.tasks.wire import Provider

if TYPE_CHECKING:
    import pyarrow as pa

    from mediamill.tasks.media.concat import Joined

_BYTES_PER_CHARACTER = 4_000
"""Sound of a character: a twelfth of a second of 24 kHz, 16 bit; what memory is held for."""

_COPIES_IN_MEMORY = 3
_CHARACTERS_PER_SECOND = Decimal(15)
_MAX_SECONDS_PER_CHARACTER = Decimal("0.25")
"""Seconds that a character can take at most, with pauses (estimate)."""

_MAX_REPLY_BYTES = 48_000_000
"""Bytes that a reply should have at most; a quarter more is read, and beyond that a paid reply would be lost."""

_SLOW_SECONDS_PER_CHARACTER = 0.12
"""Seconds that a character takes in slow speech (estimate); with the rates it decides where long texts are cut."""

_LOSSY_BYTES_PER_SECOND, _DEFAULT_SAMPLE_RATE = 24_000, 24_000
_BASE64_FACTOR = 4 / 3
_MIN_CEILING_SECONDS = Decimal(10)
_MAX_CHARACTERS_PER_SECOND = 60


class SpeakParams(BaseModel):
    """What can be asked of speech; the same names for every provider. What is unset is not sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voice: str | None = Field(None, min_length=1, max_length=200, description="one of the model's voices")
    format: Literal["mp3", "wav", "flac", "opus"] | None = Field(
        None, description="mp3, wav, flac or opus; the provider's first where unset, converted where it has it not"
    )
    speed: float | None = Field(None, gt=0, le=10, allow_inf_nan=False, description="1 is the voice's own pace")
    language: str | None = Field(
        None, pattern=r"^(auto|[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})?)$", description="ISO-639-1 code of the text"
    )
    instructions: str | None = Field(None, max_length=4000, description="how to say it, where the model listens to it")
    sample_rate: int | None = Field(None, ge=8000, le=48000, description="Hz of the file")
    stream: bool = Field(default=False, description="take the sound as a stream of events, where the model has one")
    transport: Literal["http", "socket"] | None = Field(
        None, description="socket: through the provider's speech socket; by default as the model needs it"
    )
    piece_characters: int | None = Field(None, ge=20, le=100_000, description="cut texts shorter than the limit")


class Speak:
    """Say every text of SOURCE, each into an audio file under OUT/media.

    SOURCE is a manifest (.csv .tsv .jsonl .parquet) with a column of texts, a folder of .txt files, a file, a
    URL, or - for a text on each line of stdin. Long texts are cut at sentences and joined without clicks. What
    may have been billed without an answer is told as `unknown` and not bought again unasked.
    """

    name = "speak"
    operation = TTS
    kinds = frozenset({"text"})
    params: type[BaseModel] = SpeakParams
    request_version = 1

    def schema(self, params: Any, provider: Provider, model: str) -> pa.Schema:
        """``file`` is relative to OUT; ``seconds`` is the decoded length; ``pieces`` how many requests it took."""
        import pyarrow as pa

        return pa.schema(
            [
                ("file", pa.string()),
                ("sha256", pa.string()),
                ("bytes", pa.int64()),
                ("format", pa.string()),
                ("sample_rate", pa.int32()),
                ("channels", pa.int32()),
                ("seconds", pa.float64()),
                ("characters", pa.int64()),
                ("voice", pa.string()),
                ("pieces", pa.int32()),
                ("warnings", pa.list_(pa.string())),
            ]
        )

    async def run(self, item: Item, params: SpeakParams, call: Call, context: CapabilityContext) -> Mapping[str, Any]:
        """One text to one file."""
        text = await self._read_text(item, context)
        limits = _get_tts_model(context)
        asks = self._build_asks(item, text, params, limits, context.model)
        form = params.format or _default_format(limits)
        longest = max(len(str(ask.params["text"])) for ask in asks)
        async with context.reserve_memory(
            longest * _BYTES_PER_CHARACTER * (min(MAX_PIECES_AHEAD, len(asks)) + _COPIES_IN_MEMORY)
        ):
            made = context.scratch / f"{uuid.uuid4().hex}.{form}"
            try:
                joined, warnings = await self._write_audio(item, asks, call, context, made, form, params.sample_rate)
                from mediamill.tasks.sinks.media import publish_media

                file = await context.run_in_thread(publish_media, made, context.out, item.item_id, f".{form}")
            finally:
                made.unlink(missing_ok=True)
        return {
            "content_sha256": hashlib.sha256(text.encode("utf-8", "replace")).hexdigest(),
            "file": file.file,
            "sha256": file.sha256,
            "bytes": file.size,
            "format": form,
            "sample_rate": joined.rate,
            "channels": joined.channels,
            "seconds": float(joined.seconds),
            "characters": sum(len(str(ask.params["text"])) for ask in asks),
            "voice": params.voice or limits.default_voice,
            "pieces": len(asks),
            "warnings": [*warnings, *_find_audio_doubts(joined, text)],
        }

    async def estimate(self, item: Item, params: SpeakParams, context: CapabilityContext) -> Estimate:
        """The characters that would be sent; how long they take to say is a guess."""
        asks = self._build_asks(
            item, await self._read_text(item, context), params, _get_tts_model(context), context.model
        )
        characters = sum(ask.ceiling.characters or 0 for ask in asks)
        seconds = (characters / _CHARACTERS_PER_SECOND / Decimal(str(params.speed or 1))).quantize(Decimal("0.001"))
        most = sum((ask.ceiling.speech_seconds or Decimal(0) for ask in asks), Decimal(0))
        return Estimate(
            len(asks),
            Usage(characters=characters, speech_seconds=seconds, requests=len(asks)),
            Usage(characters=characters, speech_seconds=most, requests=len(asks)),
            seconds,
        )

    async def _read_text(self, item: Item, context: CapabilityContext) -> str:
        text = (await context.read_text(item)).replace("\0", " ").strip()
        if not text:
            raise BadInput(f"{item.source}: there is no text in it", kind="empty", hint="write one, or leave it out")
        return text

    def _build_asks(self, item: Item, text: str, params: SpeakParams, limits: TtsModel, model: str) -> list[Ask]:
        """One Ask for each piece; several are asked for in a format that loses nothing when they are joined."""
        form = _choose_wire_format(params, limits, 1)
        parts = split_text(text, _max_piece_characters(params, limits, form))
        if len(parts) > 1:
            form = _choose_wire_format(params, limits, len(parts))
            parts = split_text(text, _max_piece_characters(params, limits, form))
        asked = {**_build_speech_params(params), "format": form}
        slow = _MAX_SECONDS_PER_CHARACTER / Decimal(str(min(params.speed or 1, 1)))
        return [
            Ask(
                capability=self.name,
                operation=self.operation,
                model=model,
                params={**asked, "text": part},
                ceiling=Usage(characters=len(part), speech_seconds=len(part) * slow + _MIN_CEILING_SECONDS, requests=1),
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
        form: str,
        rate: int | None,
    ) -> tuple[Joined, list[str]]:
        """The file, from the answers as they come in; what was odd about them."""
        from mediamill.tasks.media.concat import Joiner, Stretch, as_it_came

        warnings: dict[str, None] = {}
        async with open_ordered_answers(asks, call, item.sample if context.refresh else 0) as answers:
            with Joiner(path, form, rate) as joiner:
                count = 0
                async for answer in answers:
                    count += 1
                    speech = answer.data
                    warnings.update(dict.fromkeys(speech.warnings))
                    stretch = Stretch(speech.audio, speech.form, speech.rate)
                    if len(asks) == 1:
                        whole = await context.run_in_thread(as_it_came, stretch, path, form, rate)
                        if whole is not None:
                            return whole, list(warnings)
                    await context.run_in_thread(joiner.add, stretch, first=count == 1, last=count == len(asks))
                return await context.run_in_thread(joiner.finish), list(warnings)


def _get_tts_model(context: CapabilityContext) -> TtsModel:
    return context.provider.model_facts(TTS, context.model, TtsModel)


def _default_format(limits: TtsModel) -> Form:
    return next(form for form in limits.formats if form != "pcm")


def _choose_wire_format(params: SpeakParams, limits: TtsModel, parts: int) -> Form:
    """What the provider is asked for: the file's own format where one request makes the file, else a lossless one.

    Raises:
        BadInput: when a stream is asked for where there is none.
    """
    if _uses_socket(params, limits):
        return "pcm"
    if params.stream:
        if limits.stream is None:
            raise BadInput("the model has no stream of events", kind="bad_request", hint="leave out stream")
        return "pcm"
    wanted = params.format or _default_format(limits)
    return wanted if parts == 1 and wanted in limits.formats else limits.lossless()


def _max_piece_characters(params: SpeakParams, limits: TtsModel, form: Form) -> int:
    """Most characters of a piece: as many as the provider takes, and as whose sound is surely read to its end."""
    a_second = _LOSSY_BYTES_PER_SECOND if form in ("mp3", "opus") else 2 * (params.sample_rate or _DEFAULT_SAMPLE_RATE)
    seconds = _MAX_REPLY_BYTES / (a_second * (_BASE64_FACTOR if params.stream or _uses_socket(params, limits) else 1))
    fitting = int(seconds / _SLOW_SECONDS_PER_CHARACTER * min(params.speed or 1, 1))
    return min(limits.max_characters, params.piece_characters or limits.max_characters, fitting)


def _uses_socket(params: SpeakParams, limits: TtsModel) -> bool:
    """A socket answers in bare samples, whatever the file is to be."""
    return params.transport == "socket" or (params.transport is None and limits.transport == "socket")


def _build_speech_params(params: SpeakParams) -> dict[str, JSON]:
    left_out = {"format", "piece_characters"} | (set() if params.stream else {"stream"})
    return params.model_dump(exclude=left_out, exclude_none=True)


def _find_audio_doubts(joined: Joined, text: str) -> list[str]:
    """What a listener would complain of first."""
    from mediamill.tasks.media.concat import SILENT

    doubts = []
    if joined.peak <= SILENT:
        doubts.append("silent: nothing can be heard")
    elif joined.seconds * _MAX_CHARACTERS_PER_SECOND < len(text):
        doubts.append(f"short: {joined.seconds:.1f} s for {len(text)} characters")
    return doubts
