"""The OUTs in some folders, the latest first: what each holds, how it ended, what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from mediamill.tasks.errors import MediamillError
from mediamill.tasks.journal.journal_choice import has_journal
from mediamill.tasks.journal.out_place import read_out_id
from mediamill.tasks.out.chain_steps import find_step_folders
from mediamill.tasks.out.status import read_status
from mediamill.tasks.summary import JsonSummary, Status


@dataclass(frozen=True, slots=True)
class ListedOut(JsonSummary):
    """An OUT in a list. Money is in US dollars; a chain's items are those of its steps together."""

    out: Annotated[str, "folder of the results"]
    capability: Annotated[str, "what was done; `chain` for a chain, null when it cannot be read"] | None
    provider: Annotated[str | None, "the provider; null for a chain"] = None
    model: Annotated[str | None, "the model; null for a chain"] = None
    source: Annotated[str | None, "the source; a chain's is that of its first step"] = None
    state: Annotated[str | None, "how the last run ended, or running, crashed; null before one has begun"] = None
    items: Annotated[int, "all items"] = 0
    done: Annotated[int, "items with a result"] = 0
    failed: Annotated[int, "items that are failed now"] = 0
    pending: Annotated[int, "items that are not done yet"] = 0
    spent_usd: Annotated[Decimal, "known cost of all its runs"] = Decimal(0)
    unknown_max_usd: Annotated[Decimal, "the most that requests without an answer may add"] = Decimal(0)
    unstated: Annotated[int, "requests without a known price"] = 0
    last_started: Annotated[str | None, "when the last run began, in UTC"] = None
    problem: Annotated[str | None, "why it cannot be read"] = None


def list_outs(folders: Iterable[Path]) -> list[ListedOut]:
    """The OUTs that are one of the folders or directly in one, the latest first; one that cannot be read says why.

    Raises:
        OSError: when a folder cannot be read.
    """
    found = {out.resolve(): out for folder in folders for out in find_outs(folder)}
    listed = [_describe_out(out) for out in found.values()]
    return sorted(listed, key=lambda each: (each.last_started or "", each.out), reverse=True)


def find_outs(folder: Path) -> Iterator[Path]:
    """The folder itself and those directly in it that are an OUT or a chain's; none where it is no folder."""
    if not folder.is_dir():
        return
    for path in (folder, *sorted(folder.iterdir())):
        if path.is_dir() and (_is_out(path) or any((path / "steps").glob("**/.journal"))):
            yield path


def _is_out(path: Path) -> bool:
    try:
        return read_out_id(path) is not None or has_journal(path)
    except MediamillError:
        return True  # its journal is what cannot be read


def _describe_out(out: Path) -> ListedOut:
    try:
        if _is_out(out):
            return _to_listed(out, [read_status(out)])
        return _to_listed(out, [read_status(folder) for folder in find_step_folders(out)], is_chain=True)
    except MediamillError as error:
        return ListedOut(str(out), None, problem=error.message)


def _to_listed(out: Path, parts: Sequence[Status], *, is_chain: bool = False) -> ListedOut:
    first, latest = parts[0], max(parts, key=lambda part: part.last_started or "")
    return ListedOut(
        out=str(out),
        capability="chain" if is_chain else first.capability,
        provider=None if is_chain else first.provider,
        model=None if is_chain else first.model,
        source=first.root,
        state=latest.last_state,
        items=sum(part.total for part in parts),
        done=sum(part.done for part in parts),
        failed=sum(part.failed for part in parts),
        pending=sum(part.pending for part in parts),
        spent_usd=sum((part.spent_usd for part in parts), Decimal(0)),
        unknown_max_usd=sum((part.unknown_max_usd for part in parts), Decimal(0)),
        unstated=sum(part.unstated for part in parts),
        last_started=latest.last_started,
    )
