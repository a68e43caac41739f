"""Whether a retry of kinds of failures would find an item, and what it says where it does not."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from mediamill.tasks.journal.planning import LOST_FILE, OUTDATED
from mediamill.tasks.out.status import count_flagged_results, count_outdated_results, read_status
from mediamill.tasks.run.plan import FLAGGED
from mediamill.tasks.summary import Status

KINDS_WITHOUT_FAILURE = (FLAGGED, LOST_FILE, OUTDATED)
"""What a retry takes beside kinds of failures."""
_MIN_LIKENESS = 0.7


def describe_nothing_to_retry(out: Path, only: Collection[str]) -> str | None:
    """That no item is of these kinds, and of which the failed ones are; None where there may be some.

    A script may retry a kind every night, so it is no error.

    Raises:
        UsageError: when no run has written there.
    """
    status = read_status(out)
    n_items = sum(status.by_kind.get(kind, 0) for kind in only)
    n_items += count_flagged_results(out) if FLAGGED in only else 0
    n_items += count_outdated_results(out) if OUTDATED in only else 0
    if not only or LOST_FILE in only or n_items or status.pending:
        return None
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(status.by_kind.items()))
    message = f"nothing to retry: no item of {status.out} is {' or '.join(only)}; "
    return message + (f"failed are {kinds}" if kinds else "none has failed") + _suggest(only, status)


def _suggest(only: Collection[str], status: Status) -> str:
    known = [*status.by_kind, *KINDS_WITHOUT_FAILURE]
    wrong = [kind for kind in only if kind not in known]
    near = {name for kind in wrong for name in difflib.get_close_matches(kind, known, n=1, cutoff=_MIN_LIKENESS)}
    return f"; did you mean {' or '.join(map(repr, sorted(near)))}?" if near else ""
