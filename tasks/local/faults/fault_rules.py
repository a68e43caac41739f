"""Faults on demand: which requests break, and how."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from mediamill.tasks.errors import NoSuchOption, UsageError

T = TypeVar("T")

IMMEDIATE_KINDS = frozenset({"status", "reset", "redirect", "error_in_200", "hang"})
REPLY_KINDS = frozenset(
    ["delay", "close", "reset_mid_body", "short_body", "drip", "bad_json", "empty", "huge", "gzip_bomb", "wrong_type"]
)
COMPLETION_KINDS = frozenset({"say", "stream_error", "no_done", "undone", "stall", "empty_chunks"})
SOCKET_KINDS = frozenset({"socket_close", "socket_failed", "socket_silence"})
JOB_KINDS = frozenset({"job_fail", "job_stuck", "job_status", "moderated"})
FILE_KINDS = frozenset({"cut_download", "expired_link"})
KINDS = IMMEDIATE_KINDS | REPLY_KINDS | SOCKET_KINDS | COMPLETION_KINDS | JOB_KINDS | FILE_KINDS
KINDS_WITHOUT_STATUS = frozenset({"close", "reset", "hang"})
"""Kinds after which no status line was sent."""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What a rule may look at."""

    path: str
    model: str | None
    filename: str | None
    file_sha256: str | None


