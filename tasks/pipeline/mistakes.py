"""Mistakes of a job or a chain as one error: each with the line of the file that it stands in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mediamill.tasks.bounded.files import find_yaml_lines
from mediamill.tasks.errors import JobFileError, UsageError

FieldPath = tuple[str, ...]
"""The names and numbers that lead to a value of the file."""


class JobFile(NamedTuple):
    """A file with a job or a chain, and what its user calls it: its path, or ``recipe:NAME``."""

    path: Path
    name: str


class Mistake(NamedTuple):
    """What is wrong at a place of a job or a chain, and what to write instead."""

    path: FieldPath
    message: str
    hint: str | None = None


class ChainMistakes(JobFileError):
    """What is wrong with the steps of a chain, once they are resolved; :func:`locating_mistakes` adds the lines.

    Args:
        found: the mistakes, at least one.
    """

    def __init__(self, found: Sequence[Mistake]) -> None:
        lines = [_describe(mistake) for mistake in found]
        super().__init__(f"the chain has {len(found)} mistakes", lines)
        if len(found) == 1:
            self.message, self.hint, self.mistakes = found[0].message, found[0].hint, ()
        self.found = tuple(found)


def build_error(
    mistakes: Sequence[Mistake], file: JobFile | None = None, options: Mapping[str, Any] | None = None
) -> UsageError:
    """The error that tells mistakes; the same one twice is told once.

    Args:
        mistakes: at least one.
        file: where they stand; None where they are in no file.
        options: what was given beside the file, whose mistakes have no line.
    """
    lines = find_yaml_lines(file.path) if file is not None else {}
    by_place: dict[tuple[int, str], Mistake] = {}
    for mistake in mistakes:
        line = 0 if file is None or _is_in(options or {}, mistake.path) else _find_line(lines, mistake.path)
        by_place.setdefault((line, mistake.message), mistake)
    located = sorted(by_place.items(), key=lambda pair: pair[0][0])
    if len(located) == 1:
        [((line, _), mistake)] = located
        where = f"{file.name} line {line}: " if file is not None and line else ""
        return UsageError(f"{where}{mistake.message}", hint=mistake.hint)
    return JobFileError(
        f"{file.name if file is not None else 'the job'} has {len(located)} mistakes",
        [f"{f'line {line}: ' if line else ''}{_describe(mistake)}" for (line, _), mistake in located],
    )


@contextmanager
def locating_mistakes(file: JobFile | None) -> Iterator[None]:
    """Tell the mistakes that the block finds in the steps of a chain with the lines of its file.

    Args:
        file: the chain's; None where it is in no file.
    """
    try:
        yield
    except ChainMistakes as error:
        if file is None:
            raise
        raise build_error(error.found, file) from None


def _describe(mistake: Mistake) -> str:
    return f"{mistake.message}; {mistake.hint}" if mistake.hint else mistake.message


def _is_in(options: Mapping[str, Any], path: FieldPath) -> bool:
    """Whether a value was given as an option; of ``params`` and ``columns`` single ones are."""
    if not path or path[0] not in options:
        return False
    inner = options[path[0]]
    return len(path) == 1 or not isinstance(inner, Mapping) or path[1] in inner


def _find_line(lines: Mapping[FieldPath, int], path: FieldPath) -> int:
    """The line of a value, or of the nearest one that holds it."""
    return next((lines[path[:end]] for end in range(len(path), -1, -1) if path[:end] in lines), 1)
