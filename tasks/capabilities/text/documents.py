"""Documents to rank: a row's own list, or a file that all queries share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import orjson
from pydantic import BaseModel, ConfigDict, Field

from mediamill.tasks.errors import MediamillError
from mediamill.tasks.job import Columns
from mediamill.tasks.sources.manifest import MANIFEST_EXTENSIONS

Document: TypeAlias = "str | dict[str, Any]"

_MAX_BYTES = 1_000_000_000


class Corpus(BaseModel):
    """A file of documents; its hash is part of what OUT is bound to, so that another content is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


def parse_corpus(given: Any) -> Any:
    """A corpus from its path; anything else as it is, for the validation to refuse.

    Raises:
        ValueError: when it cannot be read or is of no known kind.
    """
    if not isinstance(given, str):
        return given
    path = Path(given).expanduser().absolute()
    if path.suffix.lower() not in {*MANIFEST_EXTENSIONS, ".txt", ".json"}:
        raise ValueError(f"{given}: a corpus is a .txt of lines, or .json .jsonl .csv .tsv .parquet")
    try:
        about = path.stat()
        if about.st_size > _MAX_BYTES:
            raise ValueError(f"{given}: is more than {_MAX_BYTES // 10**6} MB, which no request can hold")
        return {"path": str(path), "sha256": _hash_file(path, about.st_size, about.st_mtime_ns, about.st_ino)}
    except OSError as error:
        raise ValueError(f"{given}: {error.strerror or error}") from None


@lru_cache(maxsize=64)
def _hash_file(path: Path, *_state: int) -> str:
    """Hashed once for as long as it stays as it is: every row with parameters of its own names it again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_corpus(corpus: Corpus) -> list[Document]:
    """The documents of a file: lines of text, the members of a list, or rows; rows of one column are texts.

    Raises:
        ValueError: when there are none in it, or it has changed since it was named.
    """
    path = Path(corpus.path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    if hashlib.sha256(data).hexdigest() != corpus.sha256:
        raise ValueError(f"{path}: the corpus has changed while it was used")
    suffix = path.suffix.lower()
    if suffix == ".txt":
        found: list[Document] = [line for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    elif suffix == ".json":
        found = parse_documents(orjson.loads(data))
    else:
        found = _read_rows(path)
    if not found:
        raise ValueError(f"{path}: there are no documents in it")
    return found


def parse_documents(value: Any) -> list[Document]:
    """A list of documents, also as JSON text; numbers become text, empty members are refused.

    Raises:
        ValueError: when it is none.
    """
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except ValueError:
            raise ValueError("documents are a list, or one as JSON") from None
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ValueError("documents are a list")  # noqa: TRY004 - pydantic tells a ValueError in its own words
    documents: list[Document] = []
    for n, one in enumerate(value):
        if isinstance(one, Mapping) and any(value is not None for value in one.values()):
            documents.append({str(name): _to_json_value(value) for name, value in one.items() if value is not None})
        elif isinstance(one, str | int | float) and not isinstance(one, bool) and str(one).strip():
            documents.append(str(one))
        else:
            raise ValueError(f"the document {n} is neither a text nor an object with fields")
    return documents


def _to_json_value(value: Any) -> Any:
    """A field as JSON holds it: manifests may have moments and exact numbers."""
    return value if isinstance(value, str | int | float) else orjson.loads(orjson.dumps(value, default=str))


def _read_rows(path: Path) -> list[Document]:
    from mediamill.tasks.sources.manifest import ManifestSource

    try:
        manifest = ManifestSource(str(path), Columns(), frozenset(), frozenset())
        rows = [item.row for item in manifest.items()]
    except MediamillError as error:
        raise ValueError(error.message) from None
    alone = next((name for row in rows[:1] for name in row), None) if all(len(row) == 1 for row in rows) else None
    return parse_documents([row[alone] if alone is not None else row for row in rows])
