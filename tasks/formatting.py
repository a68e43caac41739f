"""Numbers formatted for people."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal

_CENTS = Decimal("0.01")
_WHOLE_DOLLARS_FROM = 100
_FOUR_DIGITS = Context(prec=4, rounding=ROUND_HALF_EVEN)


def format_dollars(usd: Decimal | None) -> str:
    """At most four digits that say something: ``$0.001234``, ``$0.50``, ``$12.34``, ``$123``, ``$1,234``, ``$12,350``.

    ``unknown`` when it is not known.
    """
    if usd is None:
        return "unknown"
    rounded = _FOUR_DIGITS.create_decimal(usd)
    if rounded >= _WHOLE_DOLLARS_FROM:
        return f"${rounded.quantize(Decimal(1), ROUND_HALF_EVEN):,}"
    if rounded >= 1 or not rounded:
        return f"${usd.quantize(_CENTS, ROUND_HALF_EVEN)}"
    digits = format(rounded.normalize(), "f")
    return f"${digits if len(digits) >= len('0.00') else digits + '0'}"


def format_duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def pluralize(number: int, noun: str, plural: str | None = None) -> str:
    """``1 item``, ``2 items``."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def format_unpriced(requests: int) -> str:
    """The text after a sum that leaves out requests without a known price; empty when there are none."""
    return f" and {pluralize(requests, 'request')} at no known price" if requests else ""


def format_local_time(microseconds: int) -> str:
    """A time in this machine's zone, with the zone's name."""
    return f"{datetime.fromtimestamp(microseconds / 1_000_000).astimezone():%Y-%m-%d %H:%M:%S %Z}"
