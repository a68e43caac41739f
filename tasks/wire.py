"""The contracts between providers, which plan requests, and the call path, which sends them.

A provider holds no connection and no secret: it is pure. The call path owns the network, the key, the retries and
the money. Neither imports the other; both import this module.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

from mediamill.tasks.domain import JSON, Ask, Payload, Usage
from mediamill.tasks.system.loopback import is_loopback
from mediamill.tasks.websocket_session import SOCKET_HEADER, WebsocketSession

T = TypeVar("T")

Verdict = Literal["retry", "fail", "stop", "unknown"]
"""What to do after an attempt without an answer.

``retry``: try again as the retry policy allows; ``fail``: this item fails after one attempt; ``stop``: the account is
the problem, so the whole job stops; ``unknown``: the request may have been carried out and billed.
"""

FIRST_CHUNK_HEADER = "x-mediamill-first-token-ms"
"""Header of a streamed reply: milliseconds until the first chunk that ``Request.is_first_token`` accepts."""

JOB_ID_HEADER = "x-mediamill-job"
"""Header of an ended job's reply: the job's id."""

JOB_STATES_HEADER = "x-mediamill-job-states"
"""Header of an ended job's reply: a JSON list of the job's states with seconds since it began."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a provider is reached. ``origin`` is scheme, host and port; ``api`` the path before endpoints.

    ``key_env`` is the NAME of the environment variable that holds the key; None when none is needed. ``is_own`` is True
    where the user names the address and the provider has none: a server of their own, which may load its model first.
    """

    origin: str
    api: str = "/v1"
    key_env: str | None = None
    is_own: bool = False

    @property
    def is_on_loopback(self) -> bool:
        """Whether it is a server of this machine."""
        return is_loopback(urlsplit(self.origin).hostname or "")


@dataclass(frozen=True, slots=True)
class ModelEnd:
    """When a provider ends a model, as it announces it.

    ``instead``: what takes its place; ``refused``: it no longer answers, so no run starts with it.
    """

    date: dt.date
    instead: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Batching:
    """How Asks share requests: those of one ``group``, at most ``max_asks``, of a total weight up to ``max_weight``."""

    group: str
    max_asks: int
    max_weight: float = float("inf")
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Wire:
    """A resolved Ask: everything that decides what is bought, and nothing else.

    Attributes:
        origin, path: where the request goes; for ``local`` the origin is ``local:<engine>-<version>``
            and not the loopback address it is sent to, so that a port is never part of a request key.
        params: resolved wire parameters and rendered prompts, JSON, without inputs.
        encoding: ``multipart``, ``json``, or ``socket`` for a WebSocket session.
        repeatable: an attempt whose outcome is unknown may be sent again without anyone's consent.
        job: the reply holds the id of a job, which is then polled.
        job_timeout: seconds a job may run before it is left for a later run to look up.
        batching: how it may share a request; None when it is sent alone.
        timeout: seconds one attempt may take in all.
        stream: the reply is read as a stream of events; what is bought stays the same.
    """

    origin: str
    path: str
    params: Mapping[str, JSON]
    encoding: Literal["multipart", "json", "socket"] = "json"
    repeatable: bool = True
    job: bool = False
    job_timeout: float = 3600.0
    batching: Batching | None = None
    timeout: float = 300.0
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """The request that is sent: built just before sending, not kept.

    ``fields`` come before ``files`` in a multipart body (wire.md section 1.1 needs model before file).
    ``headers`` never hold the key: the client adds it, for the provider's own origin only. With ``session`` the
    request opens a WebSocket at ``path``, and the session's messages are the reply. ``max_idle_seconds`` is the maximum
    time between two chunks of a streamed reply; the time of the first chunk that ``is_first_token`` accepts is recorded
    in the reply's headers (:data:`FIRST_CHUNK_HEADER`).
    """

    method: Literal["GET", "POST"]
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: JSON = None
    fields: Sequence[tuple[str, str]] = ()
    files: Sequence[tuple[str, Payload]] = ()
    session: WebsocketSession | None = None
    max_idle_seconds: float | None = None
    is_first_token: Callable[[bytes], bool] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply as it came: status, lower-cased headers, body bytes (bounded)."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def socket_end(self) -> str | None:
        """How the WebSocket of the reply ended; None for replies over HTTP."""
        return self.headers.get(SOCKET_HEADER)


@dataclass(frozen=True, slots=True)
class Parsed:
    """The part of a reply that answers one Ask."""

    data: Any
    usage: Usage
    engine: str | None = None
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """An error reply or a lost connection, classified by provider, status and code.

    Attributes:
        verdict: what to do.
        config_type: stable short word: ``rate_limit``, ``overloaded``, ``auth``, ``credits``, ``too_large`` ...
        message: the provider's own words, of bounded length, without secrets.
        billed: True when it may have been billed all the same.
        wait: seconds the provider wants to be left alone, already within bounds; None when it did not say.
        code: the provider's error code.
        max_seconds: the longest recording that the provider takes, where it says so as it refuses a longer one.
    """

    verdict: Verdict
    kind: str
    message: str
    billed: bool = False
    wait: float | None = None
    code: str | None = None
    hint: str | None = None
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Poll:
    """The state of a remote job: pending, done (its reply is then parsed) or failed.

    ``status`` is the provider's own word for it.
    """

    state: Literal["pending", "done", "failed"]
    problem: Problem | None = None
    wait: float | None = None
    status: str = ""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The rate limits that a reply's headers state; None where they do not.

    Rates are per second. ``remaining_...`` is what is left in the current window, ``reset_...`` the seconds until the
    window is full again.
    """

    requests_per_second: float | None = None
    tokens_per_second: float | None = None
    remaining_requests: float | None = None
    remaining_tokens: float | None = None
    reset_requests: float | None = None
    reset_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """Configured limits of one provider, model and operation; None is unlimited.

    ``concurrency`` is the maximum number of requests in flight, ``start`` the number at first (None: 2).
    ``per_request`` Asks may share a request. ``jobs`` may run at once at the provider, where Asks become jobs.
    """

    rpm: float | None = None
    tpm: float | None = None
    audio_seconds_per_hour: float | None = None
    concurrency: int = 64
    start: int | None = None
    per_request: int = 1
    jobs: int = 0

    def divide(self, share: float) -> Quota:
        """The part of it that one of several processes has; what is in flight is divided by whoever starts them."""
        if share >= 1:
            return self
        return replace(
            self,
            rpm=self.rpm and self.rpm * share,
            tpm=self.tpm and self.tpm * share,
            audio_seconds_per_hour=self.audio_seconds_per_hour and self.audio_seconds_per_hour * share,
            jobs=self.jobs and max(1, int(self.jobs * share)),
        )


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """The audio that an endpoint accepts: containers by name (``wav``, ``mp3`` ...), maximum bytes and seconds.

    ``is_learned``: the maximum seconds are from a refusal, not from the provider's configuration.
    """

    formats: frozenset[str]
    max_bytes: int
    max_seconds: float | None = None
    takes_urls: bool = False
    is_learned: bool = False


