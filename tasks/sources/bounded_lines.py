"""Reads a text file line by line, with a maximum length: one endless line must not fill the memory."""

from __future__ import annotations

import codecs
import io
import re
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
_ENCODING_BYTES = 4096
_CHUNK_BYTES = 64 * 1024
_CR_END = re.compile(rb"\r\n?")
_DOS_END, _NUL = b"\x1a", b"\0"
_PADDING = _DOS_END + _NUL
"""What DOS wrote at the end of a file, and what a disk or a transfer that was interrupted leaves there."""

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
            text, is_padding = line.rstrip(_NUL), True
            while line and not line.endswith(b"\n"):
                line = file.readline(max_bytes)
                is_padding = is_padding and not line.strip(_NUL)
            is_short = is_padding and len(text) <= max_bytes
            line, problem = text if is_short else b"", None if is_short else _format_length_problem(max_bytes)
        if number == 1:
            line = line.removeprefix(BOM)
        yield number, line, problem


@contextmanager
def open_lines(path: Path) -> Iterator[Iterator[Line]]:
    """Open a manifest's lines: UTF-8, or UTF-16 and UTF-32 as they announce themselves, with any of the line ends.

    Lines end at line feeds, or at carriage returns where the first line does. The character that DOS wrote at the end
    of a file, and zero bytes there, are dropped.

    Raises:
        OSError: when it cannot be read.
    """
    with path.open("rb") as raw:
        encoding, skipped = _find_encoding(raw.read(_ENCODING_BYTES))
        raw.seek(skipped)
        file = cast("IO[bytes]", io.BufferedReader(_Transcoder(raw, encoding)) if encoding else raw)
        is_cr = _ends_lines_with_cr(file.read(_HEAD_BYTES))
        raw.seek(skipped)
        if encoding:
            file = cast("IO[bytes]", io.BufferedReader(_Transcoder(raw, encoding)))
        yield _drop_padding(_read_cr_lines(file, MAX_LINE_BYTES) if is_cr else read_lines(file))


def _find_encoding(head: bytes) -> tuple[str | None, int]:
    """The encoding of a file that is not UTF-8 by its beginning, and the length of its byte order mark.

    Without a mark it is the one in which the beginning has the most characters that every table has: letters and
    digits of ASCII, delimiters and line ends. UTF-8 has no zero bytes.
    """
    for mark, name in _WIDE_BOMS:
        if head.startswith(mark):
            return name, len(mark)
    n_zeros = head.count(0)
    if not n_zeros or (n_zeros < len(head) // 4 and _is_utf8(head)):  # else a damaged file of another encoding
        return None, 0
    scores = {name: _count_plain(head, name) for _, name in _WIDE_BOMS}
    best = max(scores, key=lambda name: scores[name])
    return (best, 0) if scores[best] else (None, 0)


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _count_plain(head: bytes, encoding: str) -> int:
    """How many characters of ASCII a file's beginning has in an encoding; 0 where it is no text of that encoding."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return 0
    return 0 if "\0" in text else sum(character.isascii() for character in text)


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
    """As :func:`read_lines`, for lines that end in carriage returns, with or without a line feed."""
    number, rest, too_long = 0, b"", False
    while True:
        chunk = file.read(_CHUNK_BYTES)
        text, start = rest + chunk, 0
        for end in _CR_END.finditer(text):
            if chunk and end.end() == len(text):  # a line feed may follow
                break
            number += 1
            line, start = text[start : end.end()], end.end()
            if too_long or len(line) - len(end[0]) > max_bytes:
                yield number, b"", _format_length_problem(max_bytes)
                too_long = False
            else:
                yield number, line.removeprefix(BOM) if number == 1 else line, None
        rest = text[start:]
        if not chunk:
            if rest or too_long:
                is_short = not too_long and len(rest) <= max_bytes
                yield (
                    number + 1,
                    rest + b"\r" if is_short else b"",
                    None if is_short else _format_length_problem(max_bytes),
                )
            return
        if len(rest) > max_bytes + 1:
            rest, too_long = rest[-1:] if rest.endswith(b"\r") else b"", True


def _drop_padding(lines: Iterator[Line]) -> Iterator[Line]:
    """The lines without Ctrl-Z and zero bytes at their end; those that text follows stay as they are."""
    held: list[Line] = []
    for number, line, problem in lines:
        if not held and _DOS_END not in line and _NUL not in line:
            yield number, line, problem
            continue
        text = line.strip()
        if not problem and (held or text) and not text.strip(_PADDING):
            held.append((number, line, problem))
            continue
        yield from held
        held.clear()
        yield number, line.rstrip(_PADDING), problem


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
