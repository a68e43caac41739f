"""Documents as files: what the journal keeps of one, and whether the file is still that."""

from __future__ import annotations

from pathlib import Path

from mediamill.tasks.journal.documents import Document
from mediamill.tasks.sinks.atomic_file import hash_file
from mediamill.tasks.sinks.file_check import FileState, check_file


def describe_file(out: Path, path: str, *, keep_content: bool = False) -> Document:
    """What the journal keeps of a file below OUT; with ``keep_content`` enough to write it again."""
    file = out / path
    found = file.stat()
    return Document(
        path, found.st_size, hash_file(file), found.st_mtime_ns, file.read_bytes() if keep_content else None
    )


def check_document(out: Path, document: Document, *, by_content: bool = False) -> FileState:
    """The state of a document's file."""
    return check_file(
        out / document.path,
        size=document.size,
        sha256=document.sha256,
        mtime_ns=document.mtime_ns,
        by_content=by_content,
    )