@dataclass(frozen=True, slots=True)
class Billing:
    """A provider's billing rules beside its prices (provider docs).

    ``free``: nothing costs anything; ``min_seconds``: the minimum that is billed for a request; ``whole_seconds``: it
    bills to the nearest second; ``prices``: the file of its own price list.
    """

    free: bool = False
    min_seconds: Decimal = Decimal(0)
    whole_seconds: bool = False
    prices: Path | None = None


class Provider(Protocol):
    """What the call path and the capabilities need of a provider. It is pure, so tests need no network."""

    name: str
    endpoint: Endpoint
    billing: Billing

    def choose_model(self, operation: str, requested: str | None) -> str:
        """The model to use: the requested one, or the operation's default.

        Raises:
            UsageError: when none is requested and there is no default.
        """

    def find_model_end(self, operation: str, model: str) -> ModelEnd | None:
        """When the provider ends a model; None where it does not, and on another address than the provider's own."""

    def describe_unlisted_model(self, operation: str, model: str) -> str | None:
        """That the provider's list lacks a model, with the nearest that it has; None where it has it, or none."""

    def operation_config(self, operation: str, config_type: type[T]) -> T:
        """The configuration of an operation, in the operation's own type.

        Raises:
            UsageError: when the provider has no such operation.
        """

    def model_facts(self, operation: str, model: str, facts_type: type[T]) -> T:
        """What a model can do, in the operation's own type.

        Raises:
            UsageError: when the provider has no such operation.
        """

    def quota(self, operation: str, model: str) -> Quota:
        """The configured rates and concurrency, which the run begins with."""

    def to_wire(self, ask: Ask) -> Wire:
        """Resolve an Ask: path and wire parameters.

        Raises:
            BadInput: when the provider cannot do it; the message names the parameter.
        """

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """Build the request for one or more Asks (more only when ``wire.batching`` allows)."""

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """One Parsed per Ask, in order.

        Raises:
            BadReply: when the reply is not what the operation returns.
        """

    def classify(self, reply: Reply, operation: str = "") -> Problem | None:
        """What an error reply means, also of an error inside a 200; None when the reply answers the operation."""

    def parse_rate_limits(self, reply: Reply) -> RateLimits:
        """The rate limits that the reply's headers state."""

    def audio_limits(self, operation: str, model: str, transport: str | None = None) -> AudioLimits:
        """The audio that the operation's endpoint accepts over the requested transport."""

    def parse_job_id(self, reply: Reply, operation: str) -> str:
        """The job's id in the reply to a create request (``wire.job``)."""

    def build_poll_request(self, wire: Wire, remote_id: str, operation: str) -> Request:
        """Build the request for a job's state."""

    def parse_poll(self, reply: Reply, operation: str) -> Poll:
        """The state of the job in the reply to a poll."""
