"""One file or URL as a source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mediamill.tasks.domain import Item
from mediamill.tasks.errors import UsageError
from mediamill.tasks.not_taken import NotTaken
from mediamill.tasks.sources.locate import find_url_problem, fingerprint_file, fingerprint_value, is_url, to_printable
from mediamill.tasks.system.os_errors import describe_os_error

if TYPE_CHECKING:
    import pyarrow as pa


class SingleFileSource:
    """One item: a file with any extension, since the user named it, or an http(s) URL.

    Raises:
        UsageError: when the URL cannot be used.
    """

    def __init__(self, given: str) -> None:
        self._given = given
        if is_url(given):
            problem = find_url_problem(given)
            if problem:
                raise UsageError(problem)
            self.root = given
            self.name = given.split("?", maxsplit=1)[0].rstrip("/").rpartition("/")[2] or "url"
        else:
            self.root = os.path.abspath(os.path.expanduser(given))  # noqa: PTH100, PTH111
            self.name = os.path.basename(self.root)  # noqa: PTH119
            if to_printable(self.root) != self.root:
                raise UsageError(f"{to_printable(given)}: the file's name is not valid UTF-8", hint="rename it")

    def items(self) -> Iterator[Item]:
        """The single item; its id is the file's name, or the URL."""
        if is_url(self.root):
            yield Item(self.root, 0, self._given, self.root, fingerprint=fingerprint_value(self.root))
            return
        try:
            file_stat = os.stat(self.root)  # noqa: PTH116
        except OSError as error:
            cause = describe_os_error(error)
            raise UsageError(f"{self._given}: {cause.what}", hint=cause.hint) from None
        yield Item(self.name, 0, self._given, self.root, fingerprint=fingerprint_file(self.root, file_stat))

    def row_schema(self) -> pa.Schema | None:
        """None: a file has no row."""
        return None

    def size_hint(self) -> int | None:
        """One."""
        return 1

    def not_taken(self) -> NotTaken:
        """Nothing: the user named the file."""
        return NotTaken()
