"""Which journal OUT uses: its own, or the one that its mark names, so that nobody has to remember ``--journal``.

The mark is written once OUT is bound in that journal, and from then on it decides: another journal would not know what
was paid, and everything would be bought again.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from mediamill.tasks.errors import MediamillError, StorageError, UsageError
from mediamill.tasks.journal.database import DATABASE_FILE, NoJournal
from mediamill.tasks.journal.journal import Journal
from mediamill.tasks.journal.out_place import read_out_id
from mediamill.tasks.system.os_errors import build_storage_error
from mediamill.tasks.system.private_files import check_is_no_link, replace_private_file

_OWN_FOLDER = ".journal"
MARK_FILE = f"{_OWN_FOLDER}/elsewhere"
"""File below OUT that names its journal, where that is not OUT's own: a folder's path, or a URL. A folder in OUT, which
moves along with it, is named from there; others by their absolute path."""

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
    given = _check_given(out, given)
    try:
        marked = read_mark(out)
    except StorageError:
        if given is not None and _knows_out(out, given):
            return given
        raise
    if marked is None:
        if given is not None and _knows_out(out, None) and not (moved and _knows_out(out, given)):
            raise _build_refusal(out, "its own journal", given if moved else None)
        if given is None and not has_journal(out) and _is_used(out):
            hint = "name it with --journal, or restore OUT/.journal/journal.sqlite; another --out begins anew"
            raise UsageError(f"{out}: the journal it was made with is not in it, and nothing names it", hint=hint)
        return given
    if given is not None and not _is_same_journal(given, marked):
        if moved and _knows_out(out, given):
            return given
        raise _build_refusal(out, f"the journal {remove_secrets(marked)}", given if moved else None)
    if "://" not in marked and not (Path(marked) / DATABASE_FILE).exists():
        hint = f"put it back; where it was moved, name its new place: --out {out} --journal NEW --moved"
        raise UsageError(f"{out}: its journal {marked} is not there", hint=hint)
    return given or marked


def has_journal(out: Path) -> bool:
    """Whether OUT has a journal of its own, or names another one."""
    return read_mark(out) is not None or (out / _OWN_FOLDER / DATABASE_FILE).exists()


def open_begun_journal(out: Path, given: str | None, *, moved: bool = False) -> Journal | None:
    """The journal of an OUT, to read it; None where no run has begun one, or could not make its tables.

    Args:
        out: the folder of results.
        given: what ``--journal`` names.
        moved: as for :func:`choose_journal`.

    Raises:
        UsageError, StorageError: as :func:`choose_journal` does; UsageError too when a journal that was used is gone.
    """
    used = choose_journal(out, given, moved=moved)
    if not has_journal(out):
        return None
    try:
        return Journal.open_existing(out, used)
    except NoJournal:
        if read_out_id(out):
            raise
        return None


def _is_used(out: Path) -> bool:
    return read_out_id(out) is not None or any(out.glob("results/part-*.parquet"))


def _check_given(out: Path, given: str | None) -> str | None:
    """The journal that is given; None where it is OUT's own by name.

    Raises:
        UsageError: when it is a file.
    """
    if given is None or _is_own_journal(out, given):
        return None
    if "://" not in given and Path(given).is_file():
        raise UsageError(f"{given}: is a file, and a journal is a folder", hint="name a folder, which may be new")
    return given


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
    """The journal that OUT's mark names, with its absolute path; None where OUT uses its own.

    Raises:
        StorageError: when the mark cannot be read.
    """
    path = out / MARK_FILE
    check_is_no_link(path)
    try:
        marked = path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: {error}", hint="name the journal with --journal, or restore it") from None
    if not marked or _is_own_journal(out, marked):
        return None
    return marked if "://" in marked else str(out / marked)


def write_mark(out: Path, journal: str | None) -> None:
    """Mark OUT as using ``journal``; None for its own. The mark is whole or as before, and holds no password.

    Raises:
        StorageError: when it cannot be written.
    """
    path = out / MARK_FILE
    with contextlib.suppress(StorageError):
        if read_mark(out) == (None if journal is None else remove_secrets(journal)):
            return
    try:
        text = "" if journal is None else _name_journal(out, journal)
        replace_private_file(path, text)
    except OSError as error:
        raise build_storage_error(error, path) from None


def _name_journal(out: Path, journal: str) -> str:
    """A journal's name as the mark has it."""
    if "://" in journal:
        return remove_secrets(journal)
    folder = Path(journal).resolve()
    return str(folder.relative_to(out.resolve())) if folder.is_relative_to(out.resolve()) else journal


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


def _is_own_journal(out: Path, journal: str) -> bool:
    return "://" not in journal and (out / journal).resolve() == (out / _OWN_FOLDER).resolve()


def _to_address(url: str) -> tuple[object, ...]:
    """What decides which database a URL names: neither who opens it nor how."""
    parts = urlsplit(url)
    options = sorted(pair for pair in parse_qsl(parts.query) if pair[0] in ("options", "host", "port", "dbname"))
    return parts.scheme, parts.hostname or "", parts.port or _POSTGRESQL_PORT, parts.path, options


def _knows_out(out: Path, journal: str | None) -> bool:
    """Whether a journal holds OUT's binding; one that does not exist holds none."""
    folder = out / _OWN_FOLDER if journal is None else Path(journal)
    if (journal is None or "://" not in journal) and not (folder / DATABASE_FILE).exists():
        return False
    try:
        opened = Journal.open_existing(out, journal)
    except UsageError:
        return False
    try:
        return opened.output.load_id(out) and opened.output.load_binding() is not None
    except MediamillError:
        return True  # it is OUT's journal, and it is damaged: nobody may begin another one
    finally:
        opened.close()
