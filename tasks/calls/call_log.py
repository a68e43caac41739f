"""What the log says of calls: every attempt at DEBUG; at WARNING each one that failed, and each change of a limit.

An attempt that failed has one record: ``retry`` where it is sent again, else ``gave_up``, ``refused``, ``reply_lost``
or ``not_sent``. What the provider said stands in the journal and not here, because it may repeat what was sent.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from mediamill.tasks.calls.failure_streak import FailureStreak
from mediamill.tasks.domain import Ask
from mediamill.tasks.run_log import CALLS_LOGGER, clean_text, write_record
from mediamill.tasks.wire import Problem

_CALL_ID_CHARACTERS = 8
"""How much of a call's id the plain words have; its field has it whole."""
_PAST_TENSE = {"refused": "refused", "reply_lost": "its reply was lost", "not_sent": "could not be sent"}


class LoggedAttempt(Protocol):
    """What a record says of an attempt."""

    run_id: str
    call_id: str
    number: int
    asks: list[Ask]
    latency_ms: int


def log_sending(record: LoggedAttempt, wait_seconds: float) -> None:
    """An attempt goes out, after it has waited for its permit."""
    if CALLS_LOGGER.isEnabledFor(logging.DEBUG):
        wait = f" after waiting {wait_seconds:.2f} s" if wait_seconds >= 0.01 else ""  # noqa: PLR2004 - 10 ms
        _write(logging.DEBUG, "sending", record, f"sending{wait}", wait_seconds=round(wait_seconds, 3))


def log_reply(record: LoggedAttempt, status: int) -> None:
    """A reply is on record."""
    if CALLS_LOGGER.isEnabledFor(logging.DEBUG):
        text = f"replied in {record.latency_ms} ms (HTTP {status})"
        _write(logging.DEBUG, "replied", record, text, status=status, latency_ms=record.latency_ms)


def log_accepted(record: LoggedAttempt, remote_id: str) -> None:
    """The provider has begun a job."""
    if CALLS_LOGGER.isEnabledFor(logging.DEBUG):
        _write(logging.DEBUG, "accepted", record, f"runs as job {clean_text(remote_id)}", job_id=remote_id)


def log_reuse(ask: Ask, run_id: str, call_id: str | None) -> None:
    """An answer was reused: from the journal, or from a call of this run that is still under way."""
    if CALLS_LOGGER.isEnabledFor(logging.DEBUG):
        source = f"call {call_id[:_CALL_ID_CHARACTERS]} in the journal" if call_id else "an equal call of this run"
        fields: dict[str, Any] = {"run_id": run_id, "call_id": call_id, "item": ask.item_id}
        message = f"{describe_items([ask])}: reused from {source}"
        write_record(CALLS_LOGGER, logging.DEBUG, "reused", message, **fields)


def log_claim_lost(ask: Ask, run_id: str) -> None:
    """Another run took a request over before it was sent, and its answer is waited for."""
    if CALLS_LOGGER.isEnabledFor(logging.WARNING):
        message = f"{describe_items([ask])}: another run took this request over; its answer is waited for"
        write_record(CALLS_LOGGER, logging.WARNING, "claim_lost", message, run_id=run_id, item=ask.item_id)


def log_retry(record: LoggedAttempt, problem: Problem, status: int | None, wait_seconds: float | None) -> None:
    """An attempt failed and is sent again after a pause; None: once the provider answers again."""
    if CALLS_LOGGER.isEnabledFor(logging.WARNING):
        when = "once the provider answers" if wait_seconds is None else f"in {wait_seconds:.2f} s"
        text = f"{_describe_cause(problem, status)}; sent again {when}"
        fields = {"kind": problem.kind, "status": status, "wait_seconds": _round(wait_seconds)}
        _write(logging.WARNING, "retry", record, text, **fields)


def log_gave_up(record: LoggedAttempt, problem: Problem, status: int | None) -> None:
    """The last attempt that the retry policy allows failed."""
    if CALLS_LOGGER.isEnabledFor(logging.WARNING):
        text = f"{_describe_cause(problem, status)}; given up"
        _write(logging.WARNING, "gave_up", record, text, kind=problem.kind, status=status)


def log_final_failure(event: str, record: LoggedAttempt, problem: Problem, status: int | None = None) -> None:
    """An attempt failed in a way that is not tried again: ``refused``, ``reply_lost`` or ``not_sent``."""
    if CALLS_LOGGER.isEnabledFor(logging.WARNING):
        text = f"{_PAST_TENSE[event]}, {_describe_cause(problem, status)}"
        _write(logging.WARNING, event, record, text, kind=problem.kind, status=status, code=problem.code)


def log_bad_reply(record: LoggedAttempt, kind: str) -> None:
    """A reply is not what its operation returns; it is kept."""
    _write(logging.WARNING, "bad_reply", record, f"the reply cannot be used ({kind}); it is kept", kind=kind)


