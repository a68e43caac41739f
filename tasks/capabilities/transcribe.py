"""transcribe: speech in a recording to text, segments and words with times."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from tasks.capabilities.base import Call, Estimate, Kit, Media
from tasks.errors import BadInput
from tasks.item import JSON, Ask, Input, Item, Payload, Usage

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.media.audio import Clip


class TranscribeParams(BaseModel):
    """What can be asked of a transcription; the same names for every provider."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str = Field(
        "auto", pattern=r"^(auto|[A-Za-z]{2,3}(-[A-Za-z]{2,4})?)$", description="ISO-639-1 code, or auto to detect"
    )
    prompt: str | None = Field(None, max_length=4000, description="names and terms the model should expect")
    temperature: float | None = Field(None, ge=0, le=1, description="0 is the most literal")
    segments: bool = Field(default=True, description="segments with start and end times")
    words: bool = Field(default=True, description="words with start and end times, where the model has them")
    diarize: bool = Field(default=False, description="who speaks when, where the model can tell")
    min_speakers: int | None = Field(None, ge=1, le=64, description="fewest speakers to expect")
    max_speakers: int | None = Field(None, ge=1, le=64, description="most speakers to expect")
    normalize: bool = Field(default=False, description="even out the loudness of short clips first")
    trim: bool = Field(default=False, description="cut silence off both ends of short clips first")
    pass_urls: bool = Field(default=False, description="let the provider fetch URLs itself; length stays unknown")


_PREPARATION = {"normalize", "trim", "pass_urls"}


class Transcribe:
    """Recordings to transcripts."""

    name = "transcribe"
    operation = "transcription"
    kinds = frozenset({"audio"})
    params: type[BaseModel] = TranscribeParams
    request_version = 1

    def schema(self) -> pa.Schema:
        """Times are seconds from the start of the recording; ``audio_seconds`` is the decoded length."""
        import pyarrow as pa

        segment = pa.struct(
            [
                ("id", pa.int32()),
                ("start", pa.float64()),
                ("end", pa.float64()),
                ("text", pa.string()),
                ("speaker", pa.string()),
            ]
        )
        word = pa.struct(
            [
                ("word", pa.string()),
                ("start", pa.float64()),
                ("end", pa.float64()),
                ("speaker", pa.string()),
                ("confidence", pa.float64()),
            ]
        )
        return pa.schema(
            [
                ("text", pa.string()),
                ("language", pa.string()),
                ("duration_s", pa.float64()),
                ("audio_seconds", pa.float64()),
                ("segments", pa.list_(segment)),
                ("words", pa.list_(word)),
                ("speakers", pa.list_(pa.string())),
                ("recipe", pa.string()),
                ("warnings", pa.list_(pa.string())),
            ]
        )

    async def run(self, item: Item, params: TranscribeParams, call: Call, kit: Kit) -> Mapping[str, Any]:
        """One recording to its columns."""
        if params.pass_urls and item.is_url:
            source = self._passed_through(item, kit)
            return await self._ask(item, params, call, kit, source, None, ())
        async with kit.fetch(item) as media:
            clip = await self._prepare(media, params, kit)
            payload = clip.input.payload
            try:
                async with kit.hold(len(payload.data or b"") if payload else 0):
                    return await self._ask(item, params, call, kit, clip.input, clip.seconds, clip.warnings)
            finally:
                if payload and payload.path and payload.path != media.path:
                    payload.path.unlink(missing_ok=True)

    async def _ask(
        self,
        item: Item,
        params: TranscribeParams,
        call: Call,
        kit: Kit,
        source: Input,
        seconds: Decimal | None,
        warnings: tuple[str, ...],
    ) -> Mapping[str, Any]:
        answer = await call(
            Ask(
                capability=self.name,
                operation=self.operation,
                model=kit.model,
                params=_neutral(params),
                inputs=(source,),
                ceiling=Usage(audio_seconds=seconds, input_tokens=len((params.prompt or "").encode()), requests=1),
                sample=item.sample,
                version=self.request_version,
                item_id=item.item_id,
            )
        )
        return {
            **_shifted(answer.data, source.start),
            "content_sha256": source.sha256,
            "audio_seconds": None if seconds is None else float(seconds),
            "recipe": source.recipe,
            "warnings": list(warnings),
        }

    async def estimate(self, item: Item, params: TranscribeParams, kit: Kit) -> Estimate:
        """One Ask; its length from the file's header, which may be off for files that lie about it."""
        if item.is_url:
            return Estimate(1, Usage(requests=1), Usage(requests=1))
        from tasks.media.audio import probe

        info = await kit.thread(probe, _local(item))
        usage = Usage(audio_seconds=info.seconds, requests=1)
        return Estimate(1, usage, usage, info.seconds)

    async def _prepare(self, media: Media, params: TranscribeParams, kit: Kit) -> Clip:
        from tasks.media.audio import prepare, quick

        limits = kit.provider.audio_limits(self.operation, kit.model)
        if media.data is not None and not (params.normalize or params.trim):
            clip = quick(media.path, media.data, media.sha256, limits)
            if clip is not None:
                return clip
        return await kit.thread(
            prepare,
            media.path,
            media.sha256,
            limits,
            kit.scratch,
            normalize=params.normalize,
            trim=params.trim,
        )

    def _passed_through(self, item: Item, kit: Kit) -> Input:
        limits = kit.provider.audio_limits(self.operation, kit.model)
        if not limits.takes_urls:
            raise BadInput(
                f"{kit.provider.name} does not fetch URLs itself", kind="no_urls", hint="leave out pass_urls"
            )
        digest = hashlib.sha256(f"url:{item.location}\n{kit.version(item)}".encode()).hexdigest()
        payload = Payload(filename="", mime="", size=0, url=item.location)
        return Input(sha256=digest, recipe="url", payload=payload)


def _shifted(data: Mapping[str, Any], start: int) -> Mapping[str, Any]:
    """Times counted from the recording's start when what was sent begins ``start`` samples (16 kHz) later."""
    if not start:
        return data
    shift = start / 16_000
    moved = {
        name: [{**part, **{t: part[t] + shift for t in ("start", "end") if part[t] is not None}} for part in data[name]]
        for name in ("segments", "words")
        if data.get(name)
    }
    return {**data, **moved}


def _local(item: Item) -> Any:
    from pathlib import Path

    return Path(item.location or "")


@functools.lru_cache(maxsize=256)
def _neutral(params: TranscribeParams) -> dict[str, JSON]:
    return params.model_dump(exclude=_PREPARATION, exclude_none=True)
