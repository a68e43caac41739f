"""Finds the file or URL that a value names; and fingerprints, which change when an input may have changed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from mediamill.tasks.domain import Item
from mediamill.tasks.journal.json_codec import is_utf8
from mediamill.tasks.sources.path_forms import describe_invisible, find_composed, find_windows_problem, list_other_forms
from mediamill.tasks.sources.row_paths import MAX_PATH_LENGTH, PathRefused, RowPaths

MAX_ID_LENGTH = 1000
"""Maximum length of an item's id, in characters."""

_JSON_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True)
class LocatedInput:
    """What a value names: its ``location`` with the file's ``file_stat`` (None for a URL), or a ``problem``."""

    location: str | None = None
    file_stat: os.stat_result | None = None
    problem: str | None = None


def locate(value: str, row_paths: RowPaths) -> LocatedInput:
    """Find the file or URL that a row's ``value`` names: a path, or an http(s) or file URL."""
    if is_url(value):
        problem = find_url_problem(value)
        return LocatedInput(problem=problem) if problem else LocatedInput(normalize_url(value))
    if not is_utf8(value):
        return LocatedInput(problem="the file's name is not valid UTF-8; rename it")
    try:
        path = row_paths.find(value)
        file_stat = os.stat(path)  # noqa: PTH116
    except PathRefused as error:
        return LocatedInput(problem=find_windows_problem(value) or str(error))
    except FileNotFoundError:
        return _locate_other_form(value, row_paths)
    except (OSError, ValueError) as error:
        return LocatedInput(problem=f"{value[:200]!r} cannot be read: {getattr(error, 'strerror', None) or error}")
    if not stat.S_ISREG(file_stat.st_mode):
        return LocatedInput(problem=f"{value} is not a file")
    return LocatedInput(path, file_stat)


def find_file(value: str, row_paths: RowPaths) -> str:
    """The path of a file that a row's parameter names, also in another form; the file need not exist.

    Raises:
        PathRefused: when it leads out of the folders, or names no local file.
    """
    path = row_paths.find(value)
    return path if os.path.lexists(path) else _locate_other_form(value, row_paths).location or path


def _locate_other_form(value: str, row_paths: RowPaths) -> LocatedInput:
    """Find the file of a path that names none as it stands: a path of Windows, or one in the other Unicode form."""
    problem = find_windows_problem(value) or f"no such file: {value}{describe_invisible(value)}"
    for form in (value, *list_other_forms(value)):
        try:
            path = row_paths.find(form)
            path = path if os.path.lexists(path) else find_composed(path) or path
            if not row_paths.allows(path):
                continue
            file_stat = os.stat(path)  # noqa: PTH116
        except (PathRefused, OSError, ValueError):
            continue
        if stat.S_ISREG(file_stat.st_mode):
            return LocatedInput(path, file_stat)
    return LocatedInput(problem=problem)


def is_url(text: str) -> bool:
    """True for http(s) URLs."""
    return text[:8].lower().startswith(("http://", "https://"))


def normalize_url(url: str) -> str:
    """An http(s) URL with its scheme in small letters."""
    scheme, separator, rest = url.partition("://")
    return scheme.lower() + separator + rest


def find_url_problem(url: str) -> str | None:
    """Why an http(s) URL cannot be used; None when it can."""
    if len(url) > MAX_PATH_LENGTH:
        return f"the URL is longer than {MAX_PATH_LENGTH} characters"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"not a URL: {error}"
    if not host or any(c.isspace() or ord(c) < 32 for c in url):  # noqa: PLR2004
        return f"not a URL: {url[:200]!r}"
    if "@" in parts.netloc:
        return "a URL may not hold a user name or password"
    return None


def find_id_problem(item_id: str) -> str | None:
    """Why a text cannot be an item's id; None when it can."""
    if len(item_id) > MAX_ID_LENGTH:
        return f"the id is longer than {MAX_ID_LENGTH} characters"
    return None if is_utf8(item_id) else "the id is not valid UTF-8"


def to_printable(text: str) -> str:
    """Text that can be stored: bytes of a file name that are not UTF-8 become hexadecimal escapes."""
    return text if is_utf8(text) else os.fsencode(text).decode("utf-8", "backslashreplace")


def fingerprint_file(
    location: str,
    file_stat: os.stat_result,
    row: Mapping[str, Any] | None = None,
    params: Mapping[str, Any] | None = None,
) -> str:
    """The fingerprint of a file: path, size, modification time and inode, with its row and parameters."""
    return _hash_parts([location, file_stat.st_size, file_stat.st_mtime_ns, file_stat.st_ino, row or {}, params or {}])


def fingerprint_at(item: Item, location: str) -> str | None:
    """The fingerprint that an item's file had at another place, from where it was moved; None where it has no file."""
    try:
        return fingerprint_file(location, Path(item.location or "").stat(), item.row, item.params)
    except (OSError, ValueError):
        return None


def fingerprint_value(value: Any, row: Mapping[str, Any] | None = None, params: Mapping[str, Any] | None = None) -> str:
    """The fingerprint of a URL, of its version, or of a row that is itself the input."""
    return _hash_parts([value, row or {}, params or {}])


def _hash_parts(parts: list[Any]) -> str:
    try:
        data = orjson.dumps(parts, default=str, option=_JSON_OPTIONS)
    except TypeError:  # integers over 64 bits
        data = json.dumps(parts, default=str, sort_keys=True).encode()
    return hashlib.blake2b(data, digest_size=16).hexdigest()