def log_failed_lookup(ask: Ask, run_id: str, job_id: str, cause: str, status: int | None) -> None:
    """A job could not be looked up; it is looked up again."""
    if CALLS_LOGGER.isEnabledFor(logging.WARNING):
        what = f"{cause} (HTTP {status})" if status else cause
        message = f"{describe_items([ask])}: job {clean_text(job_id)} could not be looked up: {what}"
        fields = {"run_id": run_id, "item": ask.item_id, "job_id": job_id, "kind": cause, "status": status}
        write_record(CALLS_LOGGER, logging.WARNING, "lookup_failed", message, **fields)


def log_download_retry(host: str, problem: Problem, wait_seconds: float) -> None:
    """A download broke off and is tried again."""
    message = f"download from {host}: {problem.kind}; tried again in {wait_seconds:.1f} s"
    fields = {"host": host, "kind": problem.kind, "wait_seconds": round(wait_seconds, 3)}
    write_record(CALLS_LOGGER, logging.WARNING, "download_retry", message, **fields)


def log_outage(provider: str, run_id: str, streak: FailureStreak, wait_seconds: float) -> None:
    """The provider does not answer; from now on one request at a time is sent, to see whether it does."""
    what = "refuses every request" if streak.is_refusal else "does not answer"
    hint = f", asks for {streak.wait:g} s without requests" if streak.wait else ""
    cause = _name_cause(streak.kind, streak.status)
    message = f"{provider} {what} ({cause}){hint}: one request at a time tries it, for up to {wait_seconds:g} s"
    fields = {"run_id": run_id, "kind": streak.kind, "status": streak.status, "wait_seconds": wait_seconds}
    write_record(CALLS_LOGGER, logging.WARNING, "provider_out", message, **fields, asked_seconds=streak.wait)


def log_lost_replies(provider: str, run_id: str, streak: FailureStreak) -> None:
    """Requests that may have been billed got no answer, one after the other."""
    cause = _name_cause(streak.kind, streak.status)
    message = f"{provider}: the replies to {streak.lost} requests in a row were lost ({cause}), and each may have been "
    message += "billed: one request at a time until one is answered"
    fields = {"run_id": run_id, "kind": streak.kind, "status": streak.status, "lost": streak.lost}
    write_record(CALLS_LOGGER, logging.WARNING, "replies_lost", message, **fields)


def log_silence(provider: str, run_id: str, seconds: float, out: int) -> None:
    """Nothing was answered for long; nothing follows from it yet."""
    message = f"{provider} has answered nothing for {seconds:.0f} s; requests that are out: {out}"
    fields = {"run_id": run_id, "seconds": round(seconds, 1), "out": out}
    write_record(CALLS_LOGGER, logging.WARNING, "no_answer", message, **fields)


def log_outage_end(provider: str, run_id: str, seconds: float) -> None:
    """The provider answers again."""
    fields = {"run_id": run_id, "seconds": round(seconds, 1)}
    message = f"{provider} answers again after {seconds:.0f} s"
    write_record(CALLS_LOGGER, logging.WARNING, "provider_back", message, **fields)


def log_limit_change(limiter: str, limit: str, old: float | None, new: float | None, cause: str) -> None:
    """A limit that this process keeps to has changed: ``rate`` in requests a second, or ``concurrency``."""
    if CALLS_LOGGER.isEnabledFor(logging.WARNING):
        unit = "/s" if limit == "rate" else ""
        message = f"{limiter}: {limit} {_format_limit(old, unit)} -> {_format_limit(new, unit)} ({cause})"
        fields = {"limiter": limiter, "limit": limit, "old": _round(old), "new": _round(new), "cause": cause}
        write_record(CALLS_LOGGER, logging.WARNING, "limit", message, **fields)


def log_sharing(limiter: str, others: int) -> None:
    """So many other runs use the same limit now."""
    runs = "no other run" if not others else f"{others} other run{'s' if others > 1 else ''} on this machine"
    message = f"{limiter}: the limit is shared with {runs}"
    write_record(CALLS_LOGGER, logging.INFO, "shared", message, limiter=limiter, others=others)


def describe_items(asks: Sequence[Ask]) -> str:
    """The items of a request in plain words."""
    first = clean_text(asks[0].item_id)
    return f"item {first}" if len(asks) == 1 else f"item {first} and {len(asks) - 1} more"


def _write(level: int, event: str, record: LoggedAttempt, text: str, **fields: Any) -> None:
    asks = record.asks
    message = f"{describe_items(asks)}, attempt {record.number}: {text} [call {record.call_id[:_CALL_ID_CHARACTERS]}]"
    write_record(
        CALLS_LOGGER,
        level,
        event,
        message,
        run_id=record.run_id,
        call_id=record.call_id,
        item=asks[0].item_id,
        items=len(asks),
        attempt=record.number,
        model=asks[0].model,
        **fields,
    )


def _describe_cause(problem: Problem, status: int | None) -> str:
    cause = _name_cause(problem.kind, status)
    return f"reply lost, {cause}" if problem.verdict == "unknown" and status is None else cause


def _name_cause(kind: str, status: int | None) -> str:
    return f"{kind} (HTTP {status})" if status else kind


def _format_limit(value: float | None, unit: str) -> str:
    return "none" if value is None else f"{value:.3g}{unit}"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
