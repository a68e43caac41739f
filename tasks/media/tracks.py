"""The sound tracks of a file: which one is taken, by default or by number, language or title."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from av.stream import Disposition

from mediamill.tasks.errors import BadInput
from mediamill.tasks.languages import to_iso_code
from mediamill.tasks.media.audio_info import Track
from mediamill.tasks.media.formats import DECODERS

if TYPE_CHECKING:
    from av.audio.stream import AudioStream


def choose_track(streams: Sequence[AudioStream], wanted: str | None) -> tuple[AudioStream, Track]:
    """Choose one of a file's sound tracks: the wanted one, or the default one, or the first.

    Args:
        streams: at least one, in the file's order.
        wanted: a number from 1, a language's name, code or tag (``pt``, ``por``, ``pt-BR``), or a title or words of it;
            None for the default track.

    Raises:
        BadInput: ``no_such_track`` naming those there are; ``undecodable`` when none of them can be decoded.
    """
    candidates = _find_candidates(streams, wanted)
    if not candidates:
        listed = "; ".join(f"{n}: {_describe(stream)}" for n, stream in enumerate(streams, 1))
        count = "one sound track" if len(streams) == 1 else f"{len(streams)} sound tracks"
        raise BadInput(
            f"there is no sound track {wanted!r}: the file has {count} ({listed})",
            kind="no_such_track",
            hint="choose another --audio-track, or leave it out for the default one",
        )
    decodable = [n for n in candidates if streams[n].codec_context.name in DECODERS]
    if not decodable:
        codec = streams[candidates[0]].codec_context.name
        raise BadInput(f"audio in the codec {codec!r} cannot be decoded", kind="undecodable")
    chosen = next((n for n in decodable if streams[n].disposition & Disposition.default), decodable[0])
    first = next(n for n, stream in enumerate(streams) if stream.codec_context.name in DECODERS)
    return streams[chosen], Track(chosen + 1, to_iso_code(streams[chosen].metadata.get("language")), chosen != first)


def _find_candidates(streams: Sequence[AudioStream], wanted: str | None) -> list[int]:
    """The tracks that are meant, counted from 0: those that match best."""
    ranks = [0 if wanted is None else _rank(n, stream, wanted) for n, stream in enumerate(streams)]
    best = min((rank for rank in ranks if rank is not None), default=None)
    return [n for n, rank in enumerate(ranks) if rank is not None and rank == best]


def _rank(index: int, stream: AudioStream, wanted: str) -> int | None:
    """How well a track matches, from 0 for best; None for another one.

    The same language tag comes first, then the language without a region, with another one, the title, words of it.
    """
    if wanted.isdecimal():
        return 0 if index + 1 == int(wanted) else None
    language, title = stream.metadata.get("language", ""), stream.metadata.get("title", "").casefold()
    tag, wanted_tag = _to_tag(language), _to_tag(wanted)
    if tag == wanted_tag:
        return 0
    if to_iso_code(wanted) == (to_iso_code(language) or ""):
        return 1 if "-" not in tag or "-" not in wanted_tag else 2
    if title.strip() == wanted.strip().casefold():
        return 3
    return 4 if re.search(rf"(?<!\w){re.escape(wanted.strip().casefold())}(?!\w)", title) else None


def _to_tag(language: str) -> str:
    return language.strip().lower().replace("_", "-")


def _describe(stream: AudioStream) -> str:
    context, language, title = stream.codec_context, stream.metadata.get("language", ""), stream.metadata.get("title")
    facts = [language if language not in ("", "und") else "no language", f'"{title}"' if title else ""]
    return ", ".join(fact for fact in [*facts, context.name, context.layout.name] if fact)
