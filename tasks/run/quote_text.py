"""A quote in words."""

from __future__ import annotations

from decimal import Decimal

from mediamill.tasks import capabilities
from mediamill.tasks.formatting import format_dollars, format_duration, pluralize
from mediamill.tasks.summary import Quote


def format_quote(quoted: Quote) -> str:
    """A quote in one line."""
    n_todo = quoted.items - quoted.finished
    parts = [f"{pluralize(n_todo, 'item')} to do"]
    if n_done := quoted.finished - quoted.failed_before:
        parts.append(f"{n_done:,} done already")
    if quoted.failed_before:
        parts.append(f"{quoted.failed_before:,} failed before, which only a retry does again")
    if quoted.audio_seconds:
        media = "video" if "video" in capabilities.get(quoted.capability).kinds else "audio"
        parts.append(f"{format_duration(float(quoted.audio_seconds))} of {media}")
    if quoted.low_usd is not None and quoted.high_usd is None and not quoted.unpriced:
        parts.append(f"cost at least {format_dollars(quoted.low_usd)}; a later try has no known price")
    elif quoted.low_usd is None or quoted.high_usd is None:
        parts.append(f"cost unknown ({pluralize(quoted.unpriced, 'item')} without a price)")
    elif quoted.low_usd == quoted.high_usd:
        parts.append(f"cost {format_dollars(quoted.low_usd)}")
    else:
        parts.append(f"cost {format_dollars(quoted.low_usd)} to {format_dollars(quoted.high_usd)}")
    if quoted.more_tries and n_todo:
        parts.append(
            f"the least if the first try of each is good, the most if each also gets {', '.join(quoted.more_tries)}"
        )
    if quoted.saved_tokens or quoted.saved_bytes:
        parts.append(f"made smaller first: {quoted.saved_tokens:,} tokens and {quoted.saved_bytes / 1e6:.1f} MB saved")
    if quoted.wait_seconds is not None:
        parts.append(f"of files that changed just now: a run waits {max(quoted.wait_seconds, 1):.0f} s for them first")
    return f"quote: {quoted.provider}, {quoted.model}: {', '.join(parts)}"


def describe_limit(budget: Decimal | None) -> str:
    """What limits the cost of a run."""
    return "no budget limits it" if budget is None else f"budget {format_dollars(budget)}"
