"""The types that every other module uses: Item, Ask, Usage, Cost, Answer, Result, Failure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeAlias

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
"""What a wire parameter or a manifest cell may hold."""


def format_decimal(value: Decimal) -> str:
    """A decimal as plain text, without exponent and trailing zeros."""
    return format(value.normalize(), "f") if value else "0"


@dataclass(frozen=True, slots=True)
class Item:
    """One unit of input.

    Attributes:
        item_id: stable id: the path relative to the source root, or the manifest's id column.
        index: position in the source, from 0.
        source: its name in messages: the path or URL as given.
        location: absolute local path or http(s) URL of the bytes; None when the row itself is the input. The location
            of a group is a JSON list of its members' locations (see :attr:`locations`).
        row: the manifest's own columns, unprefixed.
        params: per-row parameters, already separated from ``row``.
        fingerprint: changes when the input may have changed: path, size, mtime and inode of a file, or a
            URL's ``version``; plus the row and its parameters.
        sample: raised by ``retry`` to buy a new answer for the same input.
        problem: why the row itself cannot be used; such an Item becomes a Failure without being run.
        has_result: OUT has a result for the same input; it stays until a new one replaces it.
        lost_request_key: the request key of a result whose file is gone, or whose row is made again; empty where it
            was made without a request. Its reply comes from the journal; it is never bought again.
        is_outdated: its row is made again, as this program makes it; without a reply that is an answer it goes.
        is_read_again: before a new answer is bought, the reply for the sample before it is read once more.
        file_stem: what the names of its files begin with, as the plan chose it; None where an earlier program planned
            it, and before it is planned.
    """

    item_id: str
    index: int
    source: str
    location: str | None = None
    row: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    sample: int = 0
    problem: str | None = None
    has_result: bool = False
    lost_request_key: str | None = None
    is_outdated: bool = False
    is_read_again: bool = False
    file_stem: str | None = None

    @property
    def is_url(self) -> bool:
        """True when the bytes are behind http(s)."""
        return self.location is not None and self.location.startswith(("http://", "https://"))

    @property
    def locations(self) -> tuple[str, ...]:
        """One location, or those of a group's members; empty when the row itself is the input."""
        if self.location is None or not self.location.startswith("["):
            return () if self.location is None else (self.location,)
        return tuple(json.loads(self.location))

    def members(self) -> tuple[Item, ...]:
        """The item itself, or one for each member of a group."""
        if len(self.locations) < 2:  # noqa: PLR2004
            return (self,)
        return tuple(replace(self, location=location, source=_short_location(location)) for location in self.locations)


def join_locations(locations: Sequence[str]) -> str:
    """The locations of a group as one string. No path or URL begins with ``[``, as this JSON list does."""
    return locations[0] if len(locations) == 1 else json.dumps(locations)


