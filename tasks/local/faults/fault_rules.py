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
TRANSCRIPT_KINDS = frozenset({"loop_text", "cut_text"})
JOB_KINDS = frozenset({"job_fail", "job_stuck", "job_status", "moderated"})
FILE_KINDS = frozenset({"cut_download", "expired_link"})
KINDS = IMMEDIATE_KINDS | REPLY_KINDS | SOCKET_KINDS | COMPLETION_KINDS | TRANSCRIPT_KINDS | JOB_KINDS | FILE_KINDS
KINDS_WITHOUT_STATUS = frozenset({"close", "reset", "hang"})
"""Kinds for which no status line is sent."""


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """The facts of a request that a rule may match."""

    path: str
    model: str | None
    filename: str | None
    file_sha256: str | None


@dataclass(frozen=True, slots=True)
class FaultMatch:
    """Which requests a rule applies to: all given conditions hold. Those that the first four match are counted.

    Attributes:
        path, model, filename: shell patterns.
        file_sha256: hash of the uploaded file.
        nth: number or numbers of the matching requests, from 1.
        every: every ``every``-th matching request.
        first: the first ``first`` matching requests.
        after: all matching requests but the first ``after``.
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
        """The patterns and the hash match; the request's number is not looked at."""
        pairs = ((self.path, facts.path), (self.model, facts.model), (self.filename, facts.filename))
        if not all(pattern is None or fnmatchcase(value or "", pattern) for pattern, value in pairs):
            return False
        return self.file_sha256 is None or self.file_sha256 == facts.file_sha256

    def includes_number(self, number: int) -> bool:
        """The ``number``-th matching request is one the rule applies to."""
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
        kind: ``status`` answers at once with ``status``, ``body`` and ``headers``; ``reset`` resets the connection
            before any reply; ``redirect`` sends a 302 to ``location``; ``error_in_200`` sends an error with status
            200; ``hang`` never answers. The others break a computed reply: ``delay`` only delays it; ``close`` closes
            the connection before it and ``reset_mid_body`` resets it in the middle; ``short_body`` sends less than
            its length says; ``drip`` sends a byte every ``interval`` seconds; ``bad_json`` cuts off its end;
            ``empty`` sends no body; ``huge`` and ``gzip_bomb`` pad it to ``bytes``; ``wrong_type`` sends HTML.
            On sockets the immediate kinds refuse the handshake; the others apply to a commit and send invalid JSON,
            binary data, a message of ``bytes`` bytes or endless progress instead of an answer. ``socket_close``
            closes the socket with ``code``, ``socket_failed`` sends the wire format's failure message with the fields
            of ``body``, ``socket_silence`` sends nothing any more.
            For completions ``say`` answers with the ``body``'s content, reasoning, refusal, tool_calls (each a name
            and arguments) and finish_reason. For their streams ``stream_error`` ends with an error event in the
            middle (the ``body``, or the provider's error), ``no_done`` ends before the finish_reason, ``undone``
            leaves out ``[DONE]`` only, ``stall`` pauses in the middle for ``interval`` seconds, ``empty_chunks`` adds
            chunks without choices and comments.
            For transcripts ``loop_text`` repeats a phrase twelve times after the first half of the words, and
            ``cut_text`` ends after the first fifth of them.
            For images and videos ``moderated`` withholds the result: the request is refused, or the job ends blocked.
            For jobs ``job_fail`` ends as failed with the ``body``'s code and message, ``job_stuck`` never ends,
            ``job_status`` reports the ``body`` as status in the first poll. For the requests that fetch their files
            ``expired_link`` applies to the first use of a link, which then never works again, and ``cut_download``
            ends after ``bytes`` bytes of a file, or after half of it when it has no more. These two count requests
            for links and files only; the other kinds apply to polls, links and files only when their match has a
            ``path``.
        delay: seconds to wait first, with every kind.
        billed: whether the call is charged; None charges as a provider would: computed replies are charged. True makes
            the immediate kinds, too, compute the reply before they break.
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
        """The reply is computed before it breaks."""
        return self.kind in REPLY_KINDS | COMPLETION_KINDS | TRANSCRIPT_KINDS | JOB_KINDS or self.billed is True


@dataclass(slots=True)
class FaultRule:
    """A match and its fault; ``times`` is how often it is applied at most."""

    match: FaultMatch
    fault: Fault
    times: int | None = None
    n_matched: int = 0
    n_applied: int = 0

    def count_request(self, facts: RequestFacts) -> bool:
        """Count a request; True when the fault is to be applied to it."""
        if not self.match.matches(facts):
            return False
        self.n_matched += 1
        if not self.match.includes_number(self.n_matched) or (self.times is not None and self.n_applied >= self.times):
            return False
        self.n_applied += 1
        return True


def find_fault(rules: Sequence[FaultRule], facts: RequestFacts) -> Fault | None:
    """The fault of the first rule that applies; all rules but those for files count the request."""
    faults = [rule.fault for rule in rules if rule.fault.kind not in FILE_KINDS and rule.count_request(facts)]
    return faults[0] if faults else None


def find_read_fault(rules: Sequence[FaultRule], facts: RequestFacts, kinds: Collection[str] = ()) -> Fault | None:
    """The fault for a poll, a link or a file; rules of ``kinds`` and those that name a path count the request."""
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
        UsageError: when they have another form, or an unknown kind or entry.
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
