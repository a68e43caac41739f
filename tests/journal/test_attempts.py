"""The bill: every attempt once, exact sums, and unknown costs never counted as zero. Caches and blobs."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediamill.tasks.domain import Cost
from mediamill.tasks.errors import StorageError
from mediamill.tasks.journal.attempts import Spending
from mediamill.tasks.journal.blobs import BlobStore
from mediamill.tasks.journal.caches import LearnedLimits
from mediamill.tasks.journal.json_codec import path_to_text, text_to_path
from tests.journal.stores import Store, claim, find_attempt_row, lose_reply, reject, reply, send


async def test_known_and_unknown_costs_are_summed_separately(store: Store) -> None:
    run = await store.open()
    ceiling_usd = Decimal("0.30")
    for number, ceiling in enumerate([ceiling_usd, ceiling_usd, ceiling_usd, ceiling_usd, None, ceiling_usd]):
        await send(run, f"k{number}", f"c{number}", cost_max=ceiling)
    await reply(run, ["k0"], "c0")
    await run.asks.record_cost("c0", {}, Cost(Decimal("0.1"), "metered"))
    await reply(run, ["k1"], "c1")
    await run.asks.record_cost("c1", {}, Cost(None, "unknown"))
    await reject(run, "k2", "c2")
    await lose_reply(run, "k3", "c3")
    await reply(run, ["k4"], "c4")
    assert run.attempts.sum_costs() == Spending(Decimal("0.1"), Decimal("0.90"), unknowns=4, unstated=1)


async def test_an_unstated_attempt_counts_for_the_run_that_sent_or_ended_it(store: Store) -> None:
    first = await store.open()
    for number, ceiling in enumerate([None, None, Decimal(1)]):
        await send(first, f"k{number}", f"c{number}", cost_max=ceiling)
    assert first.attempts.count_unstated(first.run_id) == 2
    await first.asks.record_accepted("c0", ["k0"], "job-1")
    second = await store.open()
    assert second.attempts.count_unstated(second.run_id) == 1, "the outcome of c1 is not known"
    await reply(second, ["k0"], "c0")
    await second.asks.record_cost("c0", {}, Cost(None, "unknown"))
    assert second.attempts.count_unstated(second.run_id) == 2
    await second.runs.finish("done", {})
    third = await store.open()
    assert third.attempts.count_unstated(third.run_id) == 0


async def test_costs_are_summed_exactly(store: Store) -> None:
    run = await store.open()
    for number in range(30):
        await send(run, f"k{number}", f"c{number}")
        await reply(run, [f"k{number}"], f"c{number}")
        await run.asks.record_cost(f"c{number}", {}, Cost(Decimal("0.1") + Decimal(number).scaleb(-12), "metered"))
    assert run.attempts.sum_costs().known == Decimal("3.000000000435")


async def test_an_attempt_has_its_usage_and_cost_and_no_secret_header(store: Store) -> None:
    run = await store.open()
    await send(run, "k", "c1")
    await reply(run, ["k"], "c1")
    await run.asks.record_cost("c1", {"audio_seconds": "2.5"}, Cost(Decimal("0.01"), "billed", "prices.csv"))
    row = find_attempt_row(run, "c1")
    expected = {
        "run_id": run.run_id,
        "outcome": "replied",
        "http_status": 200,
        "usage": {"audio_seconds": "2.5"},
        "cost_usd": "0.01",
        "cost_max_usd": "1",
        "cost_basis": "billed",
        "price_source": "prices.csv",
        "request_id": "req-1",
        "request_keys": ["k"],
        "wait_ms": 3,
        "latency_ms": 12,
    }
    assert row | expected == row
    claim_result = await claim(run, "k")
    assert claim_result.attempt is not None
    assert "SECRET" not in repr(claim_result.attempt.reply_headers)


async def test_a_rejected_attempt_is_free_and_has_its_error(store: Store) -> None:
    run = await store.open()
    await send(run, "k", "c1")
    await reject(run, "k", "c1")
    row = find_attempt_row(run, "c1")
    assert (row["cost_usd"], row["cost_basis"], row["error_kind"], row["http_status"]) == (
        "0",
        "free",
        "rate_limit",
        429,
    )


async def test_a_run_is_published_again_when_an_attempt_changes(store: Store) -> None:
    first = await store.open()
    await send(first, "k", "c1")
    await reply(first, ["k"], "c1")
    assert first.attempts.find_runs_to_publish() == [first.run_id]
    assert [row["call_id"] for row in first.attempts.stream_run(first.run_id)] == ["c1"]
    await first.runs.finish("done", {})
    second = await store.open()
    assert second.attempts.find_runs_to_publish() == []
    await second.asks.record_cost("c1", {}, Cost(Decimal(1), "metered"))
    assert second.attempts.find_runs_to_publish() == [first.run_id], "its bill has changed"


async def test_an_attempt_changed_by_another_out_is_published_by_its_own(store: Store) -> None:
    dead, heir = await store.open("a"), await store.open("b")
    await send(dead, "lost", "c1")
    await send(dead, "unparsed", "c2")
    await reply(dead, ["unparsed"], "c2")
    await dead.runs.finish("done", {})
    assert (await store.take_over(heir, "lost")).state == "unknown"
    await heir.asks.record_cost("c2", {}, Cost(Decimal(1), "metered"))
    assert heir.attempts.find_runs_to_publish() == [], "it sent neither"
    assert heir.attempts.sum_costs() == Spending()
    resumed = await store.open("a")
    assert resumed.attempts.find_runs_to_publish() == [dead.run_id]
    outcomes = {row["call_id"]: row["outcome"] for row in resumed.attempts.stream_run(dead.run_id)}
    assert outcomes == {"c1": "unknown", "c2": "replied"}
    await resumed.runs.finish("done", {})
    assert (await store.open("a")).attempts.find_runs_to_publish() == [], "they are published only once"


async def test_the_last_run_has_its_end_state(store: Store) -> None:
    first = await store.open()
    last = first.runs.load_last()
    assert last is not None
    assert last["finished_at"] is None
    second = await store.open()
    await second.runs.finish("failures", {"failed": 1})
    last = second.runs.load_last()
    assert last is not None
    assert (last["run_id"], last["state"]) == (second.run_id, "failures")


async def test_a_file_hash_is_valid_until_the_file_changes(store: Store) -> None:
    run = await store.open()
    for path in ("/a/b.wav", "/a/\udcff.wav"):
        assert await run.file_hashes.find_hash(path, 1, 2, 3) is None
        await run.file_hashes.store_hash(path, 1, 2, 3, "ab" * 32)
        await run.file_hashes.store_hash(path, 1, 2, 4, "cd" * 32)
        assert await run.file_hashes.find_hash(path, 1, 2, 4) == "cd" * 32
        assert await run.file_hashes.find_hash(path, 1, 2, 3) is None


async def test_learned_limits_are_shared_between_outs(store: Store) -> None:
    run = await store.open()
    assert run.learned_limits.load("p m") is None
    await run.learned_limits.store("p m", {"rps": 1.5})
    await run.learned_limits.store("p m", {"rps": 2.5})
    stored = (await store.open("b")).learned_limits.load("p m")
    assert stored is not None
    state, seconds_ago = stored
    assert state == {"rps": 2.5}
    assert 0 <= seconds_ago < 60


async def test_learned_limits_have_an_age_and_none_is_believed_from_the_future(store: Store) -> None:
    run = await store.open()
    now = 1000.0
    limits = LearnedLimits(run, lambda: now)
    await limits.store("p m", {"rps": 1.5})
    now = 1500.0
    assert limits.load("p m") == ({"rps": 1.5}, 500.0)
    now = 900.0
    assert limits.load("p m") is None


def test_a_blob_is_stored_under_its_sha256(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    name = blobs.put(b"reply")
    assert name == hashlib.sha256(b"reply").hexdigest()
    assert blobs.put(b"reply") == name
    assert blobs.get(name) == b"reply"
    files = [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert [path.relative_to(tmp_path / "blobs").as_posix() for path in files] == [f"{name[:2]}/{name[2:4]}/{name}"]


def test_a_damaged_blob_is_an_error_and_a_torn_one_is_rewritten(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    name = blobs.put(b"reply")
    path = next(path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(b"other")
    with pytest.raises(StorageError, match="damaged"):
        blobs.get(name)
    path.write_bytes(b"re")
    assert blobs.put(b"reply") == name, "a torn one is written again"
    assert blobs.get(name) == b"reply"
    path.unlink()
    with pytest.raises(StorageError, match="does not exist"):
        blobs.get(name)


async def test_a_reply_that_cannot_be_stored_is_a_storage_error(sqlite_store: Store) -> None:
    run = await sqlite_store.open()
    await send(run, "k", "c1")
    (sqlite_store.root / "shared" / "blobs").write_text("in the way")
    with pytest.raises(StorageError, match="blobs"):
        await reply(run, ["k"], "c1", b"x" * 100_000)


@given(st.binary(min_size=1).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_any_path_round_trips_as_text(path: str) -> None:
    kept = path_to_text(f"/{path}")
    assert text_to_path(kept.encode().decode()) == f"/{path}"
