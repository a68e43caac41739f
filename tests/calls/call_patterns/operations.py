"""The operations of the call patterns, as adapters that provider.yaml names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from mediamill.tasks.domain import Ask, Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.providers.operations.base import JobOperation, ModelFacts, Operation, OperationConfig
from mediamill.tasks.wire import Batching, Parsed, Poll, Problem, Reply, Request, Verdict, Wire

PROVIDER = Path(__file__).with_name("provider.yaml")


class PatternConfig(OperationConfig[ModelFacts]):
    """The fields that every endpoint has."""


class PieceOperation(Operation[PatternConfig, ModelFacts]):
    """Calls :mod:`tests.calls.call_patterns.server`, which replies with a text for each name."""

    config_model = PatternConfig
    facts_model = ModelFacts

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint, under a name instead of its port: a run against a restarted server finds its answers."""
        return Wire("shapes:1", self.path, dict(ask.params), timeout=20, **self.wire_options())

    def wire_options(self) -> dict[str, Any]:
        """The fields of the Wire that say how requests are shared and repeated."""
        return {}

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The names of the wanted texts."""
        return Request("POST", wire.path, json={"names": [_text_name(a) for a in asks]})

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """One text for each Ask."""
        try:
            texts = orjson.loads(reply.body)["texts"]
        except (ValueError, KeyError):
            raise BadReply("no texts in the reply") from None
        return [Parsed({"text": text}, Usage(requests=1)) for text in texts]

    def classify(self, reply: Reply) -> Problem | None:
        """Only statuses count here."""
        if reply.status < 300:
            return None
        verdict: Verdict = "retry" if reply.status in (429, 500, 503) else "fail"
        return Problem(verdict, f"http_{reply.status}", f"status {reply.status}")


class BatchedOperation(PieceOperation):
    """Many Asks in one request."""

    def wire_options(self) -> dict[str, Any]:
        """Eight at most."""
        return {"batching": Batching("packed", max_asks=8)}


class PolledJobOperation(PieceOperation, JobOperation[PatternConfig, ModelFacts]):
    """A job that is created once and polled for."""

    def wire_options(self) -> dict[str, Any]:
        """A second creation would be a second purchase."""
        return {"repeatable": False, "job": True}

    def parse_job_id(self, reply: Reply) -> str:
        """The job's id."""
        return str(orjson.loads(reply.body)["id"])

    def build_poll_request(self, wire: Wire, remote_id: str) -> Request:
        """The request for the job's state."""
        return Request("GET", f"{wire.path}/{remote_id}")

    def parse_poll(self, reply: Reply) -> Poll:
        """Done once its texts are there."""
        state = orjson.loads(reply.body)["status"]
        return Poll("done" if state == "completed" else "failed" if state == "failed" else "pending", wait=0.02)


def _text_name(ask: Ask) -> str:
    return f"{ask.inputs[0].sha256[:16]}-{ask.inputs[0].start}-{ask.sample}"
