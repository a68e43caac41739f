"""Which journal OUT uses: its own, or the one that its mark names, so that nobody has to remember ``--journal``.

The mark is written once OUT is bound in that journal, and from then on it decides: another journal would not know what
was paid, and everything would be bought again.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from mediamill.tasks.errors import MediamillError, StorageError, UsageError
from mediamill.tasks.journal.database import DATABASE_FILE
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.out_place import read_out_id
from mediamill.tasks.os_errors import build_storage_error
from mediamill.tasks.private_files import replace_private_file

MARK_FILE = ".journal/elsewhere"
"""File below OUT that names its journal, where that is not OUT's own: a folder's absolute path, or a URL."""

_SECRET_PARAMETERS = frozenset({"password", "sslpassword", "passfile"})
_POSTGRESQL_PORT = 5432


def choose_journal(out: Path, given: str | None, *, moved: bool = False) -> str | None:
    """The journal that a run on OUT uses; None for OUT's own.

    Args:
        out: the folder of results.
        given: what ``--journal`` names.
        moved: OUT's journal may be at another address now; the one that is given must know OUT.

    Raises:
        UsageError: when OUT uses another journal than the one given, or its journal is gone.
        StorageError: when the mark or the journal cannot be read.
    """
    if read_out_id(out) is None:
        return given
    marked = read_mark(out)
    if marked is None:
        if given is not None and _knows_out(out, None) and not (moved and _knows_out(out, given)):
            raise _build_refusal(out, "its own journal", given if moved else None)
        return given
    if given is not None and not _is_same_journal(given, marked):
        if moved and _knows_out(out, given):
            return given
        raise _build_refusal(out, f"the journal {remove_secrets(marked)}", given if moved else None)
    if "://" not in marked and not (Path(marked) / DATABASE_FILE).exists():
        hint = f"put it back; where it was moved, name its new place: --out {out} --journal NEW --moved"
        raise UsageError(f"{out}: its journal {marked} is not there", hint=hint)
    return given or marked


def _build_refusal(out: Path, used: str, unknowing: str | None = None) -> UsageError:
    if unknowing is not None:
        return UsageError(
            f"{out} uses {used}, and {remove_secrets(unknowing)} holds nothing of it",
            hint="name the place to which that journal was moved, or leave --journal out",
        )
    return UsageError(
        f"{out} uses {used}; with another one everything would be bought again",
        hint="leave --journal out; where that journal was moved, add --moved; or choose another --out",
    )


def read_mark(out: Path) -> str | None:
    """The journal that OUT's mark names; None where there is no mark, and OUT uses its own.

    Raises:
        StorageError: when the mark cannot be read.
    """
    path = out / MARK_FILE
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: {error}", hint="restore it, or write the journal's name into it") from None


def write_mark(out: Path, journal: str | None) -> None:
    """Mark OUT as using ``journal``; None for its own. The mark is whole or as before, and holds no password.

    Raises:
        StorageError: when it cannot be written.
    """
    path = out / MARK_FILE
    text = "" if journal is None else remove_secrets(journal)
    if (read_mark(out) or "") == text:
        return
    try:
        replace_private_file(path, text)
    except OSError as error:
        raise build_storage_error(error, path) from None


def remove_secrets(journal: str) -> str:
    """A journal's name without its password; the user and the other options stay."""
    if "://" not in journal:
        return journal
    parts = urlsplit(journal)
    user, at, address = parts.netloc.rpartition("@")
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in _SECRET_PARAMETERS]
    netloc = user.partition(":")[0] + at + address
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(query), parts.fragment))


def _is_same_journal(one: str, other: str) -> bool:
    if "://" in one or "://" in other:
        return _to_address(one) == _to_address(other)
    try:
        return Path(one).samefile(other)
    except OSError:
        return Path(one) == Path(other)


def _to_address(url: str) -> tuple[object, ...]:
    """What decides which database a URL names: neither who opens it nor how."""
    parts = urlsplit(url)
    options = sorted(pair for pair in parse_qsl(parts.query) if pair[0] in ("options", "host", "port", "dbname"))
    return parts.scheme, parts.hostname or "", parts.port or _POSTGRESQL_PORT, parts.path, options


def _knows_out(out: Path, journal: str | None) -> bool:
    """Whether a journal holds OUT's binding; one that does not exist holds none."""
    folder = out / ".journal" if journal is None else Path(journal)
    if (journal is None or "://" not in journal) and not (folder / DATABASE_FILE).exists():
        return False
    try:
        opened = Journal.open_existing(out, journal)
    except UsageError:
        return False
    try:
        opened.output.load_id(out)
        return opened.output.load_binding() is not None
    except MediamillError:
        return True  # it is OUT's journal, and it is damaged: nobody may begin another one
    finally:
        opened.close()
