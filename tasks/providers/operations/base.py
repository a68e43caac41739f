"""The base classes of operations.

An operation is a class that turns an Ask into a request and a reply into data. Its block of a provider's YAML is read
into two typed models: the endpoint's (:class:`OperationConfig`) and that of each AI model (:class:`ModelFacts`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from mediamill.tasks.domain import Ask, Usage
from mediamill.tasks.errors import UsageError
from mediamill.tasks.model_names import find_undated_name
from mediamill.tasks.money.meter import Meter
from mediamill.tasks.providers.errors.classify import classify_error
from mediamill.tasks.providers.provider_info import ProviderInfo
from mediamill.tasks.wire import AudioLimits, ModelEnd, Parsed, Poll, Problem, Quota, Reply, Request, Wire


class StrictModel(BaseModel):
    """A part of a configuration; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


API_STYLE = AliasChoices("api_style", "spelling")
"""The name of the field for an endpoint's request format, and its old name, which YAML files may still use."""


class ModelFacts(StrictModel):
    """What one model can do, and its limits."""

    def abilities(self) -> tuple[str, ...]:
        """What it can do in a few words, for the list of models."""
        return ()


FactsT = TypeVar("FactsT", bound=ModelFacts)


class OperationConfig(StrictModel, Generic[FactsT]):
    """One of a provider's endpoints: its path, its models, and the limits to start with."""

    adapter: str | None = Field(
        default=None, description="module:Class of the operation, if it differs in more than the fields here"
    )
    path: str = Field(description="below the API path")
    default_model: str | None = None
    rpm: float | None = Field(default=None, description="requests per minute")
    tpm: float | None = Field(default=None, description="tokens per minute")
    audio_seconds_per_hour: float | None = None
    concurrency: int = Field(default=64, description="maximum number of requests in flight")
    start: int | None = Field(
        default=None, description="requests in flight at the start; null for 2, which double every quarter of a second"
    )
    models: Mapping[str, FactsT] = Field(default_factory=dict)
    any_model: FactsT | None = Field(default=None, description="facts about models that are not listed")
    ends: Mapping[str, ModelEnd] = Field(default_factory=dict, description="models that end or have ended")

    @model_validator(mode="after")
    def _default_is_listed(self) -> OperationConfig[FactsT]:
        if self.default_model is not None and self.default_model not in self.models:
            raise ValueError(f"default_model {self.default_model!r} is not among its models")
        return self


ConfigT = TypeVar("ConfigT", bound=OperationConfig[Any])


class Operation(ABC, Generic[ConfigT, FactsT]):
    """One operation of one provider. A subclass has its two models, ``to_wire``, ``build_request`` and ``parse``.

    Attributes:
        config_model: the class that its block of a provider's YAML is read into.
        facts_model: the class that the block's entry for each model is read into.
        meter: what prices it; None when its price is not known.
        priced_as: the operation whose prices apply when a price list has none for this one; None for no other.
        provider: the provider that has the operation.
        name: its name in Asks, price lists and the YAML.
        config: its block of the YAML.
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
        """The facts about a model, those without its name's date, ``any_model``, or the facts about the first model."""
        listed = self.config.models
        known = model if model in listed else find_undated_name(model)
        if known is not None and known in listed:
            return listed[known]  # type: ignore[no-any-return]
        fallback = self.config.any_model or next(iter(listed.values()), None)
        return fallback or self.facts_model()  # type: ignore[return-value]

    def choose_model(self, requested: str | None, *, known_elsewhere: bool) -> str:
        """The requested model, or the default.

        Args:
            requested: a model's name; None for the default.
            known_elsewhere: whether the provider lists the model for another operation.

        Raises:
            UsageError: when no model is requested and there is no default.
        """
        chosen = requested or self.config.default_model
        if chosen is None:
            raise UsageError(f"{self.provider.name} needs a model", hint="name it with --model")
        return chosen

    def quota(self, model: str) -> Quota:
        """The rates and the concurrency to start with."""
        config = self.config
        return Quota(config.rpm, config.tpm, config.audio_seconds_per_hour, config.concurrency, config.start)

    @abstractmethod
    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the parameters of the request.

        Raises:
            BadInput: when the model cannot do what the Ask requests.
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
        """What an error reply means; None for a success."""
        return classify_error(self.provider, reply)

    @property
    def path(self) -> str:
        """The provider's API path followed by the operation's path."""
        return self.provider.endpoint.api + self.config.path


class JobOperation(Operation[ConfigT, FactsT]):
    """An operation whose request creates a job, which is then polled."""

    @abstractmethod
    def parse_job_id(self, reply: Reply) -> str:
        """The remote id in the reply to a create request.

        Raises:
            BadReply: when there is no id.
        """

    @abstractmethod
    def build_poll_request(self, wire: Wire, remote_id: str) -> Request:
        """The request for the state of a job."""

    @abstractmethod
    def parse_poll(self, reply: Reply) -> Poll:
        """The state of the job, from the reply to a poll."""


class AudioOperation(Operation[ConfigT, FactsT]):
    """An operation whose input is recordings."""

    @abstractmethod
    def audio_limits(self, model: str, transport: str | None) -> AudioLimits:
        """What audio its endpoint accepts over a transport; None for the model's default transport.

        Raises:
            BadInput: when the operation does not have the transport.
        """


def to_parsed(reply: Reply, data: Any, usage: Usage) -> Parsed:
    """One Ask's share of a reply. The built-in server's headers name the engine that produced it."""
    return Parsed(
        data,
        usage,
        engine=reply.headers.get("x-mediamill-engine"),
        simulated=reply.headers.get("x-mediamill-simulated") == "true",
    )
