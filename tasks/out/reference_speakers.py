"""References of which one item has several rows, one for each of its speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mediamill.tasks.errors import UsageError

Values = Mapping[str, Any]
SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id")
"""Columns of a table of references that may say who speaks."""


def find_speaker(reference: Values) -> str | None:
    """Who speaks, as a row of references says it."""
    found = next((reference[name] for name in SPEAKER_COLUMNS if reference.get(name) not in (None, "")), None)
    return None if found is None else str(found).strip()


def check_rows_of_item(result: Values, references: Sequence[Values], *, by_speaker: bool) -> None:
    """See that several rows about one item have a speaker each; only of transcripts there may be several.

    Raises:
        UsageError: when two rows are about the same, so that it is open which one is right.
    """
    if len(references) == 1:
        return
    speakers = [find_speaker(reference) if by_speaker else None for reference in references]
    twice = next((speaker for speaker in speakers if speaker and speakers.count(speaker) > 1), None)
    if twice is None and None not in speakers:
        return
    item = f"{result['source']} (item {result['item_id']})"
    if twice is not None:
        raise UsageError(
            f"the references have {speakers.count(twice)} rows for {item}, speaker {twice}",
            hint="put all that a speaker says into one row",
        )
    message = f"the references have {len(speakers)} rows for {item}"
    if not by_speaker:
        raise UsageError(message, hint="keep one of them")
    raise UsageError(
        f"{message}, and not each says who speaks",
        hint=f"keep one of them, or say who speaks in a column {SPEAKER_COLUMNS[0]}",
    )


def list_speakers(result: Values) -> list[str]:
    """Everybody who speaks in a result."""
    parts = [part for name in ("segments", "words") for part in result.get(name) or ()]
    return list(dict.fromkeys(part["speaker"] for part in parts if part.get("speaker")))


def take_speaker(result: Values, speaker: str) -> Values:
    """A result with the text of one speaker alone: by words where each has a speaker, else by segments."""
    words, segments = result.get("words") or (), result.get("segments") or ()
    by_word = bool(words) and (all(w.get("speaker") for w in words) or not any(s.get("speaker") for s in segments))
    parts, name = (words, "word") if by_word else (segments, "text")
    return {**result, "text": " ".join(str(part[name]) for part in parts if part.get("speaker") == speaker)}


def choose_spoken(result: Values, references: Sequence[Values]) -> list[tuple[Values, Values]] | None:
    """An item's rows of references, each with what it is compared with; None where the result has none of the speakers.

    A speaker whom the result does not know beside others has said nothing there. One row is about the whole item,
    unless the result has its speaker and others.
    """
    known = list_speakers(result)
    named = [(reference, find_speaker(reference)) for reference in references]
    if len(named) == 1 and (named[0][1] not in known or len(known) == 1):
        return [(result, references[0])]
    if not any(speaker in known for _, speaker in named):
        return None
    return [(take_speaker(result, speaker or ""), reference) for reference, speaker in named]
