"""How a capability declares its parameters, in addition to pydantic: command-line options, files, list values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationInfo

from mediamill.tasks.sources.locate import find_url_problem, is_url, normalize_url

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Option:
    """How a parameter is given on the command line, when that is not simply its name and a value.

    It goes into the parameter's annotation: ``json_schema: Annotated[dict[str, Any] | None, Option("--schema")]``.

    Attributes:
        flag: the option's name, when it differs from the parameter's.
        metavar: what the help shows for its value; by default it follows from the type.
        offered: False for a parameter that makes no sense for all items at once: it has no option, but a row, a job
            file and --set can give it.
        permission: True for what the person at the keyboard allows. ``mediamill run FILE`` takes this option, too, so
            that the job file need not contain it.
        by_row: False where a manifest's column of that name is usually something else: it is carried as data, unless
            the job's ``columns`` say that it is the parameter.
    """

    flag: str | None = None
    metavar: str | None = None
    offered: bool = True
    permission: bool = False
    by_row: bool = True


@dataclass(frozen=True, slots=True)
class Template:
    """In a parameter's annotation: the job's value is a template over the row's columns."""


@dataclass(frozen=True, slots=True)
class NamesFiles:
    """In a parameter's annotation: its values are paths of files. A row's are found below its manifest's folder.

    Attributes:
        member: the member that holds the path, where a value may be an object.
        urls: True when a value may be an http(s) URL, too.
        several: True for a list.
    """

    member: str | None = None
    urls: bool = False
    several: bool = True

    def find_files(self, value: Any, find: Callable[[str], str]) -> Any:
        """A row's value with ``find``'s path in place of each path in it.

        Raises:
            ValueError: when a value names something else than a file or URL.
        """
        values = parse_list(value) if self.several else value
        return (
            [self._find_file(each, find) for each in values]
            if isinstance(values, list)
            else self._find_file(values, find)
        )

    def _find_file(self, value: Any, find: Callable[[str], str]) -> Any:
        if isinstance(value, str):
            if not is_url(value):
                return find(value)
            if problem := find_url_problem(value) if self.urls else "it is a file on this machine, not a URL":
                raise ValueError(problem)
            return normalize_url(value)
        if isinstance(value, dict) and self.member is not None:
            return {**value, self.member: self._find_file(value.get(self.member), find)}
        if isinstance(value, dict | list):
            raise ValueError("a file is named by its path, as text")  # noqa: TRY004 - one kind for all that a row does
        return value


@dataclass(frozen=True, slots=True)
class ReadsFile:
    """In a parameter's annotation: its value may be the name of a file or module that holds it, but not in a row.

    Attributes:
        option: the option that takes the file, for the message.
    """

    option: str

    def parse_row_value(self, value: Any) -> Any:
        """A row's own value, from JSON where it is text.

        Raises:
            ValueError: when the text is not a JSON object or list.
        """
        if not isinstance(value, str):
            return value
        if not value.lstrip().startswith(("{", "[")):
            raise ValueError(
                f"{value[:80]!r} is not JSON: a row holds the value itself and names no file or module; "
                f"write it into the row as JSON, or give {self.option} for all rows"
            )
        try:
            return orjson.loads(value)
        except ValueError as error:
            raise ValueError(f"is not JSON: {error}") from None


@dataclass(frozen=True, slots=True)
class RowsOnly:
    """In a parameter's annotation: it changes rows and no request.

    A job that names another value goes on with its OUT, whose rows are made again from the journal, for nothing.

    Attributes:
        select_sent: the part of its value, as JSON, that does go into requests; empty where nothing does. None where
            nothing ever does.
    """

    select_sent: Callable[[Any], Any] | None = None


def select_sent_params(model: type[BaseModel], params: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a capability's requests of its parameters: all but those, or the parts, that change rows alone.

    Args:
        model: the capability's parameters.
        params: values as JSON, by name; names that ``model`` does not have stay.
    """
    sent = dict(params)
    for name in params.keys() & model.model_fields.keys():
        for declaration in model.model_fields[name].metadata:
            if isinstance(declaration, RowsOnly):
                value = declaration.select_sent(params[name]) if declaration.select_sent is not None else None
                if value:
                    sent[name] = value
                else:
                    del sent[name]
    return sent


def is_from_row(info: ValidationInfo) -> bool:
    """True in a field's validator when the value comes from a row, which is data, and not from the job."""
    return info.field_name in (info.context or ())


def parse_list(value: Any) -> Any:
    """A list from one text or object, a list of them, or either as JSON text, as in a manifest's cell.

    Raises:
        ValueError: when a text looks like JSON and is not.
    """
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = orjson.loads(value)
        except ValueError as error:
            raise ValueError(f"is not JSON: {error}") from None
    return [value] if isinstance(value, str | dict) else value
