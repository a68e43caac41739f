"""A provider for the test shapes: three endpoints, a price of a cent a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlsplit

import orjson

from mediamill.tasks.domain import Ask, Usage
from mediamill.tasks.errors import BadReply
from mediamill.tasks.wire import (
    AudioLimits,
    Billing,
    Endpoint,
    Pack,
    Parsed,
    Poll,
    Problem,
    Quota,
    RateLimits,
    Reply,
    Request,
    Verdict,
    Wire,
)

T = TypeVar("T")
_PATHS = {"piece": "/v1/piece", "packed": "/v1/packed", "job": "/v1/jobs"}


class ShapesProvider:
    """Speaks to :mod:`tests.shapes.server`."""

    name = "shapes"

    def __init__(self, base_url: str | None) -> None:
        parts = urlsplit(base_url or "")
        self.billing = Billing()
        self.endpoint = Endpoint(f"{parts.scheme}://{parts.netloc}", "/v1", None)

    def model(self, operation: str, asked: str | None) -> str:
        """The only model there is."""
        return asked or "shape-1"

    def operation_config(self, operation: str, kind: type[T]) -> T:
        """Nothing is said of any."""
        return kind()

    def model_facts(self, operation: str, model: str, kind: type[T]) -> T:
        """Nothing is said of any."""
        return kind()

    def quota(self, operation: str, model: str) -> Quota:
        """Sixteen requests in flight."""
        return Quota(concurrency=16)

    def wire(self, ask: Ask) -> Wire:
        """The endpoint by operation."""
        return Wire(
            # a name instead of the port, so that a rerun against a restarted server finds its answers
            origin="shapes:1",
            path=_PATHS[ask.operation],
            params=dict(ask.params),
            repeatable=ask.operation != "job",
            job=ask.operation == "job",
            pack=Pack("packed", max_asks=8) if ask.operation == "packed" else None,
            deadline=20,
        )

    def request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The names of what is asked."""
        return Request("POST", wire.path, json={"names": [_name(a) for a in asks]})

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """One text for each Ask."""
        try:
            texts = orjson.loads(reply.body)["texts"]
        except (ValueError, KeyError):
            raise BadReply("no texts in the reply") from None
        return [Parsed({"text": text}, Usage(requests=1)) for text in texts]

    def classify(self, reply: Reply, operation: str = "") -> Problem | None:
        """Only statuses count here."""
        if reply.status < 300:
            return None
        verdict: Verdict = "retry" if reply.status in (429, 500, 503) else "fail"
        return Problem(verdict, f"http_{reply.status}", f"status {reply.status}")

    def limits(self, reply: Reply) -> RateLimits:
        """None are told."""
        return RateLimits()

    def audio_limits(self, operation: str, model: str, transport: str | None = None) -> AudioLimits:
        """No audio is sent."""
        return AudioLimits(frozenset({"wav"}), 2**20)

    def accepted(self, reply: Reply, operation: str) -> str:
        """The job's id."""
        return str(orjson.loads(reply.body)["id"])

    def poll(self, wire: Wire, remote_id: str, operation: str) -> Request:
        """A look at the job."""
        return Request("GET", f"{wire.path}/{remote_id}")

    def polled(self, reply: Reply, operation: str) -> Poll:
        """Done once its texts are there."""
        state = orjson.loads(reply.body)["status"]
        return Poll("done" if state == "completed" else "failed" if state == "failed" else "pending", wait=0.02)


def _name(ask: Ask) -> str:
    return f"{ask.inputs[0].sha256[:16]}-{ask.inputs[0].start}-{ask.sample}"
