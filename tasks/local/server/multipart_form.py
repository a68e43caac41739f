"""Our own parser of multipart forms: a few kilobytes take microseconds, and a large body stays in its file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from mmap import mmap
from urllib.parse import unquote

from mediamill.tasks.local.server.api_error import ApiError

Buffer = bytes | mmap

MAX_PARTS = 200
MAX_HEADER_BYTES = 16 * 1024

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)
_DISPOSITION = re.compile(rb"^content-disposition:\s*form-data\s*((?:;.*)?)$", re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(rb';\s*([\w-]+\*?)=(?:"((?:\\.|[^"\\])*)"|([^;\s]*))')
_ESCAPED = re.compile(r"\\([\"\\])")


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file part: its uploaded name, and the range of its bytes in the body."""

    filename: str
    start: int
    end: int


@dataclass(slots=True)
class Form:
    """Text fields, a list of values for each name; file parts by field name; all part names in order."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, FilePart] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def get(self, name: str) -> str | None:
        """The field's last value; None when it is absent or empty."""
        values = self.fields.get(name)
        return (values[-1] or None) if values else None

    def get_list(self, name: str) -> list[str]:
        """All values of a repeated field, written ``name`` or ``name[]``."""
        return [*self.fields.get(name, ()), *self.fields.get(f"{name}[]", ())]


def parse_form(body: Buffer, content_type: str) -> Form:
    """Split a ``multipart/form-data`` body.

    Raises:
        ApiError: ``bad_value`` when the body is not a form, or is incomplete.
    """
    boundary = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/form-data") or boundary is None:
        raise ApiError("bad_value", f"the body must be multipart/form-data, not {content_type or 'untyped'}")
    delimiter = b"--" + (boundary[1] or boundary[2]).encode("latin-1", "replace")
    form = Form()
    position = body.find(delimiter)
    while position >= 0:
        position += len(delimiter)
        if body[position : position + 2] == b"--":
            return form
        position = _read_part(form, body, position, b"\r\n" + delimiter)
    raise ApiError("bad_value", "the multipart body is incomplete")


def _read_part(form: Form, body: Buffer, position: int, delimiter: bytes) -> int:
    """Read the part after a boundary; return the position of the next boundary."""
    headers_end = body.find(b"\r\n\r\n", position, position + MAX_HEADER_BYTES)
    if headers_end < 0:
        raise ApiError("bad_value", "the multipart body is incomplete")
    start = headers_end + 4
    end = body.find(delimiter, headers_end + 2)
    while end >= 0 and body[end + len(delimiter) : end + len(delimiter) + 2] not in (b"--", b"\r\n"):
        end = body.find(delimiter, end + 2)
    if end < 0:
        raise ApiError("bad_value", "the multipart body is incomplete")
    if len(form.order) == MAX_PARTS:
        raise ApiError("bad_value", f"the form has more than {MAX_PARTS} parts")
    name, filename = _parse_disposition(body[position : headers_end + 2])
    form.order.append(name)
    if filename is None:
        value = bytes(body[start:end]).decode("utf-8", "replace") if end > start else ""
        form.fields.setdefault(name, []).append(value)
    else:
        form.files[name] = FilePart(filename, start, max(start, end))
    return end + 2


def _parse_disposition(headers: bytes) -> tuple[str, str | None]:
    match = _DISPOSITION.search(headers.replace(b"\r\n", b"\n"))
    params = {k.lower(): _unescape(q or p) for k, q, p in _PARAMETER.findall(match[1])} if match else {}
    if b"name" not in params:
        raise ApiError("bad_value", "a part of the form has no name")
    extended = params.get(b"filename*")
    if extended is not None:
        return params[b"name"], unquote(extended.rpartition("'")[2])
    return params[b"name"], params.get(b"filename")


def _unescape(value: bytes) -> str:
    text = _ESCAPED.sub(r"\1", value.decode("utf-8", "replace"))
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
