"""Spread the parameters of a test over the tiers: quick (no mark), long and proof."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def mark_tiers(parameters: Iterable[Any], quick: Iterable[Any], long: Iterable[Any]) -> list[Any]:
    """All parameters: ``quick`` without a mark, ``long`` marked long, and the rest marked proof."""
    parameters, quick, long = list(parameters), list(quick), list(long)
    assert all(each in parameters for each in (*quick, *long))
    return [
        each
        if each in quick
        else pytest.param(*_to_tuple(each), marks=pytest.mark.long if each in long else pytest.mark.proof)
        for each in parameters
    ]


def mark_rest_long(parameters: Iterable[Any], quick: Iterable[Any]) -> list[Any]:
    """All parameters, those beyond ``quick`` marked long."""
    parameters = list(parameters)
    return mark_tiers(parameters, quick, parameters)


def _to_tuple(each: Any) -> tuple[Any, ...]:
    return each if isinstance(each, tuple) else (each,)
