"""Documents to rank: a row's own list, or a file for all queries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG
from typing import Any, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, Field

from mediamill.tasks.bounded.files import read_bounded_file
from mediamill.tasks.errors import MediamillError
from mediamill.tasks.job import Columns
from mediamill.tasks.sinks.atomic_file import hash_file
from mediamill.tasks.sources.manifest import MANIFEST_EXTENSIONS

Document: TypeAlias = "str | dict[str, Any]"

_MAX_BYTES = 100_000_000


class Corpus(BaseModel):
    """A file of documents. OUT is bound to its hash, so that a change of the file is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def parse_corpus(value: Any) -> Any:
    """A corpus from its path; any other value as it is, for the validation to refuse.

    Raises:
        ValueError: when the file cannot be read or has an unknown suffix.
    """
    if not isinstance(value, str):
        return value
    path = Path(value).expanduser().absolute()
    if path.suffix.lower() not in {*MANIFEST_EXTENSIONS, ".txt", ".json"}:
        raise ValueError(f"{value}: a corpus is a .txt of lines, or .json .jsonl .csv .tsv .parquet")
    try:
        stat = path.stat()
        if not S_ISREG(stat.st_mode):
            raise ValueError(f"{value} is not a file but a folder, pipe or device")
        if stat.st_size > _MAX_BYTES:
            raise ValueError(f"{value}: is larger than {_MAX_BYTES // 10**6} MB, which no request can hold")
        return {"path": str(path), "sha256": _hash_unchanged_file(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)}
    except OSError as error:
        raise ValueError(f"{value}: {error.strerror or error}") from None


@lru_cache(maxsize=64)
def _hash_unchanged_file(path: Path, *_state: int) -> str:
    """The file's hash, computed once while the file does not change: rows with their own parameters name it again."""
    return hash_file(path)


def read_corpus(corpus: Corpus) -> list[Document]:
    """Read the documents of a file: lines of text, members of a list, or rows; rows with one column are texts.

    Raises:
        ValueError: when the file has no documents, or has changed since its hash was computed.
    """
    path = Path(corpus.path)
    data = read_bounded_file(path, _MAX_BYTES)
    if hashlib.sha256(data).hexdigest() != corpus.sha256:
        raise ValueError(f"{path}: the corpus has changed while it was in use")
    suffix = path.suffix.lower()
    if suffix == ".txt":
        documents: list[Document] = [line for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    elif suffix == ".json":
        documents = parse_documents(orjson.loads(data))
    else:
        documents = _read_rows(path)
    if not documents:
        raise ValueError(f"{path}: there are no documents in it")
    return documents


def parse_documents(value: Any) -> list[Document]:
    """A list of documents, also from JSON text. Numbers become text; empty members are refused.

    Raises:
        ValueError: when the value is not a list of documents.
    """
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except ValueError:
            raise ValueError("documents must be a list, or a list as JSON") from None
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ValueError("documents must be a list")  # noqa: TRY004 - pydantic reports a ValueError with its message
    documents: list[Document] = []
    for n, member in enumerate(value):
        if isinstance(member, Mapping) and any(content is not None for content in member.values()):
            documents.append(
                {str(name): _to_json_field(content) for name, content in member.items() if content is not None}
            )
        elif isinstance(member, str | int | float) and not isinstance(member, bool) and str(member).strip():
            documents.append(str(member))
        else:
            raise ValueError(f"document {n} is neither a text nor an object with fields")
    return documents


def _to_json_field(value: Any) -> Any:
    """A field's value as JSON: manifests may have timestamps and decimals."""
    return value if isinstance(value, str | int | float) else orjson.loads(orjson.dumps(value, default=str))


def _read_rows(path: Path) -> list[Document]:
    from mediamill.tasks.sources.manifest import ManifestSource

    try:
        manifest = ManifestSource(str(path), Columns(), frozenset(), frozenset())
        rows, n_characters = [], 0
        for item in manifest.items():
            rows.append(item.row)
            n_characters += sum(len(value) for value in item.row.values() if isinstance(value, str))
            if n_characters > _MAX_BYTES:  # a Parquet file may be much smaller than its rows
                raise ValueError(
                    f"{path}: its rows are larger than {_MAX_BYTES // 10**6} MB, which no request can hold"
                )
    except MediamillError as error:
        raise ValueError(error.message) from None
    only_column = next((name for row in rows[:1] for name in row), None) if all(len(row) == 1 for row in rows) else None
    return parse_documents([row[only_column] if only_column is not None else row for row in rows])
