"""What a chaos server does wrong, as data: shares of faults, phases in time, and limits that change.

The server follows a plan and the judge computes from the same plan what was possible. Times are seconds since the
server's first request.
"""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

FAST_FAULTS = ("rate_limit", "rate_limit_hint", "503", "500", "reset")
"""Faults that come back at once, and that bill nothing."""
BILLED_FAULTS = ("reset_in_body", "bad_json", "empty")
"""Faults after the work was done: the server bills them, and the client has no answer."""
LATE_FAULTS = (*BILLED_FAULTS, "error_in_200")
"""Faults that take as long as an answer."""
FAULTS = (*FAST_FAULTS, *LATE_FAULTS, "slow", "hang")
OUTAGES = ("refused", "503", "reset", "hang")
SLOW_FACTOR = 20.0
"""How much longer than usual a slow reply takes."""
USD_PER_INPUT_TOKEN, USD_PER_OUTPUT_TOKEN = Decimal("0.00000015"), Decimal("0.0000006")


@dataclass(frozen=True)
class Phase:
    """From ``begin`` to ``end`` a share of all requests meets ``kind``; ``refused`` closes the server's door."""

    begin: float
    end: float
    kind: str
    share: float = 1.0

    @property
    def is_outage(self) -> bool:
        """Whether nothing is answered meanwhile."""
        return self.share == 1.0 and self.kind in OUTAGES


@dataclass(frozen=True)
class Limit:
    """From ``begin`` on at most ``per_minute`` requests, or tokens, are accepted; the rest is refused with 429.

    ``window``: ``bucket`` (a burst of one second), ``sliding`` or ``fixed`` (of a minute), ``second`` (fixed, of a
    second). ``model``: for one model alone; None for all together. A limit ends where the next one of its model and
    unit begins.
    """

    per_minute: float
    begin: float = 0.0
    window: str = "bucket"
    unit: str = "requests"
    model: str | None = None


@dataclass(frozen=True)
class Plan:
    """All that a chaos server does.

    Attributes:
        seed: of every choice. A prompt's n-th request meets the same fault in every run, whatever the order.
        latency: mean seconds of an answer; the times are spread from half of it to one and a half.
        shares: of all requests that each kind of fault has.
        phases: outages and faults by time.
        limits: hidden ones, unless ``is_stated``.
        is_stated: whether every reply has the limit in its headers.
        retry_after: the hint of refusals that have one.
        hung_are_billed: the share of hanging requests that are billed all the same.
    """

    seed: int = 1
    latency: float = 0.2
    shares: dict[str, float] = field(default_factory=dict)
    phases: tuple[Phase, ...] = ()
    limits: tuple[Limit, ...] = ()
    is_stated: bool = False
    retry_after: float = 2.0
    hung_are_billed: float = 0.5

    def __post_init__(self) -> None:
        unknown = {*self.shares} - {*FAULTS} | {p.kind for p in self.phases} - {*FAULTS, *OUTAGES}
        if unknown or sum(self.shares.values()) > 1:
            raise ValueError(f"no such faults, or more than all of them: {unknown or self.shares}")

    def to_json(self) -> str:
        """The plan on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Inverse of :meth:`to_json`."""
        values: dict[str, Any] = json.loads(text)
        values["phases"] = tuple(Phase(**phase) for phase in values["phases"])
        values["limits"] = tuple(Limit(**limit) for limit in values["limits"])
        return cls(**values)

    def choose_fault(self, prompt: str, nth: int, now: float) -> str:
        """What the ``nth`` request of a prompt meets at ``now``: a kind of fault, or ``ok``."""
        rng = random.Random(f"{self.seed}/{prompt}/{nth}")
        for phase in self.phases:
            if phase.begin <= now < phase.end and (phase.share == 1.0 or rng.random() < phase.share):
                return phase.kind
        drawn = rng.random()
        for kind, share in self.shares.items():
            if drawn < share:
                return kind
            drawn -= share
        return "ok"

    def draw_latency(self, prompt: str, nth: int, kind: str) -> float:
        """Seconds until the reply."""
        if kind in FAST_FAULTS:
            return 0.0
        factor = SLOW_FACTOR if kind == "slow" else 1.0
        return self.latency * factor * (0.5 + random.Random(f"{self.seed}/{prompt}/{nth}/latency").random())

    def bills_hung(self, prompt: str, nth: int) -> bool:
        """Whether a request that is never answered is billed."""
        return random.Random(f"{self.seed}/{prompt}/{nth}/hung").random() < self.hung_are_billed

    def find_limits(self, now: float, model: str | None = None) -> list[Limit]:
        """The limits that hold at ``now`` for a model's requests."""
        latest: dict[tuple[str, str | None], Limit] = {}
        for limit in sorted(self.limits, key=lambda limit: limit.begin):
            if limit.begin <= now and limit.model in (None, model):
                latest[limit.unit, limit.model] = limit
        return list(latest.values())


def count_tokens(prompt: str) -> tuple[int, int]:
    """Tokens of a prompt and of its answer, which differ from prompt to prompt."""
    rng = random.Random(prompt)
    return 10 + rng.randrange(8), 5 + rng.randrange(6)


def compute_price(prompt: str) -> Decimal:
    """What the server bills for one answer to the prompt, in US dollars."""
    sent, received = count_tokens(prompt)
    return sent * USD_PER_INPUT_TOKEN + received * USD_PER_OUTPUT_TOKEN
