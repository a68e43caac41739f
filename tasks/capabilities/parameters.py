"""How a capability declares its parameters, in addition to pydantic: command-line options, and list values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson


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
    """

    flag: str | None = None
    metavar: str | None = None
    offered: bool = True
    permission: bool = False


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
