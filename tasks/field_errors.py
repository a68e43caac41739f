"""What a validation of options, parameters or a chain refuses, in words that say what to write instead."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError


@dataclass(frozen=True, slots=True)
class FieldError:
    """An error of a validation: the names that lead to the field, what is wrong, and whether no such field exists.

    ``path`` is empty where the error is about several fields.
    """

    path: tuple[str, ...]
    message: str
    is_unknown: bool

    @property
    def name(self) -> str:
        """The field's name, with those of the fields that hold it."""
        return ".".join(self.path)

    def __str__(self) -> str:
        return f"{self.name}: {self.message}" if self.path else self.message


_PLAIN_MESSAGES = {
    "missing": "is missing; give a {name}",
    "decimal_parsing": "{value} is not a number; write it like 2.50",
    "float_parsing": "{value} is not a number; write it like 2.5",
    "int_parsing": "{value} is not a whole number; write it like 3",
    "int_from_float": "{value} is not a whole number; write it like 3",
    "bool_parsing": "{value} is neither true nor false",
    "string_type": "is not a text; write it in quotes",  # without the value, which may be a key
    "string_pattern_mismatch": "{value} is not of the form it takes",
    "literal_error": "{value} is not one of {expected}",
    "enum": "{value} is not one of {expected}",
    "greater_than": "{value} is too small; give more than {gt}",
    "greater_than_equal": "{value} is too small; give at least {ge}",
    "less_than": "{value} is too large; give less than {lt}",
    "less_than_equal": "{value} is too large; give at most {le}",
}
"""What is wrong with a value and what to write, by pydantic's type of the error; the field's help follows."""


def get_first_error(error: ValidationError, model: type[BaseModel]) -> FieldError:
    """The first error of a validation of ``model``, in words for a message."""
    return list_errors(error, model)[0]


def list_errors(error: ValidationError, model: type[BaseModel]) -> list[FieldError]:
    """The errors of a validation of ``model``, in words for messages; of a value that may be one of several, one."""
    found: dict[tuple[str, ...], FieldError] = {}
    for each in error.errors(include_url=False):
        path, message = tuple(str(part) for part in each["loc"]), each["msg"].removeprefix("Value error, ")
        if each["type"] in _PLAIN_MESSAGES:
            words = {"name": path[-1] if path else "", "value": reprlib.repr(each["input"]), **each.get("ctx", {})}
            message = _PLAIN_MESSAGES[each["type"]].format(**words)
            field = model.model_fields.get(path[0]) if len(path) == 1 else None
            message += f" ({field.description})" if field and field.description else ""
        found.setdefault(path, FieldError(path, message, each["type"] == "extra_forbidden"))
    return list(found.values())
