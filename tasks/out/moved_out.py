"""An OUT or a source at another place than before: a move goes on, a copy is told, and a wrong folder is refused."""

from __future__ import annotations

import re
import shlex
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mediamill.tasks.errors import UsageError
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.out_place import ensure_out_id

if TYPE_CHECKING:
    from mediamill.tasks.sources import Source

_MAX_COMPARED_ITEMS = 1000
_STEP_NAME = re.compile(r"\d\d+-")


async def check_place(out: Path, journal: Journal, *, moved: bool, copied: bool) -> None:
    """Refuse a copy of an OUT, whose ledger would count what the original paid; make it an OUT of its own if told so.

    Args:
        out: the folder of results.
        journal: OUT's journal; with ``copied`` it gets a new OUT, and the folder its id.
        moved: there is no other copy that goes on.
        copied: OUT is a copy that is to be an OUT of its own.

    Raises:
        UsageError: when OUT is a copy, or may be one, and neither is said.
    """
    if not journal.output.load_id(out):
        return
    ensure_out_id(out, journal.out_id)
    if not copied:
        refuse_copy(out, journal, moved=moved)
    elif journal.output.find_place_change(out) in ("copied", "unclear"):
        await journal.output.become_own(out)


def refuse_copy(out: Path, journal: Journal, *, moved: bool) -> None:
    """Refuse a copy of an OUT, and one that may be one unless it is said to be ``moved``.

    Raises:
        UsageError: naming the original, and what to do.
    """
    change = journal.output.find_place_change(out)
    out, original = _name_chain(out), _name_chain(Path(journal.output.load_place() or out))
    name = shlex.quote(str(out))
    if change == "copied":
        raise UsageError(
            f"{out} is a copy of {original}: both have one identity, and each would count the same requests as its own",
            hint=f"go on in {original}; or remove it and use this one in its place; or make this copy an OUT of its "
            f"own, which keeps the results and has paid nothing: the same command with --out {name} --copied",
        )
    if change == "unclear" and not moved:
        raise UsageError(
            f"{out} was at {original} before, on a disk or machine that cannot be seen from here",
            hint=f"the same command with --out {name} and --moved when it was moved, or --copied when that one goes on",
        )


def _name_chain(out: Path) -> Path:
    """The chain's OUT of which ``out`` is a step; else ``out``: it is what a command names with --out."""
    return out.parents[1] if out.parent.name == "steps" and _STEP_NAME.match(out.name) else out


def check_is_same_source(journal: Journal, source: Source) -> None:
    """Refuse a source that has nothing of OUT's items: a moved one has the same items at another place.

    Raises:
        UsageError: when none of its first items is known.
    """
    if source.root == "-":  # what comes through a pipe can be read only once
        return
    ids = [item.item_id for item in islice(source.items(), _MAX_COMPARED_ITEMS)]
    if ids and journal.items.has_items() and not journal.items.has_any(ids):
        raise UsageError(
            f"{source.root}: none of its items is one of OUT's, so it is not the same source at another place",
            hint="name the folder or manifest that was moved, or choose another --out",
        )
