"""How a capability declares its parameters, beside what pydantic says: their options, and values that are lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Option:
    """How a parameter is given on the command line, where that is not simply ``--its-name VALUE``.

    It stands in the parameter's annotation: ``json_schema: Annotated[dict[str, Any] | None, Option("--schema")]``.

    Attributes:
        flag: the option's name, where it is not the parameter's.
        metavar: what the help shows for its value; by default what the type says.
        offered: False for a parameter that makes no sense for all items at once. A row, a job file and --set give it.
        permission: True for what the person at the keyboard allows. ``mediamill run FILE`` takes this option, too, so
            that a file need not say it.
    """

    flag: str | None = None
    metavar: str | None = None
    offered: bool = True
    permission: bool = False


def parse_list(value: Any) -> Any:
    """A list of what is given: one text or object, or a list of them, also as JSON, as a manifest's cell holds it.

    Raises:
        ValueError: when what looks like JSON is none.
    """
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = orjson.loads(value)
        except ValueError as error:
            raise ValueError(f"is not JSON: {error}") from None
    return [value] if isinstance(value, str | dict) else value
