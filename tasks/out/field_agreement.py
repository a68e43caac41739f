"""How near the value of one field comes to another: equal, or near in the sense of its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NUMBERS = (int, float)


def measure_nearness(reference: Any, value: Any) -> float:
    """From 0 to 1, where 1 is equal.

    Texts, without regard to case and spaces, by edit distance; numbers by their distance relative to the larger; lists
    by the share of members they have in common; objects by the mean of their fields.
    """
    if reference is None or value is None:
        return float(reference is value)
    if isinstance(reference, bool) or isinstance(value, bool):
        return float(_to_text(reference) == _to_text(value))
    if (numbers := _to_numbers(reference, value)) is not None:
        first, second = numbers
        largest = max(abs(first), abs(second))
        return 1.0 if first == second else max(0.0, 1 - abs(first - second) / largest)
    if isinstance(reference, Mapping) and isinstance(value, Mapping):
        names = {*reference, *value}
        return sum(measure_nearness(reference.get(n), value.get(n)) for n in names) / len(names) if names else 1.0
    if isinstance(reference, list) and isinstance(value, list):
        first_set, second_set = {_to_text(each) for each in reference}, {_to_text(each) for each in value}
        union = first_set | second_set
        return len(first_set & second_set) / len(union) if union else 1.0
    from rapidfuzz.distance import Levenshtein

    return float(Levenshtein.normalized_similarity(_to_text(reference), _to_text(value)))


def _to_numbers(reference: Any, value: Any) -> tuple[float, float] | None:
    """Both as numbers, where one is a number: a table of texts has numbers as text."""
    if not isinstance(reference, _NUMBERS) and not isinstance(value, _NUMBERS):
        return None
    try:
        return float(reference), float(value)
    except (TypeError, ValueError):
        return None


def _to_text(value: Any) -> str:
    return " ".join(str(value).casefold().split())
