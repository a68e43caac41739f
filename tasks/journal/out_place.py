"""OUT's identity, and where it is: a folder that was moved goes on, and a copy is told from its original."""

from __future__ import annotations

import contextlib
import re
import socket
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

import orjson

from mediamill.tasks.errors import StorageError
from mediamill.tasks.system.os_errors import build_storage_error
from mediamill.tasks.system.private_files import replace_private_file

ID_FILE = "out_id"
_OUT_ID = re.compile("[0-9a-f]{32}")

PlaceChange = Literal["same", "moved", "copied", "unclear"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an OUT was: its path, the machine, and what moves with the file that holds its id but not with a copy.

    ``inode`` and ``mtime_ns`` are 0 where they were not recorded.
    """

    path: str
    host: str = ""
    inode: int = 0
    mtime_ns: int = 0

    @classmethod
    def of_folder(cls, out: Path) -> Self:
        """Where a folder is now; without the file of its id only its path is known.

        Raises:
            StorageError: when it cannot be read.
        """
        path = out / ".journal" / ID_FILE
        try:
            found = path.stat()
        except FileNotFoundError:
            return cls(str(out), socket.gethostname())
        except OSError as error:
            raise build_storage_error(error, path) from None
        return cls(str(out), socket.gethostname(), found.st_ino, found.st_mtime_ns)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The place that :meth:`to_json` wrote."""
        return cls(**orjson.loads(text))

    def to_json(self) -> str:
        """The place as text."""
        return orjson.dumps(asdict(self)).decode()

    def is_at(self, out: Path) -> bool:
        """Whether this is the place of a folder on this machine."""
        return self.host in ("", socket.gethostname()) and Path(self.path) in (out, out.resolve())

    def find_change(self, out: Path, out_id: str, *, is_shared: bool) -> PlaceChange:
        """How OUT came to be where it is now.

        Where the folder at the old path has the same id, this one is a copy. Where there is none, a folder that kept
        its inode was moved. One that did not may come from another disk or machine: OUT's own journal came along with
        it; in a journal that others share (``is_shared``) the original may go on working elsewhere, so it is unclear.
        """
        now, original = Place.of_folder(out), Path(self.path)
        has_kept_inode = (now.inode, now.mtime_ns) == (self.inode, self.mtime_ns)
        if now.path == self.path or _is_same_folder(original, out):
            is_elsewhere = self.host not in ("", now.host) and not has_kept_inode
            return "unclear" if is_shared and is_elsewhere else "same"
        with contextlib.suppress(StorageError):
            if read_out_id(original) == out_id:
                return "copied"
        return "unclear" if is_shared and not has_kept_inode else "moved"


def _is_same_folder(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def ensure_out_id(out: Path, known: str = "") -> str:
    """The OUT's id, stored in its folder for good; where there is none, the one its journal knows, or a new one.

    Raises:
        StorageError: when it cannot be written.
    """
    out_id = read_out_id(out)
    if out_id is None:
        out_id = known or uuid.uuid4().hex
        write_out_id(out, out_id)
    return out_id


def write_out_id(out: Path, out_id: str) -> None:
    """Store an OUT's id in its folder, whole or not at all.

    Raises:
        StorageError: when it cannot be written.
    """
    path = out / ".journal" / ID_FILE
    try:
        replace_private_file(path, out_id)
    except OSError as error:
        raise build_storage_error(error, path) from None


def read_out_id(out: Path) -> str | None:
    """The OUT's id; None where it has none, or where its file is damaged.

    Raises:
        StorageError: when it cannot be read.
    """
    path = out / ".journal" / ID_FILE
    try:
        out_id = path.read_bytes().strip().decode("ascii", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise build_storage_error(error, path) from None
    return out_id if _OUT_ID.fullmatch(out_id) else None