def _short_location(location: str) -> str:
    return location if "://" in location[:8] else location.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request used, or the maximum it can use. None means not stated, never zero.

    ``billed_usd`` is the provider's own figure where its reply carries one. ``image_input_tokens`` are part of
    ``input_tokens``, and ``image_output_tokens`` of ``output_tokens``. ``megapixels`` are those of all ``images``
    together, multiplied by the factor that more steps than usual cost; ``video_lines`` is the shorter side of a video
    in pixels. All fields are integers or decimals: the ``usage`` column of ``calls/`` has these fields.
    """

    audio_seconds: Annotated[Decimal | None, "seconds of audio that were sent"] = None
    input_tokens: Annotated[int | None, "tokens of the input"] = None
    cached_input_tokens: Annotated[int | None, "of these, tokens that the provider had cached"] = None
    audio_input_tokens: Annotated[int | None, "of these, tokens of audio"] = None
    output_tokens: Annotated[int | None, "tokens of the output"] = None
    characters: Annotated[int | None, "characters of text to speak"] = None
    speech_seconds: Annotated[Decimal | None, "seconds of speech that were made"] = None
    videos: Annotated[int | None, "videos that were made"] = None
    video_seconds: Annotated[Decimal | None, "seconds of video that were made"] = None
    video_lines: Annotated[int | None, "shorter side of the video in pixels"] = None
    input_images: Annotated[int | None, "images that were sent"] = None
    searches: Annotated[int | None, "searches, the unit of rerank prices"] = None
    sessions: Annotated[int | None, "interpreter sessions that were started"] = None
    images: Annotated[int | None, "images that were made"] = None
    megapixels: Annotated[
        Decimal | None, "megapixels of all images together, times the factor that more steps than usual cost"
    ] = None
    image_input_tokens: Annotated[int | None, "of the input tokens, those of images"] = None
    image_output_tokens: Annotated[int | None, "of the output tokens, those of images"] = None
    requests: Annotated[int | None, "requests"] = None
    billed_usd: Annotated[Decimal | None, "the provider's own figure in US dollars"] = None

    def as_dict(self) -> dict[str, int | str]:
        """The stated quantities; decimals as strings."""
        stated = ((name, getattr(self, name)) for name in self.__slots__)
        return {k: str(v) if isinstance(v, Decimal) else v for k, v in stated if v is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Usage:
        """Inverse of :meth:`as_dict`; unknown names are ignored."""
        types = {field.name: Decimal if "Decimal" in str(field.type) else int for field in fields(cls)}
        values: dict[str, Any] = {name: types[name](value) for name, value in data.items() if name in types}
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Payload:
    """What to send: bytes in memory, a file to stream, or a URL that the provider fetches itself.

    Exactly one of ``data``, ``path`` and ``url`` is set. ``size`` is in bytes (0 for a URL).
    """

    filename: str
    mime: str
    size: int
    data: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """One of the ordered inputs of an Ask, identified by its source and preparation rather than by its encoded bytes.

    Attributes:
        sha256: hash of the source's bytes (or of ``url:`` plus the version, for a URL that is passed through).
        recipe: how the payload was prepared, e.g. ``as-is`` or ``flac-16000-mono``.
        start, end: samples at 16 kHz within the source; ``end`` None means to its end.
        payload: what is sent. Not part of the request key.
    """

    sha256: str
    recipe: str = "as-is"
    start: int = 0
    end: int | None = None
    payload: Payload | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Ask:
    """The smallest unit that is paid for and recorded in the journal; provider-neutral.

    Attributes:
        capability: the capability that needs it, e.g. ``transcribe``.
        operation: which of the provider's endpoints is called, e.g. ``transcription``.
        model: the provider's model name.
        params: neutral parameters and rendered prompts; the provider maps them to its wire parameters.
        inputs: ordered media or texts.
        ceiling: the maximum it can use; rate limits, the budget and quotes count with it.
        sample: tells apart equal Asks that are to be bought separately.
        version: the capability's ``request_version``; raised only when Asks must be bought again.
        item_id: the Item that needs it. Not part of the request key.
    """

    capability: str
    operation: str
    model: str
    params: Mapping[str, JSON] = field(default_factory=dict)
    inputs: tuple[Input, ...] = ()
    ceiling: Usage = field(default_factory=Usage)
    sample: int = 0
    version: int = 1
    item_id: str = ""


@dataclass(frozen=True, slots=True)
class Preparation:
    """How one of an item's inputs was prepared; kept with the item's outcome, for ``mediamill explain``.

    Attributes:
        input: which input, in plain words, e.g. ``recording`` or ``image photo.heic``.
        before: what it was, e.g. ``container``, ``bytes``, ``seconds``, ``width``.
        after: what is sent.
        changes: what was done to it and why, a phrase for each.
    """

    input: str
    before: Mapping[str, JSON] = field(default_factory=dict)
    after: Mapping[str, JSON] = field(default_factory=dict)
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """What one attempt or one row costs.

    ``usd`` None means unknown; ``basis`` is one of billed, metered, estimated, free, stated, unknown.
    ``source`` names the price row: where the price was read and when. ``max_usd`` is the maximum where ``usd`` is None.
    """

    usd: Decimal | None
    basis: str
    source: str | None = None
    max_usd: Decimal | None = None


FREE = Cost(Decimal(0), "free")


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``await call(ask)`` returns.

    Attributes:
        data: the provider-neutral reply, as the operation documents it.
        usage: as the provider stated it.
        cost: what this OUT paid for this item's Ask; zero when cached.
        cached: the answer was in the journal, so this item paid nothing.
        attempts: requests sent for it in this run.
    """

    data: Any
    usage: Usage
    cost: Cost
    request_key: str
    cached: bool = False
    attempts: int = 0
    request_id: str | None = None
    started_at: int | None = None
    latency_ms: int | None = None
    engine: str | None = None
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An Item that failed, and why. The next run tries ``transient`` failures again."""

    item_id: str
    kind: str
    message: str
    hint: str | None = None
    transient: bool = False
    attempts: int = 0
    status: int | None = None
    cost_usd: Decimal | None = Decimal(0)


@dataclass(frozen=True, slots=True)
class Result:
    """An Item that succeeded: its common columns and its capability's own, by name.

    Attributes:
        failed_tries: later tries that failed.
        lacks_try: one of several tries failed in passing, and the row is not good: the next run makes that try.
        undecided: why the condition that ends the tries could not be evaluated; None where it could.
    """

    item_id: str
    columns: Mapping[str, Any]
    failed_tries: tuple[Failure, ...] = ()
    lacks_try: bool = False
    undecided: str | None = None


Outcome: TypeAlias = Result | Failure
