"""The contracts between those who plan requests and those who send them: Wire, Request, Reply, Problem, Provider.

A provider holds no connection and no secret. It is pure: the call path owns the network, the key, the
retries and the money. Neither knows the other; both know this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from mediamill.tasks.domain import JSON, Ask, Payload, Usage
from mediamill.tasks.websocket_session import SOCKET_HEADER, WebsocketSession

T = TypeVar("T")

Verdict = Literal["retry", "fail", "stop", "unknown"]
"""What to do about an attempt that brought no answer.

``retry``: try again within the policy; ``fail``: this item fails, one attempt; ``stop``: the account is
the problem, the whole job stops; ``unknown``: it may have been done and billed.
"""

FIRST_CHUNK_HEADER = "x-mediamill-first-token-ms"
"""Name of the header under which a streamed reply tells when its first part came that was awaited."""

JOB_ID_HEADER, JOB_STATES_HEADER = "x-mediamill-job", "x-mediamill-job-states"
"""Headers under which an ended job's reply tells its id, and a JSON list of states with seconds since it began."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a provider is reached. ``origin`` is scheme, host and port; ``api`` the path before endpoints.

    ``key_env`` is the NAME of the environment variable that holds the key; None when none is needed.
    """

    origin: str
    api: str = "/v1"
    key_env: str | None = None


@dataclass(frozen=True, slots=True)
class Batching:
    """Asks with the same ``group`` may share one request, up to ``max_asks`` Asks, weighing at most ``max_weight``."""

    group: str
    max_asks: int
    max_weight: float = float("inf")
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Wire:
    """An Ask, resolved: everything that decides what is bought, nothing that does not.

    Attributes:
        origin, path: where the request goes; for ``local`` the origin is ``local:<engine>-<version>``
            and ``send_to`` the loopback address, so that a port is never part of a request key.
        params: resolved wire parameters and rendered prompts, JSON, without inputs.
        encoding: ``multipart``, ``json``, or ``socket`` for a conversation.
        repeatable: an attempt whose outcome is unknown may be sent again unasked.
        job: the reply to the request is an id that is polled for (create-then-poll).
        job_deadline: seconds a job may run before it is left for a later run to look up.
        pack: how it may share a request; None when it goes alone.
        deadline: seconds one attempt may take in all.
        stream: the answer is taken as a stream of events, which changes nothing about what is bought.
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
    """What goes out: built just before sending, thrown away after.

    ``fields`` come before ``files`` in a multipart body (wire.md section 1.1 needs model before file).
    ``headers`` never hold the key: the client adds it for the provider's own origin only. With ``talk`` the
    request opens a socket at ``path``, and what is said there makes the reply. ``idle`` is the longest silence in
    seconds between two parts of a streamed reply; the moment of the first part that ``awaited`` says yes to is noted
    in the reply's headers.
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
        """How the reply's socket ended, of those that came over one; None for the others."""
        return self.headers.get(SOCKET_HEADER)


@dataclass(frozen=True, slots=True)
class Parsed:
    """One Ask's share of a reply."""

    data: Any
    usage: Usage
    engine: str | None = None
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """An error reply or a broken exchange, classified by provider, status and code.

    Attributes:
        verdict: what to do.
        kind: stable short word: ``rate_limit``, ``overloaded``, ``auth``, ``credits``, ``too_large`` ...
        message: the provider's own words, bounded, without secrets.
        billed: True when it may have been billed all the same.
        wait: seconds the provider asked for, already sane; None when it did not say.
        code: the provider's error code.
    """

    verdict: Verdict
    kind: str
    message: str
    billed: bool = False
    wait: float | None = None
    code: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Poll:
    """What a look at a running job told: pending, or done (its reply is then parsed), or failed.

    ``status`` is the provider's own word for it.
    """

    state: Literal["pending", "done", "failed"]
    problem: Problem | None = None
    wait: float | None = None
    status: str = ""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What a reply's headers tell of the rate limits; None where they do not.

    Rates are per second. ``remaining`` counts are what is left in the current window and ``reset`` the
    seconds until it is full again.
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

    ``start`` is how many requests may be in flight at first (None: ``concurrency``, the most ever);
    ``per_request`` how many Asks may share one; ``jobs`` how many may run there at once, where Asks become jobs.
    """

    rpm: float | None = None
    tpm: float | None = None
    audio_seconds_per_hour: float | None = None
    concurrency: int = 64
    start: int | None = None
    per_request: int = 1
    jobs: int = 0


@dataclass(frozen=True, slots=True)
class AudioLimits:
    """What audio an endpoint takes: containers by name (``wav``, ``mp3`` ...), bytes, seconds."""

    formats: frozenset[str]
    max_bytes: int
    max_seconds: float | None = None
    takes_urls: bool = False


@dataclass(frozen=True, slots=True)
class Billing:
    """A provider's rules beside its prices (provider docs).

    ``free`` costs nothing; ``least_seconds`` is billed at least; ``whole_seconds`` bills to the nearest second;
    ``prices`` is a price list of its own.
    """

    free: bool = False
    min_seconds: Decimal = Decimal(0)
    whole_seconds: bool = False
    prices: Path | None = None


class Provider(Protocol):
    """Who does it. One file each; pure, so that tests need no network."""

    name: str
    endpoint: Endpoint
    billing: Billing

    def choose_model(self, operation: str, requested: str | None) -> str:
        """The model to use: the one asked for, or the operation's default.

        Raises:
            UsageError: when none is asked for and there is no default.
        """

    def operation_config(self, operation: str, kind: type[T]) -> T:
        """What the configuration says of an operation, in the operation's own type.

        Raises:
            UsageError: when the provider has no such operation.
        """

    def model_facts(self, operation: str, model: str, kind: type[T]) -> T:
        """What a model can do, in the operation's own type.

        Raises:
            UsageError: when the provider has no such operation.
        """

    def quota(self, operation: str, model: str) -> Quota:
        """Rates and concurrency to begin with."""

    def to_wire(self, ask: Ask) -> Wire:
        """Resolve an Ask: path and wire parameters.

        Raises:
            BadInput: when the provider cannot do what is asked, naming the parameter.
        """

    def build_request(self, wire: Wire, asks: Sequence[Ask]) -> Request:
        """Build the request for one or more Asks (more only when ``wire.pack`` allows)."""

    def parse(self, reply: Reply, asks: Sequence[Ask]) -> Sequence[Parsed]:
        """One Parsed per Ask, in order.

        Raises:
            BadReply: when the reply is not what the operation returns.
        """

    def classify(self, reply: Reply, operation: str = "") -> Problem | None:
        """None for an answer to the operation; otherwise what the error means. An error inside a 200 counts."""

    def parse_rate_limits(self, reply: Reply) -> RateLimits:
        """What the reply's headers tell of the rate limits."""

    def audio_limits(self, operation: str, model: str, transport: str | None = None) -> AudioLimits:
        """What audio the operation's endpoint takes, over the transport that was asked for."""

    def parse_job_id(self, reply: Reply, operation: str) -> str:
        """The remote id in the reply to a create request (``wire.job``)."""

    def build_poll_request(self, wire: Wire, remote_id: str, operation: str) -> Request:
        """The request that asks how a job is doing."""

    def parse_poll(self, reply: Reply, operation: str) -> Poll:
        """What the poll's reply tells."""
