"""What the page tells, gathered from the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tasks.journal.attempts import Spent
from tasks.journal.journal import Journal
from tasks.journal.outs import Binding

SHOWN_RESULTS = 200
SHOWN_FAILURES = 10
_TEXT_MOST = 4000
_SEGMENTS_MOST = 400


@dataclass(frozen=True, slots=True)
class FailureKind:
    """The failures of one kind: how many, and a few of them."""

    kind: str
    count: int
    examples: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the page needs; plain values, bounded in number and length."""

    out: Path
    binding: Binding
    counts: Mapping[str, int]
    failures: tuple[FailureKind, ...]
    results: tuple[Mapping[str, Any], ...]
    spent: Spent
    budget: Decimal | None
    last_run: Mapping[str, Any] | None
    simulated: bool
    engines: tuple[str, ...]


def gather(out: Path, journal: Journal) -> Facts:
    """The facts of an OUT as its journal has them now."""
    binding = journal.outs.binding()
    assert binding is not None
    counts: dict[str, int] = {}
    kinds: list[tuple[str, int]] = []
    for (state, kind), number in journal.items.counts_now().items():
        counts[state] = counts.get(state, 0) + number
        if state == "failed" and kind:
            kinds.append((kind, number))
    results = tuple(_bounded(row) for row in journal.items.sample_results(SHOWN_RESULTS))
    return Facts(
        out=out,
        binding=binding,
        counts=counts,
        failures=tuple(
            FailureKind(kind, number, tuple(journal.items.sample_failures(kind, SHOWN_FAILURES)))
            for kind, number in sorted(kinds, key=lambda pair: (-pair[1], pair[0]))
        ),
        results=results,
        spent=journal.attempts.spent(),
        budget=None,
        last_run=journal.runs.last(),
        simulated=any(row.get("simulated") for row in results),
        engines=tuple(sorted({str(row["engine"]) for row in results if row.get("engine")})),
    )


def _bounded(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row small enough for a page that must open anywhere."""
    text = str(row.get("text") or "")
    segments = list(row.get("segments") or [])
    return {
        **{k: v for k, v in row.items() if k not in ("words", "segments", "text")},
        "text": text[:_TEXT_MOST] + (" …" if len(text) > _TEXT_MOST else ""),
        "segments": segments[:_SEGMENTS_MOST],
        "more_segments": max(len(segments) - _SEGMENTS_MOST, 0),
    }
