"""Parts of replies whose JSON may hold anything: a value of the wrong type reads as an empty one."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.errors.lenient_json import read_json

USD_PER_TICK = Decimal("1e-10")
"""US dollars of one of xAI's ``cost_in_usd_ticks`` (provider docs)."""


def decode_reply(body: bytes) -> Any:
    """The JSON of a reply, read leniently.

    Raises:
        BadReply: when the body is not JSON.
    """
    try:
        return read_json(body)
    except ValueError:
        raise BadReply("the reply is not JSON") from None


def to_mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, otherwise an empty mapping."""
    return value if isinstance(value, dict) else {}


def to_list(value: Any) -> list[Any]:
    """The value if it is a list, otherwise an empty one."""
    return value if isinstance(value, list) else []


def to_count(value: Any) -> int | None:
    """The value if it is a non-negative integer, otherwise None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
