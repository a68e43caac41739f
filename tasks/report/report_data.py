"""What the page tells, gathered from the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from mediamill.tasks.capabilities.speech.transcript_checks import FLAG_MEANINGS
from mediamill.tasks.journal.attempts import Spending
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.output_binding import Binding

if TYPE_CHECKING:
    from mediamill.tasks.report.thumbnails import Frame

SHOWN_RESULTS = 200
SHOWN_FAILURES = 10
_TEXT_MOST = 4000
_WORDS_MOST = 500
"""Characters of a name, a message or a segment: what a person reads, not what a broken server sends."""
_SEGMENTS_MOST = 400
_FLAGGED = b'"flags":["'
"""In the JSON of every row with a flag; quotes inside a text are escaped there."""
_PAGE_MOST = 4_000_000
"""Characters of all segments together; results beyond that show their text only."""


@dataclass(frozen=True, slots=True)
class FailureKind:
    """The failures of one kind: how many, and a few of them."""

    kind: str
    count: int
    examples: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class FlagKind:
    """The results that carry one flag: how many, and what it means."""

    flag: str
    count: int
    meaning: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the page needs; plain values, bounded in number and length."""

    out: Path
    binding: Binding
    counts: Mapping[str, int]
    failures: tuple[FailureKind, ...]
    results: tuple[Mapping[str, Any], ...]
    spent: Spending
    budget: Decimal | None
    last_run: Mapping[str, Any] | None
    simulated: bool
    engines: tuple[str, ...]
    flags: tuple[FlagKind, ...] = ()
    thumbnails: Mapping[str, str] = field(default_factory=dict)
    sheet: tuple[Frame, ...] = ()
    made: int = 0


def gather(out: Path, journal: Journal) -> Facts:
    """The facts of an OUT as its journal has them now."""
    binding = journal.output.load_binding()
    assert binding is not None
    counts: dict[str, int] = {}
    kinds: list[tuple[str, int]] = []
    for (state, kind), number in journal.outcomes.count_by_state().items():
        counts[state] = counts.get(state, 0) + number
        if state == "failed" and kind:
            kinds.append((kind, number))
    results = _results(journal.outcomes.sample_results(SHOWN_RESULTS))
    pictured = [str(row["item_id"]) for row in results if row.get("pictures") or row.get("shown_at")]
    return Facts(
        out=out,
        binding=binding,
        counts=counts,
        failures=tuple(
            FailureKind(kind, number, tuple(map(_cut, journal.outcomes.sample_failures(kind, SHOWN_FAILURES))))
            for kind, number in sorted(kinds, key=lambda pair: (-pair[1], pair[0]))
        ),
        results=results,
        spent=journal.attempts.sum_costs(),
        budget=None,
        last_run=journal.runs.load_last(),
        simulated=any(row.get("simulated") for row in results),
        flags=_flags(journal.outcomes.stream_done_results()),
        thumbnails=_thumbnails(journal, pictured) if pictured else {},
        engines=tuple(sorted({str(row["engine"]) for row in results if row.get("engine")})),
        **_sheet(out, results),
    )


def _thumbnails(journal: Journal, ids: list[str]) -> dict[str, str]:
    from mediamill.tasks.report.thumbnails import thumbnails

    places = journal.outcomes.find_locations(ids)
    return thumbnails({item_id: places.get(item_id) for item_id in ids})


def _sheet(out: Path, results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The contact sheet, and how many pictures and videos there are for it."""
    rows = [row for row in results if row.get("images") or row.get("file")]
    if not rows:
        return {}
    from mediamill.tasks.report.thumbnails import contact_sheet, made_files

    return {"sheet": contact_sheet(out, rows), "made": sum(len(made_files(row)) for row in rows)}


def _flags(results: Iterable[bytes]) -> tuple[FlagKind, ...]:
    """How many of all results carry each flag; only those that carry one are parsed."""
    counts = Counter(flag for row in results if _FLAGGED in row for flag in orjson.loads(row).get("flags") or ())
    return tuple(FlagKind(flag, count, FLAG_MEANINGS.get(flag, "")) for flag, count in counts.most_common())


def _results(rows: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Rows for a page that must open anywhere."""
    left, bounded = _PAGE_MOST, []
    for row in rows:
        made = _bounded(row, left)
        left -= sum(len(str(segment.get("text") or "")) for segment in made["segments"])
        bounded.append(made)
    return tuple(bounded)


def _bounded(row: Mapping[str, Any], left: int) -> dict[str, Any]:
    """A row of which nothing is too long; its segments only while characters are ``left`` for them."""
    segments = list(row.get("segments") or [])
    shown = [_cut(segment) for segment in segments[:_SEGMENTS_MOST]] if left > 0 else []
    return {
        **_cut({k: v for k, v in row.items() if k not in ("words", "segments", "text")}),
        "text": _short(str(row.get("text") or row.get("prompt") or ""), _TEXT_MOST),
        "segments": shown,
        "more_segments": len(segments) - len(shown),
    }


def _cut(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its texts short."""
    return {name: _short(value, _WORDS_MOST) if isinstance(value, str) else value for name, value in row.items()}


def _short(text: str, most: int) -> str:
    return text[:most] + " …" if len(text) > most else text
