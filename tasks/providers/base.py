"""A provider: its configuration and its operations. The class of an operation is found by its name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mediamill.tasks.domain import Ask
from mediamill.tasks.errors import UsageError
from mediamill.tasks.model_names import find_undated_name
from mediamill.tasks.providers.config import ProviderConfig
from mediamill.tasks.providers.errors.charset import recode_reply
from mediamill.tasks.providers.errors.classify import classify_error
from mediamill.tasks.providers.operations import load_operation_class
from mediamill.tasks.providers.operations.base import AudioOperation, JobOperation, Operation
from mediamill.tasks.providers.operations.ocr import OCR
from mediamill.tasks.providers.provider_info import ProviderInfo
from mediamill.tasks.providers.rate_limit_headers import read_rate_limits
from mediamill.tasks.wire import (
    AudioLimits,
    Endpoint,
    ModelEnd,
    Parsed,
    Poll,
    Problem,
    Quota,
    RateLimits,
    Reply,
    Request,
    Wire,
)

T = TypeVar("T")

_OTHER_WAYS = {OCR: "let its vision models read by a prompt: mediamill run recipe:ocr-prompt"}
"""What does nearly the same as an operation, for providers that have no such operation."""


class BaseProvider:
    """Implements :class:`mediamill.tasks.wire.Provider` for the provider that a configuration describes.

    Args:
        name: the name by which jobs choose it.
        config: its configuration.
        endpoint: its address.
        providers_with: lists the providers that have an operation, for hints.
    """

    def __init__(
        self, name: str, config: ProviderConfig, endpoint: Endpoint, providers_with: Callable[[str], Sequence[str]]
    ) -> None:
        self.name = name
        self.config = config
        self.endpoint = endpoint
        self.billing = config.billing
        self._providers_with = providers_with
        self._adapters: dict[str, Operation[Any, Any]] = {}
        self._info = ProviderInfo(
            name=name,
            endpoint=endpoint,
            free=config.free,
            rate_limit_headers=config.rate_limit_headers,
            error_quirks=config.error_quirks,
            key_origin=self.key_origin,
            suggest_alternatives=self.suggest_alternatives,
        )

    def operation(self, name: str) -> Operation[Any, Any]:
        """The object that builds the requests of an operation and parses its replies.

        Raises:
            UsageError: when the provider has no such operation.
        """
        if name not in self._adapters:
            config = self.config.operations.get(name)
            if config is None:
                raise UsageError(f"{self.name} has no {name}", hint=self.suggest_alternatives(name))
            self._adapters[name] = load_operation_class(name, config.adapter)(self._info, name, config)
        return self._adapters[name]

    def operation_config(self, operation: str, config_type: type[T]) -> T:
        """The configuration of an operation, in the type that the operation reads it into.

        Raises:
            UsageError: when the provider has no such operation.
        """
        return _expect_type(self.operation(operation).config, config_type)

    def model_facts(self, operation: str, model: str, facts_type: type[T]) -> T:
        """The facts about a model: what it can do and what its limits are.

        Raises:
            UsageError: when the provider has no such operation.
        """
        return _expect_type(self.operation(operation).model_facts(model), facts_type)

    def find_default_model(self, operation: str) -> str | None:
        """The model that is used where none is requested; None where there is none, or no such operation."""
        config = self.config.operations.get(operation)
        return config.default_model if config else None

    def choose_model(self, operation: str, requested: str | None) -> str:
        """The requested model, or the operation's default.

        Raises:
            UsageError: when there is neither, or the provider has no such operation.
        """
        known_elsewhere = any(
            requested in config.models for name, config in self.config.operations.items() if name != operation
        )
        wanted = requested or self.find_default_model(operation)
        model = self.operation(operation).choose_model(wanted, known_elsewhere=known_elsewhere)
        end = self.find_model_end(operation, model)
        if end is not None and end.refused:
            raise UsageError(f"{self.name} ended {model} on {end.date}", hint=f"use {end.instead}")
        return model

    def find_model_end(self, operation: str, model: str) -> ModelEnd | None:
        """When the provider ends a model; None where it does not, and on another address than the provider's own."""
        base_url = self.config.base_url
        if base_url is None or not base_url.startswith(self.endpoint.origin):
            return None
        return self.operation(operation).config.ends.get(model)  # type: ignore[no-any-return]

    def describe_unlisted_model(self, operation: str, model: str) -> str | None:
        """That the provider's list lacks a model, with the nearest that it has; None where it has it, or none.

        It may exist all the same: providers add models, and dedicated endpoints have names of their own.
        """
        listed = self.operation(operation).config.models
        if not listed or {model, find_undated_name(model)} & listed.keys():
            return None
        others = [name for name, config in self.config.operations.items() if model in config.models]
        if others:
            return f"{self.name} lists {model} for {', '.join(others)}, not for {operation}"
        by_name = {form.lower(): name for name in listed for form in (name, name.rpartition("/")[2])}
        nearest = difflib.get_close_matches(model.lower(), by_name, n=1)
        suggestion = f"; did you mean {by_name[nearest[0]]}?" if nearest else ""
        return f"{model} is not in {self.name}'s list of models{suggestion}"

    def quota(self, operation: str, model: str) -> Quota:
        """The rates and the concurrency to start with."""
        return self.operation(operation).quota(model)

    def audio_limits(self, operation: str, model: str, transport: str | None = None) -> AudioLimits:
        """What audio the operation's endpoint accepts.

        Raises:
            UsageError: when the operation takes no audio.
        """
        adapter = self.operation(operation)
        if not isinstance(adapter, AudioOperation):
            raise UsageError(f"{operation} of {self.name} takes no audio")
        return adapter.audio_limits(model, transport)

    def to_wire(self, ask: Ask) -> Wire:
        """The endpoint and the parameters of the request.

        Raises:
            BadInput: when the model cannot do what the Ask requests.
        """
        return self.operation(ask.operation).to_wire(ask)

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """The request for one or more Asks."""
        return self.operation(asks[0].operation).build_request(wire, asks)

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """One Parsed per Ask, in order.

        Raises:
            BadReply: when the reply is not what the operation returns.
        """
        return self.operation(asks[0].operation).parse(recode_reply(reply), asks)

    def classify(self, reply: Reply, operation: str = "") -> Problem | None:
        """What an error reply means; None for a success. ``operation`` is empty for lists of models and the like."""
        reply = recode_reply(reply)
        return self.operation(operation).classify(reply) if operation else classify_error(self._info, reply)

    def parse_rate_limits(self, reply: Reply) -> RateLimits:
        """The rate limits that the reply's headers state."""
        return read_rate_limits(self.config.rate_limit_headers, reply.headers)

    def parse_job_id(self, reply: Reply, operation: str) -> str:
        """The remote id in the reply to a create request."""
        return self._job_operation(operation).parse_job_id(reply)

    def build_poll_request(self, wire: Wire, remote_id: str, operation: str) -> Request:
        """The request for the state of a job."""
        return self._job_operation(operation).build_poll_request(wire, remote_id)

    def parse_poll(self, reply: Reply, operation: str) -> Poll:
        """The state of the job, from the reply to a poll."""
        return self._job_operation(operation).parse_poll(reply)

    def key_origin(self, model: str) -> str:
        """The origin that stands in request keys."""
        return self.endpoint.origin

    def suggest_alternatives(self, operation: str) -> str:
        """A hint for an operation: the models or the providers to choose instead."""
        own = self.config.operations.get(operation)
        models = f"--model {' or '.join(own.models)}, or " if own and own.models else ""
        others = [name for name in self._providers_with(operation) if name != self.name]
        hint = f"choose {models}--provider {', '.join(others)}" if others else "choose another --provider"
        return f"{hint}; or {_OTHER_WAYS[operation]}" if own is None and operation in _OTHER_WAYS else hint

    def _job_operation(self, operation: str) -> JobOperation[Any, Any]:
        adapter = self.operation(operation)
        assert isinstance(adapter, JobOperation), f"{operation} has no jobs"
        return adapter


def _expect_type(value: object, expected: type[T]) -> T:
    assert isinstance(value, expected), f"{type(value).__name__} is not {expected.__name__}"
    return value