@dataclass(frozen=True, slots=True)
class FaultMatch:
    """Which requests; everything given must hold, and counting is over the requests that the rest holds for.

    Attributes:
        path, model, filename: shell patterns.
        file_sha256: of the uploaded file.
        nth: their numbers, from 1.
        every: each ``every``-th.
        first: the first so many.
        after: all but the first so many.
    """

    path: str | None = None
    model: str | None = None
    filename: str | None = None
    file_sha256: str | None = None
    nth: int | Sequence[int] | None = None
    every: int | None = None
    first: int | None = None
    after: int | None = None

    def matches(self, facts: RequestFacts) -> bool:
        """The patterns, without counting."""
        pairs = ((self.path, facts.path), (self.model, facts.model), (self.filename, facts.filename))
        if not all(pattern is None or fnmatchcase(value or "", pattern) for pattern, value in pairs):
            return False
        return self.file_sha256 is None or self.file_sha256 == facts.file_sha256

    def includes_number(self, number: int) -> bool:
        """The ``number``-th request that it holds for is meant."""
        nth = [self.nth] if isinstance(self.nth, int) else self.nth
        return (
            (nth is None or number in nth)
            and (self.every is None or number % self.every == 0)
            and (self.first is None or number <= self.first)
            and (self.after is None or number > self.after)
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """How a request breaks.

    Attributes:
        kind: ``status`` answers at once with ``status``, ``body`` and ``headers``; ``reset`` breaks the
            connection before any reply; ``redirect`` sends a 302 to ``location``; ``error_in_200`` hides an
            error in a success; ``hang`` never answers. The others break a computed answer: ``delay`` only
            delays it; ``close`` and ``reset_mid_body`` break off before and within it; ``short_body``
            promises more than comes; ``drip`` sends a byte every ``interval`` seconds; ``bad_json`` cuts it;
            ``empty`` leaves it out; ``huge`` and ``gzip_bomb`` pad it to ``bytes``; ``wrong_type`` is HTML.
            On sockets those that answer at once refuse the handshake and the others strike at the commit: garbage,
            bytes or a message of ``bytes`` instead of an answer, progress without end. ``socket_close`` closes it
            with ``code``, ``socket_failed`` sends the wire's failure (``body`` adds to it), ``socket_silence`` says
            nothing any more. Of completions ``say`` answers with the ``body``'s content, reasoning, refusal,
            tool_calls (each a name and arguments) and finish_reason. Of their streams ``stream_error`` puts an error
            event in the middle (the ``body``, or the provider's words) and ends, ``no_done`` ends before the reason
            to finish, ``undone`` leaves out ``[DONE]`` only, ``stall`` falls silent in the middle for ``interval``
            seconds, ``empty_chunks`` mixes in chunks without choices and comments.
            Of pictures and videos ``moderated`` withholds what was made: a refusal, or a job that ends so. Of jobs
            ``job_fail`` ends as failed with the ``body``'s code and message, ``job_stuck`` never ends, ``job_status``
            tells the ``body`` as its status until it was asked for once. Their files are fetched by other requests:
            ``expired_link`` strikes the first use of a link, which then is dead for good, ``cut_download`` breaks off
            after ``bytes`` of a file, or half of it where it has no more. These two count requests for links and
            files only; the other kinds strike polls, links and files only where their match has a ``path``.
        delay: seconds to wait first, with every kind.
        billed: whether it is charged; None means as a provider would: computed answers are. True makes the
            others, too, work out the answer before they break.
    """

    kind: str = "delay"
    status: int = 500
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    interval: float = 1.0
    bytes: int = 100_000_000
    location: str = "/"
    code: int = 4503
    billed: bool | None = None

    @property
    def needs_reply(self) -> bool:
        """The answer is worked out before it breaks."""
        return self.kind in REPLY_KINDS | COMPLETION_KINDS | JOB_KINDS or self.billed is True


@dataclass(slots=True)
class FaultRule:
    """A match and its fault; ``times`` bounds how often it strikes."""

    match: FaultMatch
    fault: Fault
    times: int | None = None
    n_matched: int = 0
    n_applied: int = 0

    def count_request(self, facts: RequestFacts) -> bool:
        """Count a request; True when it is to break."""
        if not self.match.matches(facts):
            return False
        self.n_matched += 1
        if not self.match.includes_number(self.n_matched) or (self.times is not None and self.n_applied >= self.times):
            return False
        self.n_applied += 1
        return True


def find_fault(rules: Sequence[FaultRule], facts: RequestFacts) -> Fault | None:
    """The fault of the first rule that strikes; all rules but those of files count the request."""
    faults = [rule.fault for rule in rules if rule.fault.kind not in FILE_KINDS and rule.count_request(facts)]
    return faults[0] if faults else None


def find_read_fault(rules: Sequence[FaultRule], facts: RequestFacts, kinds: Collection[str] = ()) -> Fault | None:
    """The fault of a poll, a link or a file; rules of ``kinds`` and those that name a path count it."""
    candidates = [
        rule
        for rule in rules
        if rule.fault.kind in kinds or (rule.match.path is not None and rule.fault.kind not in FILE_KINDS | JOB_KINDS)
    ]
    faults = [rule.fault for rule in candidates if rule.count_request(facts)]
    return faults[0] if faults else None


def parse_fault_rules(given: Any) -> list[FaultRule]:
    """Rules from JSON: ``[{"match": {...}, "fault": {...}, "times": N}]``.

    Raises:
        UsageError: when they are not that.
    """
    if not isinstance(given, list):
        raise UsageError("fault rules must be a list")
    rules = []
    for number, rule in enumerate(given, 1):
        where = f"fault rule {number}"
        if not isinstance(rule, dict) or not isinstance(rule.get("fault"), dict):
            raise UsageError(f"{where}: needs a fault, e.g. {{'fault': {{'kind': 'reset'}}}}")
        for name in rule.keys() - {"match", "fault", "times"}:
            raise NoSuchOption("entry", name, ["match", "fault", "times"], where=where)
        fault = _parse_entry(Fault, rule["fault"], where)
        if fault.kind not in KINDS:
            raise NoSuchOption("kind", fault.kind, KINDS, where=where)
        rules.append(FaultRule(_parse_entry(FaultMatch, rule.get("match") or {}, where), fault, rule.get("times")))
    return rules


def _parse_entry(cls: type[T], given: Any, where: str) -> T:
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    if not isinstance(given, dict):
        raise UsageError(f"{where}: {given!r} is not an object")
    for name in given:
        if name not in known:
            raise NoSuchOption("entry", name, known, where=where)
    return cls(**given)
