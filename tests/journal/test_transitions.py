"""The states of Asks against a model of the protocol: two runs on one database, any order, any crash."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mediamill.tasks.domain import Cost
from mediamill.tasks.errors import CallFailed
from mediamill.tasks.journal.claim_owners import LEASE_SECONDS
from tests.helpers.hypothesis_profile import count_examples
from tests.journal import stores
from tests.journal.stores import Store, new_attempt

T = TypeVar("T")
KEYS = st.sampled_from(["k0", "k1"])
OUTS = st.sampled_from(["a", "b"])
HELD_STATES = ("claimed", "sending", "accepted")


@dataclass
class ExpectedAsk:
    """The state of one Ask by the protocol."""

    state: str = "free"
    before: str = "free"
    owner: str = ""
    is_held: bool = False
    call: str = ""


@dataclass
class ExpectedAttempt:
    """The state of one attempt by the protocol."""

    key: str
    out: str
    run: str
    outcome: str = "sending"
    ended: bool = False
    cost: Decimal | None = None


class JournalModel(RuleBasedStateMachine):
    """A model of the protocol: every claim has the result it expects, and the bill always adds up."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        self.store = Store(root, str(root / "shared"))
        self.asks = {key: ExpectedAsk() for key in ("k0", "k1")}
        self.calls: dict[str, ExpectedAttempt] = {}
        self.silent_since: dict[tuple[str, str], float] = {}
        """Since when a run has seen no sign of life of another, by both their ids."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def begin(self) -> None:
        self.journals = {out: self.run(self.store.open(out)) for out in ("a", "b")}

    @rule(out=OUTS, key=KEYS)
    def claim(self, out: str, key: str) -> None:
        journal, ask = self.journals[out], self.asks[key]
        expected, found = self.expected_state(ask, journal.run_id), self.run(stores.claim(journal, key))
        assert found.state == expected
        if expected == "hit":
            assert found.attempt is not None
            assert found.attempt.reply_body == ask.call.encode(), "the reply is the one that answered"
        if expected in ("mine", "unknown", "accepted"):
            if ask.state == "sending" and self.calls[ask.call].outcome == "sending":
                self.calls[ask.call].outcome = "unknown"
            ask.before = {"mine": self.state_before(ask), "unknown": "unknown", "accepted": "accepted"}[expected]
            ask.state = "accepted" if expected == "accepted" else "claimed"
            ask.owner, ask.is_held = journal.run_id, True

    @rule(out=OUTS, key=KEYS)
    def send(self, out: str, key: str) -> None:
        journal, ask, call_id = self.journals[out], self.asks[key], f"c{len(self.calls)}"
        attempt = new_attempt(journal, call_id)
        if (ask.state, ask.owner) != ("claimed", journal.run_id):
            try:
                self.run(journal.asks.record_sending(attempt, [key]))
            except CallFailed:
                return
            raise AssertionError("sent without a claim")
        self.run(journal.asks.record_sending(attempt, [key]))
        ask.state, ask.call = "sending", call_id
        self.calls[call_id] = ExpectedAttempt(key, out, journal.run_id)

    @rule(out=OUTS, key=KEYS, seconds=st.sampled_from([0, 61]))
    def claim_and_send(self, out: str, key: str, seconds: int) -> None:
        """Claim and send at once, now or after the current owner has been silent."""
        self.wait(seconds)
        self.claim(out, key)
        self.send(out, key)

    @precondition(lambda self: any(not call.ended for call in self.calls.values()))
    @rule(data=st.data(), outcome=st.sampled_from(["replied", "rejected", "unknown", "accepted"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        call_id = data.draw(st.sampled_from([name for name, call in self.calls.items() if not call.ended]))
        call = self.calls[call_id]
        journal, ask = self.journals[call.out], self.asks[call.key]
        call.ended = outcome != "accepted"
        call.outcome = outcome
        current = ask.call == call_id
        if outcome == "replied":
            self.run(stores.reply(journal, [call.key], call_id, call_id.encode()))
        elif outcome == "rejected":
            call.cost = Decimal(0)
            self.run(stores.reject(journal, call.key, call_id))
        elif outcome == "unknown":
            self.run(stores.lose_reply(journal, call.key, call_id))
        else:
            self.run(journal.asks.record_accepted(call_id, [call.key], f"job-{call_id}"))
        if current:
            ask.state = {"replied": "replied", "accepted": "accepted"}.get(outcome, "claimed")
            ask.before = outcome if outcome in ("rejected", "unknown") else "free"

    @precondition(lambda self: any(call.outcome == "replied" for call in self.calls.values()))
    @rule(data=st.data(), cents=st.integers(0, 99), out=OUTS)
    def settle(self, data: st.DataObject, cents: int, out: str) -> None:
        call_id = data.draw(st.sampled_from([n for n, call in self.calls.items() if call.outcome == "replied"]))
        self.calls[call_id].cost = Decimal(cents) / 100
        self.run(self.journals[out].asks.record_cost(call_id, {}, Cost(Decimal(cents) / 100, "metered")))

    @rule(out=OUTS, key=KEYS)
    def release(self, out: str, key: str) -> None:
        journal, ask = self.journals[out], self.asks[key]
        self.run(journal.asks.release([key]))
        if ask.owner == journal.run_id and ask.state in HELD_STATES:
            ask.is_held = False
            if ask.state == "claimed":
                ask.state = ask.before

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def wait(self, seconds: int) -> None:
        self.store.seconds += seconds

    @rule(out=OUTS)
    def give_sign_of_life(self, out: str) -> None:
        run_id = self.journals[out].run_id
        self.run(self.journals[out].asks.renew(run_id))
        self.silent_since = {pair: since for pair, since in self.silent_since.items() if pair[1] != run_id}

    @rule(out=OUTS)
    def crash(self, out: str) -> None:
        """The process ends and another continues OUT. Its claims end, at once."""
        dead_run = self.journals[out].run_id
        self.journals[out].close()
        self.journals[out] = self.run(self.store.open(out))
        for ask in self.asks.values():
            if ask.owner == dead_run and ask.state in HELD_STATES:
                ask.is_held = False
                ask.state = {"claimed": ask.before, "sending": "unknown"}.get(ask.state, ask.state)
        for call in self.calls.values():
            if call.out == out:
                call.ended = True
                call.outcome = "unknown" if call.outcome == "sending" else call.outcome

    @invariant()
    def check_costs_and_outcomes(self) -> None:
        for out, journal in getattr(self, "journals", {}).items():
            calls = [call for call in self.calls.values() if call.out == out]
            spent = journal.attempts.sum_costs()
            assert spent.known == sum((c.cost for c in calls if c.cost is not None), Decimal(0))
            assert spent.unknown_max == spent.unknowns == sum(1 for c in calls if c.cost is None)
            outcomes = {row["call_id"]: row["outcome"] for row in journal.attempts.stream_all()}
            assert outcomes == {name: call.outcome for name, call in self.calls.items() if call.out == out}

    @staticmethod
    def state_before(ask: ExpectedAsk) -> str:
        return ask.before if ask.state == "claimed" else ask.state

    def expected_state(self, ask: ExpectedAsk, run_id: str) -> str:
        if ask.state == "replied":
            return "hit"
        if ask.state in HELD_STATES and ask.is_held:
            since = self.silent_since.setdefault((run_id, ask.owner), self.store.seconds)
            if ask.owner == run_id or self.store.seconds - since < LEASE_SECONDS:
                return "busy"
        base = "unknown" if ask.state == "sending" else self.state_before(ask)
        return base if base in ("unknown", "accepted") else "mine"

    def teardown(self) -> None:
        self.store.close()
        self.loop.close()
        self.folder.cleanup()


TestStates = JournalModel.TestCase
TestStates.settings = settings(
    max_examples=count_examples(20), stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
