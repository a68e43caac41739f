"""Documents as files: what the journal keeps of one, and whether the file is still that."""

from __future__ import annotations

from pathlib import Path

from mediamill.tasks.journal.documents import Document
from mediamill.tasks.sinks.atomic_file import hash_file
from mediamill.tasks.sinks.file_check import FileState, check_file


def describe_file(out: Path, path: str) -> Document:
    """What the journal keeps of a file below OUT."""
    found = (out / path).stat()
    return Document(path, found.st_size, hash_file(out / path), found.st_mtime_ns)


def check_document(out: Path, document: Document, *, by_content: bool = False) -> FileState:
    """The state of a document's file."""
    return check_file(
        out / document.path,
        size=document.size,
        sha256=document.sha256,
        mtime_ns=document.mtime_ns,
        by_content=by_content,
    )
