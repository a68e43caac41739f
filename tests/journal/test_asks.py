"""Asks: claimed by one owner, taken over from dead ones, and never sent twice while an owner is alive."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import text

from mediamill.tasks.domain import Cost
from mediamill.tasks.errors import CallFailed
from mediamill.tasks.journal.claim_owners import LEASE_SECONDS
from mediamill.tasks.journal.output_lock import OutputLock
from tests.journal.stores import (
    NOW,
    Store,
    claim,
    find_attempt_row,
    lose_reply,
    new_attempt,
    reject,
    reply,
    send,
)

PAID = Cost(Decimal("0.000123456789"), "metered", "prices.csv 2026-11-01")


async def test_a_stored_reply_is_a_hit_for_every_out(store: Store) -> None:
    mine, other = await store.open("a"), await store.open("b")
    assert (await send(mine, "k", "c1")).state == "mine"
    await reply(mine, ["k"], "c1")
    await mine.asks.record_cost("c1", {"audio_seconds": "1.5"}, PAID)
    found = await claim(other, "k")
    assert found.state == "hit"
    assert found.attempt is not None
    assert found.attempt.reply_body == b'{"text": "hello"}'
    assert found.attempt.reply_headers == {"content-type": "application/json", "x-request-id": "req-1"}
    assert found.attempt.cost == PAID
    assert (found.attempt.out_id, found.attempt.item_ids) == (mine.out_id, ("i000000",))


@pytest.mark.parametrize("size", [0, 64 * 1024, 64 * 1024 + 1, 300_000])
async def test_a_reply_of_any_size_is_read_back_by_another_out(store: Store, size: int) -> None:
    mine, other = await store.open("a"), await store.open("b")
    await send(mine, "k", "c1")
    await reply(mine, ["k"], "c1", bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    found = await claim(other, "k")
    assert found.attempt is not None
    assert found.attempt.reply_body is not None
    assert len(found.attempt.reply_body) == size
    assert found.attempt.cost is None, "the reply is not parsed yet"


async def test_a_claim_of_a_live_owner_is_busy_in_every_held_state(store: Store) -> None:
    mine, other = await store.open("a"), await store.open("b")
    await claim(mine, "k")
    assert (await claim(other, "k")).state == "busy"
    await mine.asks.record_sending(new_attempt(mine, "c1"), ["k"])
    assert (await claim(other, "k")).state == "busy"
    await mine.asks.record_accepted("c1", ["k"], "job-7")
    assert (await claim(other, "k")).state == "busy"


@pytest.mark.parametrize("end", [reject, lose_reply])
async def test_a_claim_stays_busy_while_its_owner_waits_to_retry(store: Store, end) -> None:  # type: ignore[no-untyped-def]
    mine, other = await store.open("a"), await store.open("b")
    await send(mine, "k", "c1")
    await end(mine, "k", "c1")
    assert (await claim(other, "k")).state == "busy"
    await mine.asks.record_sending(new_attempt(mine, "c2", attempt=2), ["k"])
    await reply(mine, ["k"], "c2")
    assert (await claim(other, "k")).state == "hit"


@pytest.mark.parametrize(("end", "then"), [(reject, "mine"), (lose_reply, "unknown")])
async def test_a_released_claim_is_free_at_once(store: Store, end, then: str) -> None:  # type: ignore[no-untyped-def]
    mine, other = await store.open("a"), await store.open("b")
    await send(mine, "k", "c1")
    await end(mine, "k", "c1")
    await mine.asks.release(["k"])
    assert (await claim(other, "k")).state == then


async def test_a_silent_owners_claims_are_taken_over(store: Store) -> None:
    dead, heir = await store.open("a"), await store.open("b")
    await claim(dead, "claimed")
    await send(dead, "sending", "c1")
    await send(dead, "accepted", "c2")
    await dead.asks.record_accepted("c2", ["accepted"], "job-7")
    assert (await store.take_over(heir, "claimed")).state == "mine"
    assert (await claim(heir, "sending")).state == "unknown", "one minute is enough for all its claims"
    taken = await claim(heir, "accepted")
    assert (taken.state, taken.remote_id) == ("accepted", "job-7")
    assert taken.attempt is not None
    assert taken.attempt.call_id == "c2"
    for key in ("claimed", "sending", "accepted"):
        assert (await claim(dead, key)).state == "busy", "the new owner has it now"


async def test_a_run_that_lost_its_claim_cannot_send(store: Store) -> None:
    slow, heir = await store.open("a"), await store.open("b")
    await claim(slow, "k")
    await store.take_over(heir, "k")
    await heir.asks.record_sending(new_attempt(heir, "c2"), ["k"])
    with pytest.raises(CallFailed, match="took this request over") as refused:
        await slow.asks.record_sending(new_attempt(slow, "c1"), ["k"])
    assert refused.value.transient
    assert [row["call_id"] for row in slow.attempts.stream_all()] == []


async def test_a_late_reply_is_stored_and_leaves_the_new_owners_claim(store: Store) -> None:
    slow, heir = await store.open("a"), await store.open("b")
    await send(slow, "k", "c1")
    assert (await store.take_over(heir, "k")).state == "unknown"
    await heir.asks.record_sending(new_attempt(heir, "c2"), ["k"])
    await reply(slow, ["k"], "c1", b"late")
    assert find_attempt_row(slow, "c1")["outcome"] == "replied"
    assert find_attempt_row(slow, "c1")["error_kind"] is None, "it was not lost after all"
    assert (await claim(slow, "k")).state == "busy", "the heir's own reply is still to come"
    await reply(heir, ["k"], "c2", b"second")
    found = await claim(slow, "k")
    assert found.attempt is not None
    assert (found.attempt.call_id, found.attempt.reply_body) == ("c2", b"second")


async def test_a_late_reply_is_a_hit_if_the_new_owner_has_not_sent(store: Store) -> None:
    slow, heir = await store.open("a"), await store.open("b")
    await send(slow, "k", "c1")
    assert (await store.take_over(heir, "k")).state == "unknown"
    await reply(slow, ["k"], "c1")
    with pytest.raises(CallFailed):
        await heir.asks.record_sending(new_attempt(heir, "c2"), ["k"])
    found = await claim(heir, "k")
    assert found.attempt is not None
    assert (found.attempt.call_id, found.attempt.cost) == ("c1", None), "to be parsed and paid for"


async def test_a_released_remote_job_can_be_claimed_again(store: Store) -> None:
    run = await store.open()
    await send(run, "k", "c1")
    await run.asks.record_accepted("c1", ["k"], "job-7")
    await run.asks.release(["k"])
    again = await claim(run, "k")
    assert (again.state, again.remote_id) == ("accepted", "job-7")


async def test_an_ask_released_while_sending_is_unknown_to_its_own_run(store: Store) -> None:
    run = await store.open()
    await send(run, "k", "c1")
    await run.asks.release(["k"])
    assert (await claim(run, "k")).state == "unknown"


async def test_a_resumed_run_takes_over_the_claims_of_the_run_before(store: Store) -> None:
    first = await store.open("a")
    await claim(first, "claimed")
    await send(first, "sending", "c1")
    await send(first, "accepted", "c2")
    await first.asks.record_accepted("c2", ["accepted"], "job-7")
    second = await store.open("a")
    states = [(await claim(second, key)).state for key in ("claimed", "sending", "accepted")]
    assert states == ["mine", "unknown", "accepted"]
    assert find_attempt_row(second, "c1")["outcome"] == "unknown"
    assert second.attempts.sum_costs().unknown_max == 2


async def test_recovery_leaves_the_claims_of_other_outs(store: Store) -> None:
    other = await store.open("b")
    await send(other, "k", "c1")
    mine = await store.open("a")
    assert (await claim(mine, "k")).state == "busy"


async def test_release_touches_only_its_owners_claims(store: Store) -> None:
    mine, other = await store.open("a"), await store.open("b")
    await claim(mine, "k")
    await other.asks.release(["k"])
    assert (await claim(other, "k")).state == "busy"
    await mine.asks.release(["k"])
    assert (await claim(other, "k")).state == "mine"


async def test_a_sign_of_life_keeps_held_claims_and_leaves_released_ones(store: Store) -> None:
    mine, other = await store.open("a"), await store.open("b")
    await claim(mine, "held")
    await send(mine, "dropped", "c1")
    await mine.asks.release(["dropped"])
    for _ in range(3):
        assert (await claim(other, "held")).state == "busy"
        store.seconds += LEASE_SECONDS - 1
        await mine.asks.renew(mine.run_id)
    assert (await claim(other, "dropped")).state == "unknown"
    assert (await claim(other, "held")).state == "busy"


@pytest.mark.parametrize("hours", [-2, 0, 2], ids=["behind", "right", "ahead"])
async def test_an_owners_clock_neither_holds_nor_loses_its_claims(store: Store, hours: int) -> None:
    """Its time of day may be wrong or be set while it works: whoever waits counts its own seconds."""
    owner, other = await store.open("a"), await store.open("b")
    await claim(owner, "k", NOW + hours * 3_600_000_000)
    for _ in range(3):
        assert (await claim(other, "k", NOW)).state == "busy"
        store.seconds += LEASE_SECONDS - 1
        await owner.asks.renew(owner.run_id)
    assert (await claim(other, "k", NOW)).state == "busy"
    store.seconds += LEASE_SECONDS
    assert (await claim(other, "k", NOW)).state == "mine", "it is dead, whatever its lease says"


@pytest.mark.parametrize(("lease", "state"), [(-1, "mine"), (30, "busy"), (60, "busy"), (61, "mine"), (7200, "mine")])
async def test_a_lease_of_an_older_program_is_believed_for_a_minute(store: Store, lease: int, state: str) -> None:
    old, other = await store.open("a"), await store.open("b")
    await claim(old, "k", NOW + (lease - LEASE_SECONDS) * 1_000_000)
    old.write_blocking(lambda connection: connection.execute(text("DELETE FROM leases WHERE name LIKE 'claims:%'")))
    assert (await claim(other, "k", NOW)).state == state


@pytest.mark.parametrize("is_in_flight", [False, True])
async def test_a_process_that_stands_still_keeps_what_it_has_sent(store: Store, *, is_in_flight: bool) -> None:
    """Stopped by a signal, it holds OUT's lock: what is in flight is paid for, what is not is taken over."""
    stopped, other = await store.open("a"), await store.open("b")
    lock = OutputLock.acquire(store.root / "a", stopped, stopped.run_id)
    await claim(stopped, "k")
    if is_in_flight:
        await stopped.asks.record_sending(new_attempt(stopped, "c1"), ["k"])
    assert (await store.take_over(other, "k")).state == ("busy" if is_in_flight else "mine")
    if is_in_flight:
        store.seconds += 9 * LEASE_SECONDS
        assert (await claim(other, "k")).state == "unknown", "not for ever"
    lock.release()


