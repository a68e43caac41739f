"""Claims and states of Asks, seen by two journals on one file."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from tasks.errors import StorageError
from tasks.item import Cost
from tasks.journal.journal import Journal
from tests.journal.opened import LATER, NOW, attempt, begin, lose, opened, refuse, reply

Two = tuple[Journal, Journal]


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    """Two runs of two OUTs that share a journal."""
    shared = tmp_path / "shared"
    journals = await opened(tmp_path / "a", "run-a", shared), await opened(tmp_path / "b", "run-b", shared)
    yield journals
    for journal in journals:
        journal.close()


async def state(journal: Journal, key: str, now: int = NOW) -> str:
    """What a claim brings."""
    return (await journal.asks.claim(key, owner=journal.run_id, now=now)).state


async def test_of_all_that_claim_one_gets_it(two: Two) -> None:
    claims = await asyncio.gather(*(state(two[n % 2], "k") for n in range(40)))
    assert Counter(claims) == {"mine": 1, "busy": 39}


async def test_a_claim_given_back_is_free_again(two: Two) -> None:
    first, second = two
    assert await state(first, "k") == "mine"
    await first.asks.release(["k"])
    assert await state(second, "k") == "mine"


async def test_an_answer_is_everybodys(two: Two) -> None:
    first, second = two
    await begin(first, "k", "c1")
    await reply(first, "k", "c1", b'{"text":"x"}', **{"content-type": "application/json", "set-cookie": "secret"})
    await first.asks.settle("c1", {"audio_seconds": "1.5"}, Cost(Decimal("0.25"), "metered", "a list"))
    claim = await second.asks.claim("k", owner="run-b", now=NOW)
    assert claim.state == "hit"
    assert claim.attempt is not None
    assert (claim.attempt.reply_status, claim.attempt.reply_body) == (200, b'{"text":"x"}')
    assert claim.attempt.reply_headers == {"content-type": "application/json"}
    assert claim.attempt.cost == Cost(Decimal("0.25"), "metered", "a list")
    assert (claim.attempt.out_id, claim.attempt.cost_max) == (first.out_id, Decimal("0.5"))


async def test_a_reply_that_was_never_parsed_has_no_cost(two: Two) -> None:
    await begin(two[0], "k", "c1")
    await reply(two[0], "k", "c1")
    claim = await two[1].asks.claim("k", owner="run-b", now=NOW)
    assert claim.attempt is not None
    assert claim.attempt.cost is None


async def test_large_replies_come_back_whole_and_damage_is_seen(two: Two, tmp_path: Path) -> None:
    body = bytes(range(256)) * 1000
    await begin(two[0], "k", "c1")
    await reply(two[0], "k", "c1", body)
    claim = await two[1].asks.claim("k", owner="run-b", now=NOW)
    assert claim.attempt is not None
    assert claim.attempt.reply_body == body
    (blob,) = [p for p in (tmp_path / "shared" / "blobs").rglob("*") if p.is_file()]
    blob.write_bytes(body[:-1])
    with pytest.raises(StorageError, match="damaged"):
        await two[1].asks.claim("k", owner="run-b", now=NOW)
    blob.unlink()
    with pytest.raises(StorageError):
        await two[1].asks.claim("k", owner="run-b", now=NOW)


async def test_a_dead_owners_claim_is_inherited(two: Two) -> None:
    assert await state(two[0], "k") == "mine"
    assert await state(two[1], "k") == "busy"
    assert await state(two[1], "k", LATER) == "mine"
    assert await state(two[0], "k", LATER) == "busy"


async def test_what_a_dead_owner_was_sending_is_unknown(two: Two) -> None:
    first, second = two
    await begin(first, "k", "c1")
    assert await state(second, "k", LATER) == "unknown"
    (row,) = first.attempts.all()
    assert (row["outcome"], row["error_kind"], row["cost_usd"]) == ("unknown", "crash", None)
    assert first.attempts.spent().unknown_max == Decimal("0.5")


async def test_a_renewed_lease_keeps_the_claim(two: Two) -> None:
    await begin(two[0], "k", "c1")
    await two[0].asks.renew("run-a")  # now is far later than NOW + the lease
    assert await state(two[1], "k", LATER) == "busy"


async def test_a_new_run_declares_the_old_one_dead(tmp_path: Path) -> None:
    old = await opened(tmp_path, "run-1")
    assert await state(old, "claimed") == "mine"
    await begin(old, "sending", "c1")
    await begin(old, "replied", "c2")
    await reply(old, "replied", "c2")
    old.close()
    new = await opened(tmp_path, "run-2")
    await new.asks.recover()
    assert [await state(new, k) for k in ("claimed", "sending", "replied")] == ["mine", "unknown", "hit"]
    assert {r["call_id"]: r["outcome"] for r in new.attempts.all()} == {"c1": "unknown", "c2": "replied"}
    new.close()


async def test_recovery_leaves_other_outs_alone(two: Two) -> None:
    await begin(two[0], "k", "c1")
    await two[1].asks.recover()
    assert await state(two[1], "k") == "busy"


async def test_an_unknown_stays_unknown_until_it_is_sent_again(two: Two) -> None:
    first, second = two
    await begin(first, "k", "c1")
    await lose(first, "k", "c1")
    assert await state(second, "k") == "busy", "its owner may be about to try again"
    await first.asks.release(["k"])
    for journal in (first, second, first):
        assert await state(journal, "k") == "unknown"
        await journal.asks.release(["k"])
    assert await state(second, "k") == "unknown"
    assert await state(first, "k", LATER) == "unknown", "nor does a crash before sending make it new"
    await first.asks.release(["k"])
    await begin(second, "k", "c2")
    await reply(second, "k", "c2")
    assert await state(first, "k") == "hit"


async def test_a_refusal_can_be_claimed_again(two: Two) -> None:
    await begin(two[0], "k", "c1")
    await refuse(two[0], "k", "c1")
    assert await state(two[1], "k") == "busy", "its owner may be about to try again"
    await two[0].asks.release(["k"])
    assert await state(two[1], "k") == "mine"
    assert two[0].attempts.spent().known == 0
    assert two[0].attempts.spent().unknowns == 0


async def test_an_accepted_job_keeps_its_id_through_a_crash(tmp_path: Path) -> None:
    old = await opened(tmp_path, "run-1")
    await begin(old, "k", "c1")
    await old.asks.accepted("c1", ["k"], "job-7")
    assert await state(old, "k") == "busy"
    old.close()
    for run_id in ("run-2", "run-3"):
        new = await opened(tmp_path, run_id)
        await new.asks.recover()
        claim = await new.asks.claim("k", owner=run_id, now=NOW)
        assert (claim.state, claim.remote_id) == ("accepted", "job-7")
        assert claim.attempt is not None
        assert claim.attempt.call_id == "c1"
        if run_id == "run-2":
            await new.asks.release(["k"])
        else:
            await reply(new, "k", "c1", b"done")
            assert await state(new, "k") == "hit"
        new.close()


async def test_asks_that_share_a_request_move_together(two: Two) -> None:
    keys = ["k1", "k2", "k3"]
    for key in keys:
        assert await state(two[0], key) == "mine"
    await two[0].asks.sending(attempt(two[0], "c1"), keys)
    await two[0].asks.replied("c1", keys, status=200, headers={}, body=b"{}", latency_ms=1, request_id=None)
    assert [await state(two[1], key) for key in keys] == ["hit"] * 3
    (row,) = two[0].attempts.all()
    assert row["request_keys"] == keys


async def test_the_bill_adds_up_exactly(tmp_path: Path) -> None:
    journal = await opened(tmp_path, "run-1")
    for n in range(30):
        await begin(journal, f"k{n}", f"c{n}")
        await reply(journal, f"k{n}", f"c{n}")
        await journal.asks.settle(f"c{n}", {}, Cost(Decimal("0.1"), "metered"))
    await begin(journal, "lost", "c-lost")
    await lose(journal, "lost", "c-lost")
    assert await state(journal, "unstated") == "mine"
    await journal.asks.sending(attempt(journal, "c-unstated", None), ["unstated"])
    spent = journal.attempts.spent()
    assert (spent.known, spent.unknown_max, spent.unknowns, spent.unstated) == (Decimal(3), Decimal("0.5"), 2, 1)
    assert journal.attempts.spent("another run").known == 0
    journal.close()
