"""The sound tracks of a file: which one is taken, by default or by number or language."""

from __future__ import annotations

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
        wanted: a number from 1, or a language's name or code; None for the default track.

    Raises:
        BadInput: ``no_such_track`` naming those there are; ``undecodable`` when none of them can be decoded.
    """
    candidates = [n for n, stream in enumerate(streams) if _is_wanted(n, stream, wanted)]
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


def _is_wanted(index: int, stream: AudioStream, wanted: str | None) -> bool:
    if wanted is None:
        return True
    if wanted.isdecimal():
        return index + 1 == int(wanted)
    language = stream.metadata.get("language", "")
    return wanted.lower() == language.lower() or to_iso_code(wanted) == (to_iso_code(language) or "")


def _describe(stream: AudioStream) -> str:
    context = stream.codec_context
    facts = [stream.metadata.get("language", ""), stream.metadata.get("title", ""), context.name, context.layout.name]
    return ", ".join(fact for fact in facts if fact and fact != "und")
