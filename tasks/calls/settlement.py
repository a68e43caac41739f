"""From a recorded reply to the Answers of a capability: parsed, metered, its cost split between the Asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from mediamill.tasks import fault_injection
from mediamill.tasks.calls.call_context import CallContext, sum_usages
from mediamill.tasks.domain import Answer, Ask, Cost
from mediamill.tasks.errors import BadReply
from mediamill.tasks.wire import Parsed, Reply


def parse_reply(context: CallContext, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
    """Parse a reply; one Parsed per Ask.

    Raises:
        BadReply: when the reply is not what was requested. It stays in the journal and is parsed again for free.
    """
    fault_injection.failpoint("call.parse")
    try:
        parsed = context.provider.parse(reply, asks)
    except BadReply as error:
        error.transient = True
        raise
    if len(parsed) != len(asks):
        raise BadReply(f"the request had {len(asks)} inputs, the reply has {len(parsed)} answers", transient=True)
    return parsed


async def settle_cost(
    context: CallContext, call_id: str, parsed: Sequence[Parsed], ask: Ask, max_usd: Decimal | None
) -> Cost:
    """Compute the cost from the usage, and make both durable."""
    usage = sum_usages(p.usage for p in parsed)
    cost = context.pricing.cost(ask.model, ask.operation, usage, max_usd)
    await context.journal.asks.record_cost(call_id, usage.as_dict(), cost)
    fault_injection.failpoint("call.settled.after")
    return cost


def split_cost(cost: Cost, parts: int) -> Cost:
    """One Ask's share of the cost of its request."""
    if parts == 1 or cost.usd is None:
        return cost
    return replace(cost, usd=cost.usd / parts)


def build_answer(context: CallContext, parsed: Parsed, key: str, cost: Cost, **details: object) -> Answer:
    """The Answer that a capability gets."""
    context.stats.engine = parsed.engine or context.stats.engine
    context.stats.simulated = context.stats.simulated or parsed.simulated
    return Answer(
        data=parsed.data,
        usage=parsed.usage,
        cost=cost,
        request_key=key,
        engine=parsed.engine,
        simulated=parsed.simulated,
        **details,  # type: ignore[arg-type]
    )
