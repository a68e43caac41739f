"""Files that a job or an option names, read whole: regular files of bounded size, YAML of bounded depth and growth."""

from __future__ import annotations

import functools
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediamill.tasks.bounded.values import MAX_DEPTH

if TYPE_CHECKING:
    import yaml

MAX_TEXT_BYTES = 10_000_000
"""Maximum size of a schema, a price list and the like."""
MAX_YAML_BYTES = 2_000_000
"""Maximum size of a YAML text, which takes a second for 100 KB of it."""
MAX_YAML_NODES = 200_000
"""Maximum number of values in a YAML text, those that aliases repeat counted each time."""


def open_nonblocking(path: str, flags: int) -> int:
    """An opener for :func:`open` that does not wait for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))


def read_bounded_file(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """A regular file's bytes.

    Raises:
        ValueError: when it cannot be read, is no regular file, or is larger than ``max_bytes``; the message names it.
    """
    try:
        with open(path, "rb", opener=open_nonblocking) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError(f"{path} is not a file but a folder, pipe or device")
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    if len(data) > max_bytes:
        raise ValueError(f"{path} is larger than {max_bytes:,} bytes")
    return data


def read_bounded_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """A regular file's text in UTF-8.

    Raises:
        ValueError: when it cannot be read, is no regular file, too large, or not text; the message names it.
    """
    try:
        return read_bounded_file(path, max_bytes).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8; save it as UTF-8") from None


def parse_yaml(text: str) -> Any:
    """The value of a YAML text, whose aliases and depth are bounded. JSON is YAML, too.

    Raises:
        ValueError: saying what is wrong, and in which line.
    """
    import yaml

    if len(text) > MAX_YAML_BYTES:
        raise ValueError(f"is larger than {MAX_YAML_BYTES:,} characters, too large for YAML; write it as JSON")
    try:
        return yaml.load(text, Loader=_make_loader())  # noqa: S506 - a subclass of SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"is not valid YAML{line}: {problem}") from None
    except (ValueError, OverflowError, RecursionError) as error:  # e.g. a date of the 99th month
        raise ValueError(f"is not valid YAML: {error}") from None


def load_yaml_file(path: Path) -> Any:
    """The value of a YAML file.

    Raises:
        ValueError: when it cannot be read, or is not valid; the message names it.
    """
    text = read_bounded_text(path, MAX_YAML_BYTES)
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def find_yaml_lines(path: Path) -> dict[tuple[str, ...], int]:
    """The line, from 1, of each value of a YAML file that can be read, by the names and numbers that lead to it."""
    import yaml

    loader = _make_loader()(read_bounded_text(path, MAX_YAML_BYTES))
    lines: dict[tuple[str, ...], int] = {}

    def walk(node: yaml.Node, place: tuple[str, ...]) -> None:
        lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[(*place, str(key.value))] = key.start_mark.line + 1
                walk(value, (*place, str(key.value)))
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                walk(value, (*place, str(number)))

    root = loader.get_single_node()
    if root is not None:
        walk(root, ())
    return lines


@functools.cache
def _make_loader() -> type[yaml.SafeLoader]:
    """PyYAML's loader, which counts the values as it goes; the import is late because commands start without it."""
    import yaml

    class BoundedLoader(yaml.SafeLoader):
        def __init__(self, stream: str) -> None:
            super().__init__(stream)
            self._nodes = self._depth = 0
            self._sizes: dict[int, int] = {}

        def compose_node(self, parent: Any, index: Any) -> Any:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            is_alias = self.check_event(yaml.AliasEvent)
            before, self._depth = self._nodes, self._depth + 1
            if self._depth > MAX_DEPTH:
                problem = f"it is nested more than {MAX_DEPTH} levels deep"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
            node = super().compose_node(parent, index)
            if is_alias and id(node) not in self._sizes:
                raise yaml.MarkedYAMLError(problem="an alias stands inside of what it repeats", problem_mark=mark)
            self._nodes += self._sizes[id(node)] if is_alias else 1
            if self._nodes > MAX_YAML_NODES:
                problem = f"it holds more than {MAX_YAML_NODES:,} values, those counted that aliases repeat"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
            self._sizes[id(node)] = self._nodes - before
            self._depth -= 1
            return node

    return BoundedLoader
