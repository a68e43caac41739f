"""Reads a text file line by line, with a maximum length: one endless line must not fill the memory."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_LINE_BYTES = 4 * 2**20

BOM = b"\xef\xbb\xbf"
_WIDE_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""The mark of UTF-32 begins with that of UTF-16, so it comes first."""
_HEAD_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024
_DOS_END = b"\x1a"

Line = tuple[int, bytes, str | None]
"""A line's number from 1, its bytes with the line end, and its problem, if any."""


def read_lines(file: IO[bytes], max_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """The lines of a file.

    A line over ``max_bytes`` is skipped without being held in memory, and yielded empty with its problem. A UTF-8
    byte order mark at the start is dropped.
    """
    number = 0
    while True:
        line = file.readline(max_bytes + 2)
        if not line:
            return
        number += 1
        problem = None
        if len(line) >= max_bytes + 2 and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(max_bytes)
            line, problem = b"", _format_length_problem(max_bytes)
        if number == 1:
            line = line.removeprefix(BOM)
        yield number, line, problem


@contextmanager
def open_lines(path: Path) -> Iterator[Iterator[Line]]:
    """Open a manifest's lines: UTF-8, or UTF-16 and UTF-32 as they announce themselves, with any of the line ends.

    Lines end at line feeds, or at carriage returns where the first line does. The character that DOS wrote at the end
    of a file is dropped.

    Raises:
        OSError: when it cannot be read.
    """
    with path.open("rb") as raw:
        encoding, skipped = _find_encoding(raw.read(4))
        raw.seek(skipped)
        file = cast("IO[bytes]", io.BufferedReader(_Transcoder(raw, encoding)) if encoding else raw)
        is_cr = _ends_lines_with_cr(file.read(_HEAD_BYTES))
        raw.seek(skipped)
        if encoding:
            file = cast("IO[bytes]", io.BufferedReader(_Transcoder(raw, encoding)))
        yield _drop_dos_end(_read_cr_lines(file, MAX_LINE_BYTES) if is_cr else read_lines(file))


def _find_encoding(head: bytes) -> tuple[str | None, int]:
    """The encoding of a file that is not UTF-8 by its first four bytes, and the length of its byte order mark.

    UTF-16 without a mark is known by its first two characters: each has one byte that is zero.
    """
    for mark, name in _WIDE_BOMS:
        if head.startswith(mark):
            return name, len(mark)
    zeros = "".join("0" if byte == 0 else "x" for byte in head)
    return {"x0x0": "utf-16-le", "0x0x": "utf-16-be"}.get(zeros), 0


def _ends_lines_with_cr(head: bytes) -> bool:
    """True where the first line end outside quotes is a carriage return alone."""
    is_quoted = False
    for at, byte in enumerate(head):
        if byte == ord('"'):
            is_quoted = not is_quoted
        elif byte == ord("\n") and not is_quoted:
            return False
        elif byte == ord("\r") and not is_quoted:
            return head[at + 1 : at + 2] not in (b"\n", b"\r")
    return False


def _read_cr_lines(file: IO[bytes], max_bytes: int) -> Iterator[Line]:
    """As :func:`read_lines`, for lines that end in carriage returns."""
    number, rest, too_long = 0, b"", False
    while True:
        chunk = file.read(_CHUNK_BYTES)
        *lines, rest = (rest + chunk).split(b"\r")
        for line in lines if chunk else [*lines, *([rest] if rest or too_long else [])]:
            number += 1
            if too_long or len(line) > max_bytes:
                yield number, b"", _format_length_problem(max_bytes)
                too_long = False
            else:
                yield number, (line.removeprefix(BOM) if number == 1 else line) + b"\r", None
        if not chunk:
            return
        if len(rest) > max_bytes:
            rest, too_long = b"", True


def _drop_dos_end(lines: Iterator[Line]) -> Iterator[Line]:
    """The lines without the Ctrl-Z at their end; one that text follows stays as it is."""
    held: list[Line] = []
    for number, line, problem in lines:
        if not held and _DOS_END not in line:
            yield number, line, problem
            continue
        text = line.strip()
        if not problem and held and not text:
            continue
        if not problem and text and not text.strip(_DOS_END):
            held.append((number, line, problem))
            continue
        yield from held
        held.clear()
        yield number, line.rstrip(_DOS_END), problem


def _format_length_problem(max_bytes: int) -> str:
    return f"the line is longer than {max_bytes:,} bytes"


class _Transcoder(io.RawIOBase):
    """Reads a file in a wide encoding as UTF-8; what is no character comes out as bytes that are no UTF-8 either."""

    def __init__(self, raw: IO[bytes], encoding: str) -> None:
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill the buffer; 0 at the end."""
        while not self._ready and not self._ended:
            chunk = self._raw.read(_CHUNK_BYTES)
            self._ended = not chunk
            self._ready = self._decode(chunk).encode("utf-8", "surrogatepass")
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _decode(self, chunk: bytes) -> str:
        try:
            return self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError:  # a torn last character, or a number that is none
            self._decoder.reset()
            return "\udcff\n" if chunk else "\udcff"
