"""How one operation is spoken: what a new operation is written as.

An operation is a class that turns an Ask into a request and a reply into data, and two typed models that its block of a
provider's YAML is read into: the endpoint's (:class:`OperationConfig`) and a model's (:class:`ModelFacts`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mediamill.tasks.domain import Ask, Usage
from mediamill.tasks.errors import UsageError
from mediamill.tasks.money.meter import Meter
from mediamill.tasks.providers.errors.classify import classify_error
from mediamill.tasks.providers.provider_info import ProviderInfo
from mediamill.tasks.wire import AudioLimits, Parsed, Poll, Problem, Quota, Reply, Request, Wire


class StrictModel(BaseModel):
    """A part of a configuration: a name that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelFacts(StrictModel):
    """What one model can do."""

    def abilities(self) -> tuple[str, ...]:
        """What it can do in a few words, for a list of models."""
        return ()


FactsT = TypeVar("FactsT", bound=ModelFacts)


class OperationConfig(StrictModel, Generic[FactsT]):
    """One of a provider's endpoints: where it is, what models it has, and how fast to begin."""

    adapter: str | None = Field(
        default=None, description="module:Class that speaks it, where it differs in more than the fields here"
    )
    path: str = Field(description="below the API path")
    default_model: str | None = None
    rpm: float | None = Field(default=None, description="requests a minute")
    tpm: float | None = Field(default=None, description="tokens a minute")
    audio_seconds_per_hour: float | None = None
    concurrency: int = Field(default=64, description="most requests in flight")
    start: int | None = Field(default=None, description="requests in flight at first; null for `concurrency`")
    models: Mapping[str, FactsT] = Field(default_factory=dict)
    any_model: FactsT | None = Field(default=None, description="what to expect of a model not listed")

    @model_validator(mode="after")
    def _default_is_listed(self) -> OperationConfig[FactsT]:
        if self.default_model is not None and self.default_model not in self.models:
            raise ValueError(f"default_model {self.default_model!r} is not among its models")
        return self


ConfigT = TypeVar("ConfigT", bound=OperationConfig[Any])


class Operation(ABC, Generic[ConfigT, FactsT]):
    """One operation of one provider. A subclass names its two models and answers ``wire``, ``request`` and ``parse``.

    Attributes:
        config_model: what its block of a provider's YAML is read into.
        facts_model: what the block says of each model.
        meter: what prices it; None where it has no known price.
        priced_as: the operation whose prices hold where a price list has none for this one; None for no other.
        provider: whose operation it is.
        name: as Asks, prices and the YAML name it.
        config: what the YAML says of it.
    """

    config_model: ClassVar[type[OperationConfig[Any]]]
    facts_model: ClassVar[type[ModelFacts]]
    meter: ClassVar[Meter | None] = None
    priced_as: ClassVar[str | None] = None

    def __init__(self, provider: ProviderInfo, name: str, config: ConfigT) -> None:
        self.provider = provider
        self.name = name
        self.config = config

    def model_facts(self, model: str) -> FactsT:
        """What a model can do; of one that is not listed, ``any_model`` or what the first can."""
        listed = self.config.models
        if model in listed:
            return listed[model]  # type: ignore[no-any-return]
        known = self.config.any_model or next(iter(listed.values()), None)
        return known or self.facts_model()  # type: ignore[return-value]

    def choose_model(self, requested: str | None, *, known_elsewhere: bool) -> str:
        """The model asked for, or the default.

        Args:
            requested: None for the default.
            known_elsewhere: the provider lists the model for another operation.

        Raises:
            UsageError: when none is asked for and there is no default.
        """
        chosen = requested or self.config.default_model
        if chosen is None:
            raise UsageError(f"{self.provider.name} needs a model", hint="name it with --model")
        return chosen

    def quota(self, model: str) -> Quota:
        """Rates and concurrency to begin with."""
        config = self.config
        return Quota(config.rpm, config.tpm, config.audio_seconds_per_hour, config.concurrency, config.start)

    @abstractmethod
    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the wire's own parameters.

        Raises:
            BadInput: when the model cannot do what is asked.
        """

    @abstractmethod
    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The request for one or more Asks."""

    @abstractmethod
    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """One Parsed per Ask, in order.

        Raises:
            BadReply: when the reply is not what the operation returns.
        """

    def classify(self, reply: Reply) -> Problem | None:
        """What an error reply means; None for an answer."""
        return classify_error(self.provider, reply)

    @property
    def path(self) -> str:
        """The operation's path, with the provider's API path before it."""
        return self.provider.endpoint.api + self.config.path


class JobOperation(Operation[ConfigT, FactsT]):
    """An operation whose request makes a job that is polled for."""

    @abstractmethod
    def parse_job_id(self, reply: Reply) -> str:
        """The remote id in the reply to a create request.

        Raises:
            BadReply: when there is none.
        """

    @abstractmethod
    def build_poll_request(self, wire: Wire, remote_id: str) -> Request:
        """The request that asks how a job is doing."""

    @abstractmethod
    def parse_poll(self, reply: Reply) -> Poll:
        """What the poll's reply tells."""


class AudioOperation(Operation[ConfigT, FactsT]):
    """An operation that is sent recordings."""

    @abstractmethod
    def audio_limits(self, model: str, transport: str | None) -> AudioLimits:
        """What audio its endpoint takes over a transport; None for the model's own.

        Raises:
            BadInput: when it cannot be reached so.
        """


def parsed(reply: Reply, data: Any, usage: Usage) -> Parsed:
    """One Ask's share of a reply; the built-in server says in its headers which engine answered."""
    return Parsed(
        data,
        usage,
        engine=reply.headers.get("x-mediamill-engine"),
        simulated=reply.headers.get("x-mediamill-simulated") == "true",
    )