@pytest.mark.parametrize("hours", [0, 2])
async def test_a_dead_owner_on_this_machine_holds_nobody(store: Store, hours: int) -> None:
    """Nobody holds the lock of its OUT, so nothing needs to be waited for."""
    dead, other = await store.open("a"), await store.open("b")
    OutputLock.acquire(store.root / "a", dead, dead.run_id).release()
    await claim(dead, "k", NOW + hours * 3_600_000_000)
    assert (await claim(other, "k", NOW)).state == "mine"


async def test_the_lock_of_a_folder_that_is_another_outs_says_nothing(store: Store) -> None:
    owner, other = await store.open("a"), await store.open("b")
    OutputLock.acquire(store.root / "a", owner, owner.run_id).release()
    await claim(owner, "k")
    (store.root / "a" / ".journal" / "out_id").write_text("0" * 32)
    assert (await claim(other, "k")).state == "busy"


async def test_concurrent_claims_of_one_ask_have_one_winner(store: Store) -> None:
    mine, other = await store.open("a"), await store.open("b")
    claims = await asyncio.gather(*(claim(journal, f"k{n}") for n in range(50) for journal in (mine, mine, other)))
    for n in range(50):
        assert sorted(c.state for c in claims[3 * n : 3 * n + 3]) == ["busy", "busy", "mine"]


async def test_one_request_may_contain_many_asks(store: Store) -> None:
    run = await store.open()
    keys = [f"k{n}" for n in range(700)]
    await asyncio.gather(*(claim(run, key) for key in keys))
    await run.asks.record_sending(new_attempt(run, "c1", item_ids=tuple(keys)), keys)
    await reply(run, keys, "c1")
    found = await claim(run, "k650")
    assert found.attempt is not None
    assert found.attempt.request_keys.index("k650") == 650


async def test_asks_of_one_request_are_sent_together_or_not_at_all(store: Store) -> None:
    slow, heir = await store.open("a"), await store.open("b")
    await claim(slow, "k1")
    await claim(slow, "k2")
    await store.take_over(heir, "k2")
    with pytest.raises(CallFailed):
        await slow.asks.record_sending(new_attempt(slow, "c1"), ["k1", "k2"])
    await slow.asks.release(["k1", "k2"])
    assert (await claim(heir, "k1")).state == "mine"
