"""Dated names of models: providers add a version's date to a model's name, and what is known of the model holds."""

from __future__ import annotations

import re

_MONTH, _DAY = r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_DATE = re.compile(rf"[-@](?:20\d\d-{_MONTH}-{_DAY}|20\d\d{_MONTH}{_DAY}|{_MONTH}-20\d\d)$")


def find_undated_name(model: str) -> str | None:
    """``gpt-4o-transcribe`` for ``gpt-4o-transcribe-2025-12-15``; None for a name that ends with no whole date.

    Four digits, as in ``Kimi-K2-Instruct-0905``, are as often another model as a date.
    """
    undated = _DATE.sub("", model)
    return undated if undated not in ("", model) else None
