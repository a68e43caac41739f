"""Finds the wrong columns of a chain whose fields are wrong, so that all is told at once."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mediamill.tasks.errors import MediamillError
from mediamill.tasks.pipeline.chain_out import check_steps
from mediamill.tasks.pipeline.mistakes import ChainMistakes, FieldPath, Mistake
from mediamill.tasks.pipeline.spec import make_chain

_SUGGESTION = re.compile(r"did you mean '(.+)'\?")
_DECIDE_COLUMNS = frozenset({"capability", "task", "json_schema", "schema"})
"""What decides a step's columns: where it is wrong, nothing can be said about them."""


def find_column_mistakes(fields: Mapping[str, Any], found: Sequence[Mistake]) -> tuple[Mistake, ...]:
    """What expressions and templates name wrongly, as if the mistakes found were mended.

    Args:
        fields: the chain's.
        found: its mistakes so far; a mistyped name counts as the one suggested, any other value as left out.

    Returns:
        The mistakes; none where the chain cannot be made without what is wrong.
    """
    if any(not mistake.path or mistake.path[-1] in _DECIDE_COLUMNS for mistake in found):
        return ()
    mended = copy.deepcopy(dict(fields))
    for mistake in found:
        _mend(mended, mistake.path, mistake.hint)
    try:
        check_steps(make_chain(mended, ""), needs_key=False)
    except ChainMistakes as error:
        return error.found
    except MediamillError:  # it is told once the chain can be made
        pass
    return ()


def _mend(holder: Any, path: FieldPath, hint: str | None) -> None:
    """Take a wrong value out; under a mistyped name it goes to the suggested one."""
    for key in path[:-1]:
        if isinstance(holder, list) and key.isdecimal() and int(key) < len(holder):
            holder = holder[int(key)]
        else:
            holder = holder.get(key) if isinstance(holder, dict) else None
    if isinstance(holder, dict) and path[-1] in holder:
        value = holder.pop(path[-1])
        if suggested := _SUGGESTION.match(hint or ""):
            holder.setdefault(suggested[1], value)
