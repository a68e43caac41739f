"""How one operation is spoken over HTTP; what a new operation of a provider is written as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mediamill.tasks.domain import Ask
from mediamill.tasks.providers.verdicts import judge
from mediamill.tasks.wire import Parsed, Poll, Problem, Reply, Request, Wire

if TYPE_CHECKING:
    from mediamill.tasks.providers.config import Operation
    from mediamill.tasks.providers.hosted import HostedProvider


class Shape:
    """One operation of one provider. Subclasses answer ``wire``, ``request`` and ``parse``, and jobs the rest.

    Attributes:
        provider: whose operation it is.
        operation: its name.
        facts: what its configuration says of the operation.
    """

    def __init__(self, provider: HostedProvider, operation: str) -> None:
        self.provider = provider
        self.operation = operation
        self.facts: Operation = provider.facts(operation)

    def wire(self, ask: Ask) -> Wire:
        """The endpoint and the wire's own parameters.

        Raises:
            BadInput: when the model cannot do what is asked.
        """
        raise NotImplementedError

    def request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The request for one or more Asks."""
        raise NotImplementedError

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """One Parsed per Ask, in order.

        Raises:
            BadReply: when the reply is not what the operation returns.
        """
        raise NotImplementedError

    def classify(self, reply: Reply) -> Problem | None:
        """What an error reply means; None for an answer."""
        return judge(self.provider.name, self.provider.endpoint.key_env, reply)

    def accepted(self, reply: Reply) -> str:
        """The remote id in the reply to a create request, for operations that are polled for."""
        raise NotImplementedError

    def poll(self, wire: Wire, remote_id: str) -> Request:
        """The request that asks how a job is doing."""
        raise NotImplementedError

    def polled(self, reply: Reply) -> Poll:
        """What the poll's reply tells."""
        raise NotImplementedError

    @property
    def path(self) -> str:
        """The operation's path, with the provider's API path before it."""
        return self.provider.endpoint.api + self.facts.path
