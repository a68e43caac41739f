"""Whether an empty source is an error: to a person who mistyped a path it is, to a schedule it is not there yet."""

from __future__ import annotations

from pathlib import Path

from mediamill.tasks.errors import EmptySource, MediamillError
from mediamill.tasks.journal.journal_choice import has_journal
from mediamill.tasks.journal.out_place import read_out_id


def describe_nothing_yet(error: MediamillError, out: Path) -> str | None:
    """What a scheduled run says that found nothing to do; None where the error is one for it, too.

    A source that is gone after earlier runs found it is an error: a disk that is not mounted, a folder that was moved.

    Args:
        error: what ended the run.
        out: OUT of the job or chain.
    """
    if not isinstance(error, EmptySource):
        return None
    has_run_before = has_journal(out) or read_out_id(out) or (out / "steps").is_dir()
    if error.is_missing and has_run_before:
        return None
    return f"nothing yet: {error if error.is_missing else error.message}"
