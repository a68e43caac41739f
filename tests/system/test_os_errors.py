"""Errors of the operating system: each cause in its own words, and never another's remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mediamill.tasks import fault_injection
from mediamill.tasks.calls.transport_errors import NotSent, classify_transport_error
from mediamill.tasks.errors import StorageError
from mediamill.tasks.journal.db_errors import to_storage_error
from mediamill.tasks.sinks.atomic_file import write_json
from mediamill.tasks.system.os_errors import build_storage_error, build_unreadable_error

SPACE = (errno.ENOSPC, errno.EDQUOT)
OTHERS = (
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOTDIR, errno.EISDIR),
    *(errno.EEXIST, errno.ENAMETOOLONG, errno.ESTALE, errno.ELOOP, errno.EFBIG, errno.ENODEV, errno.ENOMEM),
)


def make_error(code: int) -> OSError:
    return OSError(code, os.strerror(code), "/out/results/part.parquet")


def test_each_cause_has_its_own_words() -> None:
    errors = [build_storage_error(make_error(code), "/out") for code in (*SPACE, *OTHERS)]
    assert len({error.message for error in errors}) == len(errors)
    assert all(error.hint for error in errors)


@pytest.mark.parametrize("code", OTHERS, ids=errno.errorcode.get)
def test_only_a_full_disk_is_to_be_freed(code: int) -> None:
    error = build_storage_error(make_error(code), "/out")
    assert "space" not in str(error)
    assert "free the disk" not in str(error)
    assert "full" not in str(error)


@pytest.mark.parametrize("code", SPACE, ids=errno.errorcode.get)
def test_a_full_disk_and_a_used_up_quota_are_to_be_freed(code: int) -> None:
    assert "free some space" in str(build_storage_error(make_error(code), "/out"))


def test_an_unknown_error_keeps_the_systems_words() -> None:
    assert os.strerror(errno.EXDEV) in str(build_storage_error(make_error(errno.EXDEV), "/out"))


@pytest.mark.parametrize(
    ("code", "kind", "is_passing"),
    [
        (errno.EACCES, "unreadable", False),
        (errno.EIO, "unreadable", True),
        (errno.ESTALE, "unreadable", True),
        (errno.EMFILE, "too_many_open_files", True),
        (errno.ENFILE, "too_many_open_files", True),
    ],
)
def test_an_item_is_lost_only_by_what_is_wrong_with_its_file(code: int, kind: str, is_passing: bool) -> None:
    error = build_unreadable_error(make_error(code), "a.wav: cannot be read: ")
    assert (error.kind, error.transient) == (kind, is_passing)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE], ids=errno.errorcode.get)
def test_a_connection_for_which_files_are_short_is_no_fault_of_the_provider(code: int) -> None:
    error = classify_transport_error(make_error(code), "api.example.com")
    assert isinstance(error, NotSent)
    assert error.kind == "too_many_open_files"
    assert "api.example.com" not in error.message


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EMFILE], ids=errno.errorcode.get)
def test_the_journal_has_the_same_words_as_every_other_file(code: int) -> None:
    found = to_storage_error(make_error(code), "/out/.journal/journal.sqlite")
    assert str(found) == str(build_storage_error(make_error(code), "/out/.journal/journal.sqlite"))


@pytest.mark.parametrize("code", ["ENOSPC", "EROFS", "EMFILE"])
def test_a_part_that_cannot_be_written_names_its_cause(code: str, tmp_path: Path) -> None:
    fault_injection.arm(f"part.write.before:1:{code.lower()}")
    try:
        with pytest.raises(StorageError) as caught:
            write_json(tmp_path, tmp_path / "runs" / "a.json", {})
    finally:
        fault_injection.arm("")
    number = getattr(errno, code)
    assert str(caught.value) == str(build_storage_error(make_error(number), tmp_path / "runs" / "a.json"))
