"""A stated total, split over the requests that it was billed for: exact, and no share above what it can have cost."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal

_QUANTUM = Decimal("0.000000000001")


def apportion(total: Decimal, maxima: Sequence[Decimal | None]) -> list[Decimal]:
    """Split ``total`` over requests by their maximum costs; the shares add up to it exactly.

    Requests without a known maximum share equally what each would get if all shared equally, and what the others
    cannot have cost.

    Args:
        total: US dollars, zero or more.
        maxima: the maximum cost of each request; None where it is not known. At least one.

    Returns:
        One share for each request. A share is above its maximum only where the total is above the sum of all.
    """
    known = [maximum for maximum in maxima if maximum is not None]
    n_open = len(maxima) - len(known)
    known_total = min(total * len(known) / len(maxima), sum(known, Decimal(0))) if n_open else total
    weights = _scale(known_total, known)
    open_shares = _scale(total - known_total, [Decimal(1)] * n_open)
    known_shares, rest = iter(weights), iter(open_shares)
    shares = [next(rest) if maximum is None else next(known_shares) for maximum in maxima]
    return _add_remainder(shares, total, maxima)


def _scale(total: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Shares of ``total`` in proportion to ``weights``, rounded down."""
    whole = sum(weights, Decimal(0))
    if not whole:
        weights, whole = [Decimal(1)] * len(weights), Decimal(len(weights))
    return [(total * weight / whole).quantize(_QUANTUM, ROUND_DOWN) for weight in weights]


def _add_remainder(shares: list[Decimal], total: Decimal, maxima: Sequence[Decimal | None]) -> list[Decimal]:
    """Add what rounding left over to the first shares that have room for it; else to the first."""
    remainder = total - sum(shares, Decimal(0))
    for index, maximum in enumerate(maxima):
        room = remainder if maximum is None else min(remainder, max(maximum - shares[index], Decimal(0)))
        shares[index] += room
        remainder -= room
    shares[0] += remainder
    return shares
