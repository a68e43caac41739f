"""The data of the report page, gathered from the journal."""

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
    from mediamill.tasks.report.thumbnail_files import Thumbnail
    from mediamill.tasks.report.thumbnails import SheetImage

MAX_SHOWN_RESULTS = 200
MAX_SHOWN_FAILURES = 10
_MAX_TEXT_CHARS = 4000
_MAX_FIELD_CHARS = 500
"""Maximum of a name, a message or a segment: enough to read, too little for what a broken server may send."""
_MAX_SEGMENTS = 400
_FLAGS_MARKER = b'"flags":["'
"""In the JSON of every row with a flag, and of no other: quotes inside a text are escaped there."""
_MAX_PAGE_CHARS = 4_000_000
"""Maximum of all segments together; further results show their text only."""


@dataclass(frozen=True, slots=True)
class FailureKind:
    """The failures of one kind: their number, and a few of them."""

    kind: str
    count: int
    examples: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class FlagKind:
    """The results with one flag: their number, and what the flag means."""

    flag: str
    count: int
    meaning: str


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything that the page shows: plain values, bounded in number and length."""

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
    thumbnails: Mapping[str, Thumbnail] = field(default_factory=dict)
    sheet: tuple[SheetImage, ...] = ()
    media_files: int = 0
    not_taken: tuple[str, ...] = ()


def gather_report_data(out: Path, journal: Journal) -> ReportData:
    """Gather the data of an OUT from its journal."""
    binding = journal.output.load_binding()
    assert binding is not None
    counts: dict[str, int] = {}
    kinds: list[tuple[str, int]] = []
    for (state, kind), number in journal.outcomes.count_by_state().items():
        counts[state] = counts.get(state, 0) + number
        if state == "failed" and kind:
            kinds.append((kind, number))
    results = _shorten_results(journal.outcomes.sample_results(MAX_SHOWN_RESULTS))
    visual_ids = [str(row["item_id"]) for row in results if row.get("pictures") or row.get("shown_at")]
    return ReportData(
        out=out,
        binding=binding,
        counts=counts,
        failures=tuple(
            FailureKind(
                kind, number, tuple(map(_shorten_fields, journal.outcomes.sample_failures(kind, MAX_SHOWN_FAILURES)))
            )
            for kind, number in sorted(kinds, key=lambda pair: (-pair[1], pair[0]))
        ),
        results=results,
        spent=journal.attempts.sum_costs(),
        budget=None,
        last_run=journal.runs.load_last(),
        not_taken=tuple(not_taken.describe()) if (not_taken := journal.runs.load_not_taken()) else (),
        simulated=any(row.get("simulated") for row in results),
        flags=_count_flags(journal.outcomes.stream_done_results()),
        thumbnails=_make_thumbnails(journal, visual_ids) if visual_ids else {},
        engines=tuple(sorted({str(row["engine"]) for row in results if row.get("engine")})),
        **_make_contact_sheet(out, results),
    )


def _make_thumbnails(journal: Journal, ids: list[str]) -> Mapping[str, Thumbnail]:
    from mediamill.tasks.report.thumbnails import make_thumbnails

    locations = journal.outcomes.find_locations(ids)
    return make_thumbnails({item_id: locations.get(item_id) for item_id in ids})


def _make_contact_sheet(out: Path, results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The contact sheet, and the number of all images and videos of the results."""
    rows = [row for row in results if row.get("images") or row.get("file")]
    if not rows:
        return {}
    from mediamill.tasks.report.thumbnails import list_media_files, make_contact_sheet

    return {"sheet": make_contact_sheet(out, rows), "media_files": sum(len(list_media_files(row)) for row in rows)}


def _count_flags(results: Iterable[bytes]) -> tuple[FlagKind, ...]:
    """Count the results by flag; only rows with a flag are parsed."""
    counts = Counter(flag for row in results if _FLAGS_MARKER in row for flag in orjson.loads(row).get("flags") or ())
    return tuple(FlagKind(flag, count, FLAG_MEANINGS.get(flag, "")) for flag, count in counts.most_common())


def _shorten_results(rows: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """The rows, short enough for a page that opens in any browser."""
    chars_left, rows_shown = _MAX_PAGE_CHARS, []
    for row in rows:
        shortened = _shorten_row(row, chars_left)
        chars_left -= sum(len(str(segment.get("text") or "")) for segment in shortened["segments"])
        rows_shown.append(shortened)
    return tuple(rows_shown)


def _shorten_row(row: Mapping[str, Any], chars_left: int) -> dict[str, Any]:
    """A row with short texts; its segments only while there are ``chars_left``."""
    segments = list(row.get("segments") or [])
    shown = [_shorten_fields(segment) for segment in segments[:_MAX_SEGMENTS]] if chars_left > 0 else []
    return {
        **_shorten_fields({k: v for k, v in row.items() if k not in ("words", "segments", "text")}),
        "text": _shorten(str(row.get("text") or row.get("prompt") or ""), _MAX_TEXT_CHARS),
        "segments": shown,
        "more_segments": len(segments) - len(shown),
    }


def _shorten_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its texts shortened."""
    return {name: _shorten(value, _MAX_FIELD_CHARS) if isinstance(value, str) else value for name, value in row.items()}


def _shorten(text: str, max_chars: int) -> str:
    return text[:max_chars] + " …" if len(text) > max_chars else text
