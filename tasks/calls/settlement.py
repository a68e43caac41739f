"""From a reply that is on record to the Answers a capability gets: parsed, metered, shared out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from mediamill.tasks import fault_injection
from mediamill.tasks.calls.call_context import Line, total
from mediamill.tasks.domain import Answer, Ask, Cost
from mediamill.tasks.errors import BadReply
from mediamill.tasks.wire import Parsed, Reply


def parse(line: Line, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
    """One Parsed per Ask.

    Raises:
        BadReply: when the reply holds something else. It stays in the journal and is parsed again for free.
    """
    fault_injection.point("call.parse")
    try:
        parsed = line.provider.parse(reply, asks)
    except BadReply as error:
        error.transient = True
        raise
    if len(parsed) != len(asks):
        raise BadReply(f"asked {len(asks)} things at once, got {len(parsed)} answers", transient=True)
    return parsed


async def settle(line: Line, call_id: str, parsed: Sequence[Parsed], ask: Ask, most: Decimal | None) -> Cost:
    """Usage becomes cost, and both become durable."""
    usage = total(p.usage for p in parsed)
    cost = line.pricing.cost(ask.model, ask.operation, usage, most)
    await line.journal.asks.record_cost(call_id, usage.as_dict(), cost)
    fault_injection.point("call.settled.after")
    return cost


def share_of(cost: Cost, parts: int) -> Cost:
    """One Ask's part of what its request cost."""
    if parts == 1 or cost.usd is None:
        return cost
    return replace(cost, usd=cost.usd / parts)


def answer(line: Line, parsed: Parsed, key: str, cost: Cost, **told: object) -> Answer:
    """The Answer a capability gets."""
    line.tally.engine = parsed.engine or line.tally.engine
    line.tally.simulated = line.tally.simulated or parsed.simulated
    return Answer(
        data=parsed.data,
        usage=parsed.usage,
        cost=cost,
        request_key=key,
        engine=parsed.engine,
        simulated=parsed.simulated,
        **told,  # type: ignore[arg-type]
    )
